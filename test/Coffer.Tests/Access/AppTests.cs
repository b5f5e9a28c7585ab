using Coffer.Access;

namespace Coffer.Tests.Access;

/// <summary>Which accounts an app says are its own (docs/management.md, "Accounts by accident").</summary>
[Trait("Firm edges", "32")]
public sealed class AppTests
{
    [Fact]
    public void A_star_is_any_number_of_characters_and_all_others_are_themselves()
    {
        var app = new App("app_1", "x", "own", 0) { AccountPattern = "acct_*-eu" };
        Assert.All((string[])["acct_1-eu", "acct_-eu", "own", "acct_x-eu-eu"],
            account => Assert.True(app.Takes(account)));
        Assert.All((string[])["acct_1-us", "acct_1-eu1", "1acct_1-eu", "Acct_1-eu", "acct-eu"],
            account => Assert.False(app.Takes(account)));
        Assert.True((app with { AccountPattern = null }).Takes("anything"));
    }
}
