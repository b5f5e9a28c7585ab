using System.CommandLine;

namespace Coffer.Cli;

/// <summary><c>coffer installs list|create|uninstall</c>, on the management plane.</summary>
internal static class InstallsVerb
{
    private static readonly Listing Installs = new(
        ("INSTALL", Listing.Text("id")),
        ("ACCOUNT", Listing.Text("account")),
        ("MODE", Listing.Mode),
        ("STATUS", Listing.Text("status")),
        ("CHANNEL", Listing.Text("channel")),
        ("CREATED", Listing.Time("created")));

    private static readonly Listing Uninstalled = Installs.With(("RECEIPT", Listing.Text("receipt_id")));

    public static Command Command() =>
        new("installs", "List, create and remove the installs of an app on a running server. The admin key is read "
            + "from COFFER_ADMIN_KEY.")
        {
            List(), Create(), Uninstall(),
        };

    private static Command List()
    {
        var (app, live) = (AppOption(), LiveOption("Show those of live mode; the default is test mode."));
        var account = Parameters.Id("--account", "ACCT", "Show that of this account only.");
        var command = new Command("list",
            "Show where an app is installed, newest first.\n\nExample: coffer installs list --app app_1 --live")
        { app, account, live };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var found = admin.ListAsync($"apps/{parsed.GetValue(app)}/installs",
                [("account", parsed.GetValue(account)), ("livemode", Mode(parsed.GetValue(live)))], ct);
            Installs.Print(parsed, await found.ToListAsync(ct));
            return ExitCode.Ok;
        });
    }

    private static Command Create()
    {
        var (account, app) = (Parameters.IdArgument("account", "ACCT", "The account's id."), AppOption());
        var live = LiveOption("Install it in live mode; the default is test mode.");
        var command = new Command("create",
            "Install an app in an account. One that is there is shown as it is.\n\n" +
            "Example: coffer installs create acct_1 --app app_1")
        { account, app, live };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            Installs.Print(parsed, await admin.ChangeAsync($"apps/{parsed.GetValue(app)}/installs",
                [("account", parsed.GetValue(account)), ("livemode", Mode(parsed.GetValue(live)))], ct));
            return ExitCode.Ok;
        });
    }

    private static Command Uninstall()
    {
        var install = Parameters.IdArgument("install", "INSTALL", "The install's id, appinst_….");
        var app = AppOption();
        var command = new Command("uninstall",
            "Destroy the encryption keys and the secrets of an account in one mode, and close it: nothing is stored "
                + "for it until the app is installed again. The receipt is shown by: coffer receipt show ID.\n\n" +
            "Example: coffer installs uninstall appinst_test_1 --app app_1")
        { install, app, Parameters.Yes };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            if (!Terminal.Confirmed(parsed.GetValue(Parameters.Yes),
                $"Uninstall {parsed.GetValue(install)} of {parsed.GetValue(app)} with all its secrets?"))
                return ExitCode.Usage;
            Uninstalled.Print(parsed, await admin.ChangeAsync(
                $"apps/{parsed.GetValue(app)}/installs/{parsed.GetValue(install)}/uninstall", ct: ct));
            return ExitCode.Ok;
        });
    }

    private static Option<string?> AppOption() =>
        Parameters.Id("--app", "APP", "The app whose install it is.", required: true);

    private static Option<bool> LiveOption(string description) => new("--live") { Description = description };

    private static string Mode(bool live) => live ? "true" : "false";
}
