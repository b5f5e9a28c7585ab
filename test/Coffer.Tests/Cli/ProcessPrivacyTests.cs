using Coffer.Hosting;
using Coffer.Tests.House;

namespace Coffer.Tests.Cli;

/// <summary>Who has the keys of a store in memory keeps them there.</summary>
[Trait("Firm ground", "17")]
public sealed class ProcessPrivacyTests
{
    [Fact]
    public void Every_verb_that_may_open_a_store_is_begun_without_the_diagnostics_socket()
    {
        var opening = DocumentCommands.VerbsWithRootKey().ToList();
        Assert.Contains("audit", opening);
        Assert.Empty(opening.Except(ProcessPrivacy.Holders));
    }
}
