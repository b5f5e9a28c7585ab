using System.Buffers;
using System.CommandLine;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Coffer.Checks;
using Coffer.Settings;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer check</c>: what is wrong with an installation, or will be. It takes the settings of <c>serve</c>, runs
/// beside a server or without one, and changes nothing.
/// </summary>
internal static class CheckVerb
{
    private static readonly JsonWriterOptions Readable = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static Command Command()
    {
        var settings = ServeSettings.OfServer();
        var command = new Command("check",
            "Look at settings, files, root keys, schema, audit log, clock, disk, certificate and database, and say "
                + "all that is wrong, or will be, with what to do. It takes the settings of coffer serve, runs beside "
                + "a server or without one, and changes nothing. The exit code is 0, 1 if there are warnings, or 2 if "
                + "there is a problem.\n\nExample: coffer check --data /var/lib/coffer")
        { Parameters.Json };
        settings.AddTo(command);
        command.SetAction(async (parsed, ct) =>
        {
            var found = await Checkup.RunAsync(settings.Read(parsed), TimeProvider.System, ct);
            if (parsed.GetValue(Parameters.Json))
                Terminal.WriteRaw(Json(found));
            else if (AnsiConsole.Profile.Capabilities.Interactive && !Console.IsOutputRedirected)
                WriteTable(found);
            else
                Terminal.WriteRaw(string.Concat(found.Select(Line)));
            return Worst(found) switch
            {
                Grade.Ok => ExitCode.Ok,
                Grade.Warning => ExitCode.Warnings,
                _ => ExitCode.Problems,
            };
        });
        return command;
    }

    /// <summary>One object on one line, whatever was found.</summary>
    internal static string Json(IReadOnlyList<Finding> found)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, Readable))
        {
            json.WriteStartObject();
            json.WriteString("status"u8, Word(Worst(found)));
            json.WriteStartArray("checks"u8);
            foreach (var finding in found)
            {
                json.WriteStartObject();
                json.WriteString("name"u8, finding.Check);
                json.WriteString("status"u8, Word(finding.Grade));
                json.WriteString("text"u8, finding.Text);
                json.WriteString("hint"u8, finding.Hint);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan) + "\n";
    }

    /// <summary>A line for scripts and logs: <c>warning NAME: text. hint</c>.</summary>
    internal static string Line(Finding finding) =>
        Terminal.Shown($"{Word(finding.Grade)} {finding.Check}: {finding.Text}."
            + (finding.Hint is null ? "" : $" {finding.Hint}")) + "\n";

    private static Grade Worst(IReadOnlyList<Finding> found) => found.Max(finding => finding.Grade);

    private static string Word(Grade grade) => grade switch
    {
        Grade.Ok => "ok",
        Grade.Warning => "warning",
        _ => "problem",
    };

    private static void WriteTable(IReadOnlyList<Finding> found)
    {
        var table = Terminal.Table(["", "CHECK", "FOUND"]);
        foreach (var column in table.Columns.Skip(2))
            column.NoWrap = false; // texts
        foreach (var finding in found)
        {
            var (mark, colour) = finding.Grade switch
            {
                Grade.Ok => ("ok", Color.Green),
                Grade.Warning => ("!", Color.Yellow),
                _ => ("x", Color.Red),
            };
            var text = new Paragraph(Terminal.Shown(finding.Text));
            if (finding.Hint is { } hint)
                text.Append("\n" + Terminal.Shown(hint), new Style(decoration: Decoration.Dim));
            table.AddRow(new Text(mark, new Style(colour)), new Text(finding.Check), text);
        }

        AnsiConsole.Write(table);
        var (warnings, problems) = (found.Count(finding => finding.Grade == Grade.Warning),
            found.Count(finding => finding.Grade == Grade.Problem));
        Console.WriteLine($"\n{problems} problems, {warnings} warnings");
    }
}
