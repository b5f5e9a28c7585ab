using System.CommandLine;
using System.Text.Json;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer webhooks create|list|show|update|enable|disable|delete|roll-secret|deliveries|retry</c>, on the management
/// plane.
/// </summary>
internal static class WebhooksVerb
{
    private const string Path = "webhook_endpoints";

    private static readonly Listing Endpoints = new(
        ("ID", Listing.Text("id")),
        ("APP", Listing.Text("app", "the store")),
        ("MODE", endpoint => endpoint.GetProperty("livemode").GetBoolean() ? "live" : "test"),
        ("STATE", State),
        ("URL", Listing.Text("url")),
        ("EVENTS", Listing.Text("enabled_events")),
        ("NAMES", endpoint => endpoint.GetProperty("names").GetBoolean() ? "yes" : "no"),
        ("WAITING", endpoint => Listing.Text("waiting")(endpoint.GetProperty("deliveries"))),
        ("GIVEN UP", endpoint => Listing.Text("failed")(endpoint.GetProperty("deliveries"))),
        ("LAST DELIVERED", Listing.Time("last_delivered")));

    private static readonly Listing Deliveries = new(
        ("EVENT", Listing.Text("id")),
        ("TYPE", Listing.Text("type")),
        ("ACCOUNT", Listing.Text("account")),
        ("ATTEMPTS", Listing.Text("attempts")),
        ("LAST STATUS", Listing.Text("last_status", "none")),
        ("NEXT ATTEMPT", Listing.Time("next_attempt")),
        ("GIVEN UP", Listing.Time("failed")),
        ("CREATED", Listing.Time("created")));

    private static readonly string[] Secret = ["secret"];

    public static Command Command() =>
        new("webhooks", "Say where events are sent. The admin key is read from COFFER_ADMIN_KEY.")
    {
        Create(), List(), Show(), Update(),
        Switch("enable", "Send to an endpoint again, first what it missed.", "false"),
        Switch("disable", "Send nothing to an endpoint; what happens waits for 30 days.", "true"),
        Delete(), RollSecret(), ListDeliveries(), Retry(),
    };

