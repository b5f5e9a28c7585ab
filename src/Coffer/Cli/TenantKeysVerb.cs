using System.CommandLine;
using System.Text.Json;
using Coffer.Client;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer tenant-keys status|rotate</c>, on the management plane: the keys under which the secrets of an account
/// are.
/// </summary>
internal static class TenantKeysVerb
{
    private const string Question = "It makes new root keys, and removes those of before: a back-up of before is "
        + "opened by what wrapped them then, and by nothing else. Rotate?";

    private static readonly TimeSpan Between = TimeSpan.FromMilliseconds(500);

    private static readonly Listing Rotations = new(
        ("ID", Listing.Text("id")),
        ("APP", Listing.Text("app", "all")),
        ("ACCOUNT", Listing.Text("account", "all")),
        ("MODE", Mode),
        ("STATE", Listing.Text("state")),
        ("COMPROMISED", rotation => rotation.GetProperty("compromised").GetBoolean() ? "yes" : "no"),
        ("TENANTS", rotation => $"{Listing.Text("tenants_done")(rotation)} of {Listing.Text("tenants")(rotation)}"),
        ("ROWS", Listing.Text("rows")),
        ("DAMAGED", Listing.Text("damaged")),
        ("CREATED", Listing.Time("created")),
        ("ENDED", Listing.Time("ended")));

    public static Command Command() =>
        new("tenant-keys",
            "Rotate the keys under which an app's secrets are. The admin key is read from COFFER_ADMIN_KEY.")
        {
            Status(), Rotate(),
        };

    private static Command Status() => Connection.OnAdmin(
        new Command("status",
            "Show the last rotations, and how far the one under way has come.\n\nExample: coffer tenant-keys status"),
        async (admin, parsed, ct) => Show(parsed, await admin.FindAsync("tenant_keys", ct)));

    private static Command Rotate()
    {
        var app = Parameters.Id("--app", "APP", "The app whose accounts' keys rotate.", required: true);
        var account = Parameters.Id("--account", "ACCT", "Only those of this account.");
        var live = new Option<bool>("--live") { Description = "Only live mode." };
        var test = new Option<bool>("--test") { Description = "Only test mode." };
        var compromised = new Option<bool>("--compromised")
        {
            Description = "Others may know the keys: names are moved as well, and the root keys of before are removed.",
        };
        var noWait = new Option<bool>("--no-wait") { Description = "Do not wait until it is done." };
        var command = new Command("rotate",
            "Give accounts new keys, and seal under them all that is under the last ones, while requests go through. "
                + "It continues by itself after a restart.\n\n"
                + "Example: coffer tenant-keys rotate --app app_1 --account acct_1")
        { app, account, live, test, compromised, noWait, Parameters.Yes };
        command.Validators.Add(parsed =>
        {
            if (parsed.GetValue(live) && parsed.GetValue(test))
                parsed.AddError("Give --live or --test, or neither for both modes.");
        });
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var livemode = parsed.GetValue(live) ? "true" : null;
            if (parsed.GetValue(test))
                livemode = "false";
            if (parsed.GetValue(compromised) && !Terminal.Confirmed(parsed.GetValue(Parameters.Yes), Question))
                return ExitCode.Usage;
            var keys = await admin.ChangeAsync("tenant_keys/rotate",
                [
                    ("app", parsed.GetValue(app)), ("account", parsed.GetValue(account)), ("livemode", livemode),
                    ("compromised", parsed.GetValue(compromised) ? "true" : null),
                ], ct);
            var id = Listing.Text("id")(keys.GetProperty("rotations").EnumerateArray().Last());
            while (!parsed.GetValue(noWait) && Find(keys, id) is { } rotation && State(rotation) != "done")
            {
                Tell(rotation);
                await Task.Delay(Between, ct);
                keys = await admin.FindAsync("tenant_keys", ct);
            }

            if (!Console.IsErrorRedirected)
                Console.Error.WriteLine();
            return Show(parsed, keys);
        });
    }

    private static int Show(ParseResult parsed, JsonElement keys)
    {
        if (parsed.GetValue(Parameters.Json))
        {
            Terminal.WriteJson(keys);
            return ExitCode.Ok;
        }

        Rotations.Print(parsed, [.. keys.GetProperty("rotations").EnumerateArray()]);
        if (Listing.Text("waiting_for")(keys) is { Length: > 0 } nodes)
            Console.WriteLine($"\nWaiting for {Terminal.Shown(nodes)}, which run an older release.");
        if (Listing.Text("may_remain")(keys) is { Length: > 0 } places)
            Console.WriteLine($"\nDropped keys may still be in: {Terminal.Shown(places)}.");
        return ExitCode.Ok;
    }

    // A line that replaces itself at a terminal, and nothing elsewhere: standard output is for the answer.
    private static void Tell(JsonElement rotation)
    {
        if (!Console.IsErrorRedirected)
            Console.Error.Write($"\r{State(rotation)}: {Listing.Text("tenants_done")(rotation)} of "
                + $"{Listing.Text("tenants")(rotation)} tenants, {Listing.Text("rows")(rotation)} rows   ");
    }

    private static JsonElement? Find(JsonElement keys, string id) => keys.GetProperty("rotations").EnumerateArray()
        .Where(rotation => Listing.Text("id")(rotation) == id).Select(rotation => (JsonElement?)rotation)
        .FirstOrDefault();

    private static string State(JsonElement rotation) => Listing.Text("state")(rotation);

    private static string Mode(JsonElement rotation) => rotation.GetProperty("livemode").ValueKind switch
    {
        JsonValueKind.True => "live",
        JsonValueKind.False => "test",
        _ => "both",
    };
}
