using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary>
/// What people see. Nothing that came from a server or a file reaches a terminal as control characters, or hidden.
/// </summary>
internal static class Terminal
{
    private const char EndOfInput = '\u0004'; // Ctrl-D, or the end of what a terminal is fed from

    /// <inheritdoc cref="VisibleText.Of"/>
    public static string Shown(string text) => VisibleText.Of(text);

    /// <summary>An empty table without lines, its columns as wide as they need to be.</summary>
    public static Table Table(IEnumerable<string> columns)
    {
        var table = new Table { Border = TableBorder.None };
        foreach (var column in columns)
            table.AddColumn(new TableColumn(column) { NoWrap = true, Padding = new Padding(0, 0, 2, 0) });
        return table;
    }

    public static void Write(Table table)
    {
        // Not fitted into a window: that would break ids, which are there to be copied, and drop columns.
        AnsiConsole.Profile.Width = 100_000;
        AnsiConsole.Write(table);
    }

    /// <summary>One line of JSON, whatever the locale.</summary>
    public static void WriteJson(JsonElement value) => WriteRaw(JsonLine(value) + "\n");

    /// <summary>One line of JSON with an array of these.</summary>
    public static void WriteJson(IEnumerable<JsonElement> values) => WriteRaw(Shown(Json(json =>
    {
        json.WriteStartArray();
        foreach (var value in values)
            value.WriteTo(json);
        json.WriteEndArray();
    })) + "\n");

    public static string JsonLine(JsonElement value) => Shown(Json(value.WriteTo));

    /// <summary>JSON as people read it: no letter is escaped that needs not be.</summary>
    public static string Json(Action<Utf8JsonWriter> write, bool indented = false)
    {
        var text = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(text, new JsonWriterOptions
        {
            Indented = indented,
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        }))
            write(json);
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }

    /// <summary>
    /// Exactly this in UTF-8, at once: past <see cref="Console.Out"/>, which would write it in the locale's encoding.
    /// </summary>
    public static void WriteRaw(string text) => StandardStream.Output.Write(Encoding.UTF8.GetBytes(text));

    /// <summary>
    /// Whether somebody is there to be asked: a terminal on both sides, and no job of a build server (CI).
    /// </summary>
    public static bool IsAttended => !Console.IsInputRedirected && !Console.IsErrorRedirected
        && Environment.GetEnvironmentVariable("CI") is null or "" or "false" or "0";

    /// <summary>
    /// Asks for one line that is not shown. The question goes to standard error: standard output is for the answer.
    /// </summary>
    /// <param name="question">What is asked for.</param>
    /// <param name="instead">What to do with more than a line, to end a sentence.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="UsageException">Nobody is there to be asked.</exception>
    /// <exception cref="InvalidDataException">
    /// More than that line was given, as when a key of several lines is pasted. All of it is read away, so that a shell
    /// does not run it.
    /// </exception>
    public static async Task<string> AskAsync(string question, string instead, CancellationToken ct)
    {
        if (!IsAttended)
            throw new UsageException($"there is no terminal to ask at: {instead}");
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(Console.Error),
            Interactive = InteractionSupport.Yes,
        });
        var line = await new TextPrompt<string>(question).Secret(null).AllowEmpty().ShowAsync(console, ct);
        var isMore = false;
        // What is pasted arrives within moments.
        for (var quiet = 0; quiet < 5; quiet++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(40), ct);
            for (; Console.KeyAvailable; quiet = 0)
                isMore |= Console.ReadKey(intercept: true).KeyChar != EndOfInput;
        }

        return isMore
            ? throw new InvalidDataException(
                $"more than one line was given at the prompt, and nothing was stored: {instead}")
            : line;
    }

    /// <summary>
    /// Asks before what cannot be undone; says what is missing if the answer is not yes, or nobody is there to ask.
    /// </summary>
    public static bool Confirmed(bool yes, string question)
    {
        if (yes)
            return true;
        if (!IsAttended)
        {
            new Failure(ExitCode.Usage, "this cannot be undone, and there is no terminal to ask at",
                "Give --yes to confirm it.").Report();
            return false;
        }

        Console.Error.Write($"{Shown(question)} This cannot be undone. [y/N] ");
        if (Console.ReadLine()?.Trim() is "y" or "Y" or "yes")
            return true;
        new Failure(ExitCode.Usage, "nothing was done, because it was not confirmed",
            "Answer y, or give --yes.").Report();
        return false;
    }
}
