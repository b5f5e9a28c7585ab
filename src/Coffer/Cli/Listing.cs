using System.CommandLine;
using System.Text.Json;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary>
/// How things of the API look on a terminal: a line each, under these columns. With <c>--json</c> they are printed as
/// they came.
/// </summary>
internal sealed class Listing(params (string Title, Func<JsonElement, string> Cell)[] columns)
{
    public static readonly Func<JsonElement, string> Mode = thing => Text("livemode")(thing) switch
    {
        "true" => "live",
        "false" => "test",
        _ => "",
    };

    /// <summary>A field as text: an array with commas between its elements, and another word for none.</summary>
    public static Func<JsonElement, string> Text(string field, string none = "") =>
        thing => thing.TryGetProperty(field, out var value) ? Text(value, none) : none;

    /// <summary>A field in Unix seconds as a date; whatever else the server sent, as it is.</summary>
    public static Func<JsonElement, string> Time(string field, string none = "never") => thing =>
    {
        if (!thing.TryGetProperty(field, out var value))
            return none;
        var isTime = value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out _);
        return isTime ? UnixTime.Shown(value.GetInt64()) : Text(value, none);
    };

    public Listing With(params (string Title, Func<JsonElement, string> Cell)[] more) => new([.. columns, .. more]);

    public void Print(ParseResult parsed, IReadOnlyList<JsonElement> things)
    {
        if (parsed.GetValue(Parameters.Json))
            Terminal.WriteJson(things);
        else
            WriteTable(things);
    }

    /// <param name="parsed">Says whether it is JSON.</param>
    /// <param name="thing">What to print.</param>
    /// <param name="shownOnce">
    /// Fields that the server does not give again: those that are there get lines of their own, which say so.
    /// </param>
    public void Print(ParseResult parsed, JsonElement thing, params string[] shownOnce)
    {
        if (parsed.GetValue(Parameters.Json))
        {
            Terminal.WriteJson(thing);
            return;
        }

        WriteTable([thing]);
        string[] there = [.. shownOnce.Where(field => thing.TryGetProperty(field, out _))];
        if (there.Length == 0)
            return;
        var lines = there.Select(field => $"  {field.Replace('_', ' ')}  {Terminal.Shown(Text(field)(thing))}\n");
        Terminal.WriteRaw($"\n{string.Concat(lines)}\n" + (there.Length == 1
            ? "Keep it now: it is not shown again.\n"
            : "Keep them now: they are not shown again.\n"));
    }

    private static string Text(JsonElement value, string none) => value.ValueKind switch
    {
        JsonValueKind.Null => none,
        JsonValueKind.Array =>
            value.GetArrayLength() == 0
                ? none
                : string.Join(", ", value.EnumerateArray().Select(element => Text(element, ""))),
        JsonValueKind.String => value.GetString()!,
        _ => value.GetRawText(),
    };

    private void WriteTable(IReadOnlyList<JsonElement> things)
    {
        var table = Terminal.Table(columns.Select(column => column.Title));
        foreach (var thing in things)
            table.AddRow(columns.Select(column => new Text(Terminal.Shown(column.Cell(thing)))));
        Terminal.Write(table);
    }
}
