using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary><c>coffer status</c>, on the management plane: what runs at the other end, and since when.</summary>
internal static class StatusVerb
{
    private static readonly Listing Status = new(
        ("VERSION", Listing.Text("version")),
        ("COMMIT", Listing.Text("commit", "unknown")),
        ("ENGINE", status => Engine(status.GetProperty("engine"))),
        (".NET", Listing.Text("dotnet")),
        ("NODE", Listing.Text("node")),
        ("STARTED", Listing.Time("started")),
        ("UPTIME", status => Uptime(status.GetProperty("uptime").GetInt64())));

    internal static readonly Listing Settings = new(
        ("SETTING", Listing.Text("name")),
        ("VALUE", Listing.Text("value")),
        ("FROM", Listing.Text("source")));

    public static Command Command() => Connection.OnAdmin(
        new Command("status",
            "Show the state of a running server: its version, its database, its node, its uptime, and the " +
            "settings that differ from the defaults. The admin key is read from COFFER_ADMIN_KEY.\n\n" +
            "Example: coffer status"),
        async (admin, parsed, ct) =>
        {
            var status = await admin.FindAsync("status", ct);
            Status.Print(parsed, status);
            var settings = status.GetProperty("settings").EnumerateArray().ToList();
            if (parsed.GetValue(Parameters.Json) || settings.Count == 0)
                return ExitCode.Ok;
            Console.WriteLine();
            Settings.Print(parsed, settings);
            return ExitCode.Ok;
        });

    /// <summary>Whole seconds as a length of time, in the two largest units of it: <c>3d 4h</c>.</summary>
    internal static string Uptime(long seconds)
    {
        (long Number, string Unit)[] parts =
            [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
        var shown = parts.SkipWhile(part => part.Number == 0).Take(2).DefaultIfEmpty(parts[^1]);
        return string.Join(' ', shown.Select(part => part.Number.ToString(CultureInfo.InvariantCulture) + part.Unit));
    }

    private static string Engine(JsonElement engine) =>
        $"{Listing.Text("name")(engine)} {Listing.Text("version")(engine)}";
}
