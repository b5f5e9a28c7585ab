using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Coffer.Hosting;
using Coffer.Transfer;

namespace Coffer.Cli;

/// <summary><c>coffer restore</c>: a store out of a back-up, and the end of its being held.</summary>
internal static class RestoreVerb
{
    public static Command Command()
    {
        var file = new Argument<string?>("file")
        {
            Description = "The back-up.",
            HelpName = "FILE",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var keys = BackupVerb.KeysOption("The file with the keys of tenants; the default is FILE.keys.");
        var (anchor, shares) = (BackupVerb.Anchor(), BackupVerb.Shares());
        var receipts = Parameters.Literal(new Option<string?>("--receipts")
        {
            Description = "A directory with receipts of this store. A file of keys that one says is old is refused; "
                + "with --finish, accounts that were forgotten after the back-up are forgotten again.",
            HelpName = "DIR",
        });
        var finish = new Option<bool>("--finish") { Description = "End the holding of a restored store." };
        var nothing = new Option<bool>("--nothing-later")
        {
            Description = "With --finish: nothing was changed after the back-up, because the server was stopped.",
        };
        var unknown = new Option<bool>("--unknown")
        {
            Description = "With --finish: nobody knows what was changed after the back-up. All its keys are ended.",
        };
        var log = Parameters.Literal(new Option<string?>("--audit")
        {
            Description = "With --finish: an export of the lost store's audit log (coffer audit export). What it shows "
                + "as ended, forgotten, deleted or narrowed after the back-up is done again.",
            HelpName = "FILE",
        });
        var settings = ServeSettings.OfStore("audit-checkpoints");
        var command = new Command("restore",
            "Create a store out of a back-up, in an empty data directory or database of either kind, and prove it. It "
                + "is held until --finish: it answers no app, and accepts only the admin key that is printed.\n\n"
                + "Example: coffer restore /backup/coffer-2026-11-29 --data /var/lib/coffer")
        { file, keys, shares, anchor, receipts, finish, log, nothing, unknown };
        settings.AddTo(command);
        command.Validators.Add(parsed =>
        {
            var isFinish = parsed.GetValue(finish);
            if (isFinish == (parsed.GetValue(file) is not null))
                parsed.AddError("Give the FILE of a back-up, or --finish");
            else if (Said(parsed) != (isFinish ? 1 : 0))
                parsed.AddError("Give one of --audit, --nothing-later and --unknown with --finish, and none without");
            else if (isFinish && parsed.GetValue(nothing) && parsed.GetValue(receipts) is not null)
                parsed.AddError("Give --receipts with --audit or --unknown: --nothing-later says that there are none");
            else if (isFinish && parsed.GetValue(shares))
                parsed.AddError("Give --shares with the FILE of a back-up");
        });
        command.SetAction(async (parsed, ct) =>
        {
            var options = settings.Read(parsed);
            if (parsed.GetValue(finish))
            {
                var (ended, shown, forgotten) = await RestoredStore.FinishAsync(options, parsed.GetValue(unknown),
                    parsed.GetValue(log), TimeProvider.System, ct, parsed.GetValue(receipts));
                if (shown is not null)
                    Console.WriteLine($"{shown.Entries} entries are later than the back-up. {shown.Sets} secrets were "
                        + "set later: their apps have to set them again.");
                if (parsed.GetValue(receipts) is not null)
                    Console.WriteLine($"{forgotten} accounts were forgotten again, as their receipts say");
                if (shown is { IsCompromised: true })
                    Console.WriteLine("Keys of accounts were rotated for a compromise later: the next start rotates "
                        + $"all. Up to {shown.Unmatched} secrets that were deleted after that may be there again.");
                Console.WriteLine($"the store is not held any more, {ended} keys were ended");
                return ExitCode.Ok;
            }

            try
            {
                var source = new RestoredStore.Source(
                    parsed.GetValue(file)!, parsed.GetValue(keys), parsed.GetValue(anchor))
                {
                    Receipts = parsed.GetValue(receipts),
                    Gather = parsed.GetValue(shares) ? SharePrompt.GatherAsync : null,
                };
                return Conclude(await Progress.RunAsync(
                    step => RestoredStore.RestoreAsync(source, options, step, TimeProvider.System, ct)));
            }
            catch (BackupDamagedException e)
            {
                return BackupVerb.Damaged(e);
            }
        });
        return command;

        int Said(CommandResult parsed) => (parsed.GetValue(log) is null ? 0 : 1)
            + (parsed.GetValue(nothing) ? 1 : 0) + (parsed.GetValue(unknown) ? 1 : 0);
    }

    private static int Conclude(RestoredStore.Outcome outcome)
    {
        foreach (var problem in outcome.Restored.Problems)
            Console.Error.WriteLine($"coffer: error: {Terminal.Shown(problem)}");
        if (outcome.Key is not { } key)
        {
            return new Failure(ExitCode.Unverified, "what was restored does not verify and cannot be used",
                "Use another copy of this back-up, or an older back-up, and an empty target.").Report();
        }

        var made = DateTimeOffset.FromUnixTimeSeconds(outcome.Backup.Created).UtcDateTime;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"back-up {outcome.Backup.Id} of {made:yyyy-MM-dd HH:mm:ss}Z: {outcome.Restored.Rows} rows, "
                + $"{outcome.Restored.Secrets} secrets opened, {outcome.Forgotten} tenants taken out"));
        Console.WriteLine(BackupVerb.AnchorLine(outcome.IsAnchored));
        Console.WriteLine(
            "The store is held. Until coffer restore --finish it accepts one admin key, for 24 hours:\n");
        Console.WriteLine($"  {Terminal.Shown(Listing.Text("secret")(key))}");
        return ExitCode.Ok;
    }
}