    private static Command Create()
    {
        var url = UrlOption(required: true);
        var app = Parameters.Id("--app", "APP", "Whose events it is sent; without it those of the store, ids only.");
        var live = new Option<bool>("--live") { Description = "Send what happens in live mode." };
        var test = new Option<bool>("--test") { Description = "Send what happens in test mode." };
        var (kinds, names, version, description) = (KindsOption(), NamesOption(), VersionOption(), DescriptionOption());
        var command = new Command("create",
            "Create an endpoint for one mode. Its secret, which proves the sender, is shown once.\n\n"
                + "Example: coffer webhooks create --app app_1 --live --to https://hooks.example.com/coffer")
        { url, app, live, test, kinds, names, version, description };
        command.Validators.Add(parsed =>
        {
            if (parsed.GetValue(live) == parsed.GetValue(test))
                parsed.AddError("Give --live or --test");
        });
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var created = await admin.ChangeAsync(Path,
            [
                ("app", parsed.GetValue(app)), ("livemode", parsed.GetValue(live) ? "true" : "false"),
                .. Fields(parsed, url, kinds, names, version, description),
            ], ct);
            Endpoints.Print(parsed, created, Secret);
            return ExitCode.Ok;
        });
    }

    private static Command List()
    {
        var app = Parameters.Id("--app", "APP", "Only those of this app.");
        return Connection.OnAdmin(new Command("list",
            "Show endpoints, newest first.\n\nExample: coffer webhooks list --app app_1") { app },
            async (admin, parsed, ct) =>
            {
                var found = admin.ListAsync(Path, [("app", parsed.GetValue(app))], ct);
                Endpoints.Print(parsed, await found.ToListAsync(ct));
                return ExitCode.Ok;
            });
    }

    private static Command Show()
    {
        var endpoint = EndpointArgument();
        return Connection.OnAdmin(new Command("show",
            "Show one endpoint. The exit code is 1 if there is none.\n\nExample: coffer webhooks show we_1")
            { endpoint }, async (admin, parsed, ct) =>
        {
            Endpoints.Print(parsed, await admin.FindAsync($"{Path}/{parsed.GetValue(endpoint)}", ct));
            return ExitCode.Ok;
        });
    }

    private static Command Update()
    {
        var (endpoint, url) = (EndpointArgument(), UrlOption(required: false));
        var (kinds, names, version, description) = (KindsOption(), NamesOption(), VersionOption(), DescriptionOption());
        var command = new Command("update",
            "Change an endpoint. What waits for it is sent as it is set to then.\n\n"
                + "Example: coffer webhooks update we_1 --event secret.set --event secret.deleted")
        { endpoint, url, kinds, names, version, description };
        command.Validators.Add(parsed =>
        {
            if (((Option[])[url, kinds, names, version, description]).All(each => parsed.GetResult(each) is null))
                parsed.AddError("Give --to, --event, --names, --api-version or --description");
        });
        return Change(command, endpoint, "", parsed => Fields(parsed, url, kinds, names, version, description));
    }

    private static Command Switch(string name, string description, string disabled)
    {
        var endpoint = EndpointArgument();
        return Change(new Command(name, $"{description}\n\nExample: coffer webhooks {name} we_1") { endpoint },
            endpoint, "", _ => [("disabled", disabled)]);
    }

    private static Command Delete()
    {
        var endpoint = EndpointArgument();
        var command = new Command("delete",
            "Delete an endpoint with what it was to be sent. The exit code is 1 if there is none.\n\n"
                + "Example: coffer webhooks delete we_1")
        { endpoint, Parameters.Yes };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var path = $"{Path}/{parsed.GetValue(endpoint)}";
            var url = Listing.Text("url")(await admin.FindAsync(path, ct));
            if (!Terminal.Confirmed(parsed.GetValue(Parameters.Yes),
                $"Delete the endpoint {parsed.GetValue(endpoint)} ({url})?"))
                return ExitCode.Usage;
            var deleted = await admin.DeleteAsync(path, ct);
            if (parsed.GetValue(Parameters.Json))
                Terminal.WriteJson(deleted);
            else
                Console.WriteLine($"the endpoint {parsed.GetValue(endpoint)} ({Terminal.Shown(url)}) is deleted");
            return ExitCode.Ok;
        });
    }

    private static Command RollSecret()
    {
        var endpoint = EndpointArgument();
        var grace = Parameters.Duration("--grace", "How long the old secret signs too, at most 24h", required: true);
        var command = new Command("roll-secret",
            "Create a new secret for an endpoint, and show it once.\n\n"
                + "Example: coffer webhooks roll-secret we_1 --grace 24h")
        { endpoint, grace };
        return Change(command, endpoint, "/secret/roll",
            parsed => [("grace_period", Parameters.Seconds(parsed.GetValue(grace)))]);
    }

    private static Command ListDeliveries()
    {
        var endpoint = EndpointArgument();
        return Connection.OnAdmin(new Command("deliveries",
            "Show what an endpoint has not accepted, and what waits behind that.\n\n"
                + "Example: coffer webhooks deliveries we_1") { endpoint }, async (admin, parsed, ct) =>
        {
            var found = admin.ListAsync($"{Path}/{parsed.GetValue(endpoint)}/deliveries", ct: ct);
            Deliveries.Print(parsed, await found.ToListAsync(ct));
            return ExitCode.Ok;
        });
    }

    private static Command Retry()
    {
        var endpoint = EndpointArgument();
        var happened = Parameters.IdArgument("event", "EVENT", "The event's id, evt_….");
        var command = new Command("retry",
            "Send an event to an endpoint again now, whether it was accepted or not.\n\n"
                + "Example: coffer webhooks retry we_1 evt_1")
        { endpoint, happened };
        return Change(command, endpoint, "/retry", parsed => [("event", parsed.GetValue(happened))]);
    }

    private static Command Change(Command command, Argument<string> endpoint, string path,
        Func<ParseResult, IEnumerable<(string Name, string? Value)>> fields) =>
        Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var changed = await admin.ChangeAsync($"{Path}/{parsed.GetValue(endpoint)}{path}", fields(parsed), ct);
            Endpoints.Print(parsed, changed, Secret);
            return ExitCode.Ok;
        });

    private static IEnumerable<(string Name, string? Value)> Fields(ParseResult parsed, Option<string?> url,
        Option<string[]> kinds, Option<string?> names, Option<string?> version, Option<string?> description) =>
    [
        ("url", parsed.GetValue(url)), .. Parameters.Elements("enabled_events", parsed.GetValue(kinds)),
        ("names", Parameters.Boolean(parsed.GetValue(names))),
        ("api_version", parsed.GetValue(version)), ("description", parsed.GetValue(description)),
    ];

    private static string State(JsonElement endpoint) => Listing.Text("damaged")(endpoint) == "true"
        ? "damaged"
        : Listing.Text("status")(endpoint);

    private static Argument<string> EndpointArgument() =>
        Parameters.IdArgument("endpoint", "ENDPOINT", "The endpoint's id, we_….");

    private static Option<string?> UrlOption(bool required) => new("--to")
    {
        Description = "Where events are sent: https, at the public internet or where --webhook-networks allows.",
        HelpName = "URL",
        Required = required,
    };

    private static Option<string[]> KindsOption() => new("--event")
    {
        Description = "A kind of event to send, such as secret.set, or * for all. May be given several times.",
        HelpName = "TYPE",
    };

    private static Option<string?> NamesOption() => Parameters.YesOrNo(
        "--names", "Whether names of secrets and user ids are sent too; the default is ids only.");

    private static Option<string?> VersionOption() => new("--api-version")
    {
        Description = "The version of Stripe's API that events name, for the SDK that reads them.",
        HelpName = "VERSION",
    };

    private static Option<string?> DescriptionOption() => new("--description")
    {
        Description = "A text for people, at most 500 characters.",
        HelpName = "TEXT",
    };
}
