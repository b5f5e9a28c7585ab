using System.CommandLine;
using System.Text.Json;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer accounts list|export|forget</c>, on the management plane: what data protection asks of an operator.
/// </summary>
internal static class AccountsVerb
{
    private static readonly Listing Accounts = new(
        ("ACCOUNT", Listing.Text("id")),
        ("LIVE SECRETS", account => Secrets(account, "live")),
        ("TEST SECRETS", account => Secrets(account, "test")),
        ("CREATED", Listing.Time("created")));

    private static readonly Listing Forgotten = new(
        ("ACCOUNT", Listing.Text("account")),
        ("APP", Listing.Text("app")),
        ("LIVE SECRETS", account => Secrets(account, "live")),
        ("TEST SECRETS", account => Secrets(account, "test")),
        ("FORGOTTEN", Listing.Time("forgotten_at")),
        ("RECEIPT", Listing.Text("receipt_id")));

    public static Command Command() =>
        new(
            "accounts",
            "List, export and forget the accounts of an app on a running server. The admin key is read from "
                + "COFFER_ADMIN_KEY.")
    {
        List(), Export(), Forget(),
    };

    private static Command List()
    {
        var app = AppOption();
        return Connection.OnAdmin(new Command(
            "list",
            "Show the accounts that have stored data, and how many secrets each has.\n\nExample: coffer accounts "
                + "list --app app_1") { app }, async (admin, parsed, ct) =>
        {
            Accounts.Print(parsed,
                await admin.ListAsync($"apps/{parsed.GetValue(app)}/accounts", ct: ct).ToListAsync(ct));
            return ExitCode.Ok;
        });
    }

    private static Command Export()
    {
        var (account, app, reason) = (AccountArgument(), AppOption(), Parameters.Reason());
        var live = new Option<bool>("--live")
        {
            Description = "Export the secrets of live mode; the default is test mode.",
        };
        var command = new Command("export",
            "Write all secrets of an account in one mode to standard output, with their payloads, one line of JSON "
                + "for each. The audit log first records who did it and why.\n\n" +
            "Example: coffer accounts export acct_1 --app app_1 --live --reason \"request of the customer\" > "
                + "acct_1.jsonl")
        { account, app, reason, live };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var secrets = admin.ExportAsync(parsed.GetValue(app)!, parsed.GetValue(account)!, parsed.GetValue(reason)!,
                parsed.GetValue(live), ct);
            await foreach (var secret in secrets)
                Terminal.WriteJson(secret);
            return ExitCode.Ok;
        });
    }

    private static Command Forget()
    {
        var (account, app) = (AccountArgument(), AppOption());
        var command = new Command("forget",
            "Destroy the encryption keys and the secrets of an account, in both modes, and print a signed receipt. "
                + "What is not signed within "
            + "10 seconds is shown later by: coffer receipt show ID.\n\nExample: coffer accounts forget acct_1 "
                + "--app app_1")
        { account, app, Parameters.Yes };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            if (!Terminal.Confirmed(
                parsed.GetValue(Parameters.Yes),
                $"Forget the account {parsed.GetValue(account)} of {parsed.GetValue(app)} with all its secrets, test "
                    + "and live?"))
                return ExitCode.Usage;
            var path = $"apps/{parsed.GetValue(app)}/accounts/{parsed.GetValue(account)}/forget";
            var forgotten = await ReceiptVerb.SignedAsync(admin, await admin.ChangeAsync(path, ct: ct), ct);
            Forgotten.Print(parsed, forgotten);
            ReceiptVerb.Explain(parsed, forgotten);
            return ExitCode.Ok;
        });
    }

    private static Argument<string> AccountArgument() => Parameters.IdArgument("account", "ACCT", "The account's id.");

    private static Option<string?> AppOption() =>
        Parameters.Id("--app", "APP", "The app whose account it is.", required: true);

    private static string Secrets(JsonElement account, string mode) =>
        account.TryGetProperty("secrets", out var counts) ? Listing.Text(mode)(counts) : "";
}
