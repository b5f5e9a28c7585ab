using System.CommandLine;
using System.Text;
using System.Text.Json;
using Coffer.Client;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer root-keys shares create|verify</c> and <c>coffer root-keys recover</c>. Shares are made and typed here,
/// and go to no server: who holds them can open the store.
/// </summary>
internal static class RecoveryVerb
{
    private const string Path = "root_keys/shares";
    private const int UsualCount = 5, UsualThreshold = 3;

    public static Command Shares() =>
        new("shares", "Create recovery shares, with which people can open the store together, and prove them.")
        {
            Create(), Verify(),
        };

    private static Command Create()
    {
        var count = Number("--shares", $"How many shares there are: 2 to 16. The default is {UsualCount}.");
        var threshold = Number(
            "--threshold", $"How many of them open the store, at least 2. The default is {UsualThreshold}.");
        var folder = Parameters.Literal(new Option<string?>("--out")
        {
            Description = "Write each share to a file in this directory, which is created or empty, instead of showing "
                + "it.",
            HelpName = "DIR",
        });
        var command = new Command("create",
            "Create shares in place of those of before, and show them once, one at a time. They are made here: the "
                + "server is given what belongs to them after the last was shown.\n\n" +
            "Example: coffer root-keys shares create --shares 5 --threshold 3")
        { count, threshold, folder, Parameters.Yes };
        command.Validators.Add(parsed =>
        {
            var (shares, needed) = (
                parsed.GetValue(count) ?? UsualCount, parsed.GetValue(threshold) ?? UsualThreshold);
            if (needed < Recovery.LeastThreshold || needed > shares || shares > Recovery.MostShares)
            {
                parsed.AddError($"--threshold must be {Recovery.LeastThreshold} or more, and at most --shares, which "
                    + $"must be at most {Recovery.MostShares}");
            }
        });
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            if (parsed.GetValue(folder) is null && (Console.IsOutputRedirected || Console.IsInputRedirected))
            {
                return new Failure(ExitCode.Usage, "shares are shown at a terminal only",
                    "Run it at a terminal, or give --out for files.").Report();
            }

            var known = await admin.FindAsync(Path, ct);
            if (Listing.Text("id")(known).Length > 0 && !Terminal.Confirmed(parsed.GetValue(Parameters.Yes),
                $"Replace the shares that there are, {Listing.Text("threshold")(known)} of "
                    + $"{Listing.Text("count")(known)}? From then on they open back-ups of before only."))
                return ExitCode.Usage;
            using var made = Recovery.Make(Listing.Text("store")(known), Listing.Text("anchor")(known),
                ThresholdOf(parsed), CountOf(parsed));
            var deal = new ShareDeal(made.Shares, ThresholdOf(parsed), Listing.Text("store")(known));
            if (parsed.GetValue(folder) is { } directory)
                deal.Write(directory);
            else if (!deal.Show())
                return ExitCode.Usage;
            return await StoreAsync(admin, parsed, made.Stored, ct);
        });

        int CountOf(ParseResult parsed) => parsed.GetValue(count) ?? UsualCount;
        int ThresholdOf(ParseResult parsed) => parsed.GetValue(threshold) ?? UsualThreshold;
    }

    private static async Task<int> StoreAsync(
        CofferAdmin admin, ParseResult parsed, string stored, CancellationToken ct)
    {
        try
        {
            var keys = await admin.ChangeAsync(Path, [("shares", stored)], ct);
            var code = RootKeysVerb.Show(parsed, keys);
            await Console.Error.WriteLineAsync("The shares are in force. Prove them before they go apart: "
                + "coffer root-keys shares verify");
            return code;
        }
        catch (CofferException e) when (Failure.Of(e) is { } failure)
        {
            return (failure with
            {
                Hint = $"{failure.Hint} The new shares may not be in force: coffer root-keys shares verify tells. If "
                    + "not, destroy them; those of before are still good.",
            }).Report();
        }
    }

    private static Command Verify() => Connection.OnAdmin(
        new Command("verify",
            "Prove that shares open the store, without opening it. They are asked for one at a time and not shown, or "
                + "read from standard input, one a line; no server sees them.\n\n"
                + "Example: coffer root-keys shares verify"),
        async (admin, parsed, ct) =>
        {
            var known = await admin.FindAsync(Path, ct);
            if (Listing.Text("shares")(known) is not { Length: > 0 } stored)
            {
                return new Failure(ExitCode.Absent, "the store has no recovery shares",
                    "Create them with: coffer root-keys shares create").Report();
            }

            using var gathering = ShareGathering.Of(Listing.Text("store")(known), stored);
            await SharePrompt.GatherAsync(gathering, ct);
            if (!gathering.Prove())
            {
                return new Failure(ExitCode.Unverified, "these shares do not open the store",
                    "Check where each share comes from.").Report();
            }

            if (parsed.GetValue(Parameters.Json))
                Terminal.WriteJson(known);
            else
                Console.WriteLine($"These {gathering.Needed} shares open the store.");
            return ExitCode.Ok;
        });

    public static Command Recover()
    {
        var settings = ServeSettings.OfStore();
        var accept = RunningServer.AcceptRollback();
        var command = new Command("recover",
            "Open a store with recovery shares when what wraps its root keys is lost, and have what --root-key names "
                + "wrap them from now on: a new key file is made if it is not there. No server may run on the data "
                + "directory. Shares are asked for one at a time and not shown, or read from standard input, one a "
                + "line.\n\nExample: coffer root-keys recover --data /var/lib/coffer")
        { accept };
        settings.AddTo(command);
        command.SetAction(async (parsed, ct) =>
        {
            var options = settings.Read(parsed) with { AcceptedRollbacks = parsed.GetValue(accept)! };
            var outcome = await Recovery.RunAsync(options, SharePrompt.GatherAsync, TimeProvider.System, ct);
            Console.WriteLine(
                $"The store opens. Its root keys are wrapped by {string.Join(" and ", outcome.Wrappers)} from now on, "
                    + "and by the shares. Start the server, then run: coffer root-keys rotate");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Option<int?> Number(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "N",
    };
}
