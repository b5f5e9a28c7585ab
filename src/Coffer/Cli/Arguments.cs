using System.CommandLine;
using System.CommandLine.Help;

namespace Coffer.Cli;

/// <summary>
/// How the command line is read: each argument is what it says. The library would read a file for <c>@FILE</c>, take
/// <c>[suggest]</c> for an order and <c>/h</c> for a question, and a word behind a switch for its value; a name or a
/// payload may look like each of them.
/// </summary>
internal static class Arguments
{
    public static ParserConfiguration Rules { get; } = new()
    {
        ResponseFileTokenReplacer = null,
        EnablePosixBundling = false,
    };

    /// <summary>Takes away what is for the convenience of people and costs data; to be read by <see
    /// cref="Rules"/>.</summary>
    public static void AreData(RootCommand root)
    {
        root.Directives.Clear();
        root.Options.Remove(root.Options.OfType<HelpOption>().Single());
        root.Options.Add(new HelpOption("--help", "-h", "-?"));
        HaveSwitchesStandAlone(root);
    }

    private static void HaveSwitchesStandAlone(Command command)
    {
        foreach (var option in command.Options.OfType<Option<bool>>())
            option.Arity = ArgumentArity.Zero;
        foreach (var inner in command.Subcommands)
            HaveSwitchesStandAlone(inner);
    }
}
