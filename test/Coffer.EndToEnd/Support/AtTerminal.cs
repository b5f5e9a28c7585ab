using System.Text;
using System.Text.Json.Nodes;

namespace Coffer.EndToEnd;

/// <summary>Programs at a terminal of their own, where somebody types.</summary>
internal static class AtTerminal
{
    /// <summary>Runs it to its end. What the terminal showed, of both its streams, is its output.</summary>
    /// <param name="program">The program, by its whole path.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="environment">Variables beside those of the tests.</param>
    /// <param name="steps">
    /// What is typed, each once the text before it is shown and the program reads: nothing is typed that the terminal
    /// shows by itself. It ends with 99 if not all was asked for.
    /// </param>
    public static Task<Ran> RunAsync(string program, IEnumerable<string> arguments,
        IReadOnlyDictionary<string, string>? environment, params (string Shown, string Typed)[] steps) =>
        Ran.ProgramAsync(Needs.Python(),
            [Path.Combine(Needs.SdkFolder, "terminal.py"), program, .. arguments], environment,
            Encoding.UTF8.GetBytes(new JsonArray(
                [.. steps.Select(step => new JsonArray(step.Shown, step.Typed))]).ToJsonString()));
}
