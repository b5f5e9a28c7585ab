using Coffer.Client;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary>What people see. Nothing that came from a server or a file reaches a terminal as control characters.</summary>
internal static class Terminal
{
    /// <summary>Text with control characters, and those that reorder a line, written out.</summary>
    public static string Shown(string text) => string.Concat(text.Select(c =>
        char.IsControl(c) || c is '\u2028' or '\u2029' or (>= '\u202A' and <= '\u202E') or (>= '\u2066' and <= '\u2069') ? $"\\u{(int)c:x4}" : c.ToString()));

    public static void WriteTable(IReadOnlyCollection<StoredSecret> secrets)
    {
        var withPayload = secrets.Any(secret => secret.Payload is not null);
        var table = Table(["NAME", "SCOPE", "MODE", "CREATED", "EXPIRES", "ID", .. withPayload ? ["PAYLOAD"] : Array.Empty<string>()]);
        foreach (var secret in secrets)
        {
            string[] cells = [secret.Name, secret.Scope.User is { } user ? $"user {user}" : "account", secret.Livemode ? "live" : "test",
                Time(secret.Created), secret.ExpiresAt is { } at ? Time(at) : "never", secret.Id, .. withPayload ? [secret.Payload!] : Array.Empty<string>()];
            table.AddRow(cells.Select(cell => new Text(Shown(cell))));
        }

        Write(table);
    }

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
        // A pipe has no width to fit into.
        if (Console.IsOutputRedirected)
            AnsiConsole.Profile.Width = 100_000;
        AnsiConsole.Write(table);
    }

    private static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);
}
