using System.CommandLine;
using Coffer.Cli;

namespace Coffer.Tests.Cli;

/// <summary>An argument is what it says, whatever the library of the command line knows to do with it.</summary>
[Trait("Firm edges", "1")]
public sealed class ArgumentsTests
{
    [Theory]
    [InlineData("@/etc/hostname")] // a file of further arguments
    [InlineData("@")]
    [InlineData("[suggest]")] // a directive
    [InlineData("[diagram]")]
    [InlineData("[env:COFFER_URL=http://127.0.0.1:1]")]
    [InlineData("/h")] // the help of another system
    [InlineData("/?")]
    [InlineData("true")] // the value of a switch
    [InlineData("set")]
    public void A_name_and_a_payload_may_look_like_anything(string data)
    {
        var parsed = Root().Parse(["secrets", "set", "--json", data, "--payload", data, "--user", "usr_1"],
            Arguments.Rules);
        Assert.Empty(parsed.Errors);
        Assert.Equal("set", parsed.CommandResult.Command.Name);
        Assert.Equal((data, data), (parsed.GetValue<string>("name"), parsed.GetValue<string>("--payload")));
        Assert.Equal(("usr_1", true), (parsed.GetValue<string>("--user"), parsed.GetValue<bool>("--json")));
    }

    [Theory]
    [InlineData("[suggest]", "secrets")]
    [InlineData("[diagram]", "secrets")]
    [InlineData("secrets", "find", "k", "@/etc/hostname")]
    [InlineData("secrets", "find", "k", "--json=false")]
    public void What_is_none_of_a_commands_arguments_is_refused(params string[] line) =>
        Assert.NotEmpty(Root().Parse(line, Arguments.Rules).Errors);

    [Theory]
    [InlineData("--help")]
    [InlineData("-h")]
    [InlineData("-?")]
    public void Help_is_asked_for_by_an_option(string flag) =>
        Assert.NotEqual(Root().Parse(["secrets", "find", "k"], Arguments.Rules).Action,
            Root().Parse(["secrets", "find", "k", flag], Arguments.Rules).Action);

    private static RootCommand Root()
    {
        var root = new RootCommand { SecretsVerb.Command() };
        Arguments.AreData(root);
        return root;
    }
}
