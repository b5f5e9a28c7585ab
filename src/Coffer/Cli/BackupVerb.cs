using System.CommandLine;
using System.Globalization;
using Coffer.Hosting;
using Coffer.Transfer;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer backup create|verify|forget</c>: a store in two files, made while it is served, and proven.
/// </summary>
internal static class BackupVerb
{
    private const string Pipe = "-";

    public static Command Command() =>
        new("backup", "Write a store into two files, prove them, and take accounts out of them.")
        {
            Create(), Verify(), Forget(),
        };

    private static Command Create()
    {
        var file = new Argument<string>("file")
        {
            Description = "The file to write the store to; - is standard output.",
            HelpName = "FILE",
        };
        var keys = KeysOption("The file to write the keys of tenants to; the default is FILE.keys. Required with -.");
        var (data, store, rootKey) = (Parameters.Data(), Parameters.Store(), RootKey());
        var command = new Command("create",
            "Write a store into two files, beside a running server or not. Keep them apart: without FILE.keys nothing "
                + "of an account in FILE can be opened.\n\nExample: coffer backup create "
                + "/backup/coffer-2026-11-29 --data /var/lib/coffer") { file, keys, data, store, rootKey };
        command.Validators.Add(parsed =>
        {
            if (parsed.GetValue(file) == Pipe && parsed.GetValue(keys) is null)
                parsed.AddError("Give --keys FILE too: only the store itself goes to standard output");
            else if (parsed.GetValue(file) == Pipe && !Console.IsOutputRedirected)
                parsed.AddError("Standard output is a terminal: redirect it, or give a FILE");
        });
        command.SetAction(async (parsed, ct) =>
        {
            var path = parsed.GetValue(file)!;
            var from = Parameters.At(parsed, data, store) with { Keys = KeysOf(parsed, rootKey) };
            var pipe = path == Pipe ? StandardStream.Output : null;
            var made = await Progress.RunAsync(step => BackupFiles.CreateAsync(
                from, pipe is null ? path : null, pipe, KeysPath(parsed, file, keys), step, Now(), ct));
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"back-up {made.Header.Id}: {made.Rows} rows, {made.Secrets} secrets, {made.Bytes} bytes and "
                    + $"{made.KeyBytes} bytes of keys"));
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Verify()
    {
        var (file, keys, data, rootKey, anchor) = (FileArgument(), KeysOption("The file with the keys of tenants; the "
            + "default is FILE.keys."), KeyData(), RootKey(), Anchor());
        var (receipts, shares) = (Receipts(), Shares());
        var command = new Command("verify",
            "Open every record of a back-up, prove its log, and compare its counts. If anything is in doubt, the exit "
                + "code is 2.\n\nExample: coffer backup verify /backup/coffer-2026-11-29 --data /var/lib/coffer")
        { file, keys, data, rootKey, shares, anchor, receipts };
        command.SetAction(async (parsed, ct) =>
        {
            try
            {
                var source = new RestoredStore.Source(
                    parsed.GetValue(file)!, parsed.GetValue(keys), parsed.GetValue(anchor))
                {
                    Receipts = parsed.GetValue(receipts),
                    Gather = parsed.GetValue(shares) ? SharePrompt.GatherAsync : null,
                };
                using var backup = await RestoredStore.OpenAsync(source, By(parsed, data, rootKey, shares), ct);
                var proof = await Progress.RunAsync(step => Task.FromResult(backup.Prove(step)));
                foreach (var problem in proof.Problems)
                    Console.Error.WriteLine($"coffer: error: {Terminal.Shown(problem)}");
                Console.WriteLine($"back-up {backup.Header.Id}, keys {backup.KeysHeader.Number}: {proof.Secrets} "
                    + $"secrets opened, {backup.Forgotten} tenants taken out, {proof.Problems.Count} problems");
                Console.WriteLine(AnchorLine(backup.IsAnchored));
                return proof.Problems.Count == 0 ? ExitCode.Ok : ExitCode.Unverified;
            }
            catch (BackupDamagedException e)
            {
                return Damaged(e);
            }
        });
        return command;
    }

    private static Command Forget()
    {
        var (file, keys, data, rootKey) = (FileArgument(), KeysOption("The file with the keys of tenants, which is "
            + "replaced; the default is FILE.keys."), KeyData(), RootKey());
        var receipts = Parameters.Literal(new Option<string?>("--receipts")
        {
            Description = "The directory for the receipt; the default is that of the file with the keys of tenants.",
            HelpName = "DIR",
        });
        var app = Parameters.Id("--app", "APP", "The app.", required: true);
        var account = Parameters.Id("--account", "ACCT", "The account.", required: true);
        var command = new Command("forget",
            "Take an account out of a back-up: FILE.keys is written again without its keys, and a signed receipt "
                + "beside it. Replace every copy of FILE.keys.\n\nExample: coffer backup forget "
                + "/backup/coffer-2026-11-29 --app app_1 --account acct_1 --data /var/lib/coffer")
        { file, keys, app, account, receipts, data, rootKey, Parameters.Yes };
        command.SetAction(async (parsed, ct) =>
        {
            var (of, named) = (parsed.GetValue(app)!, parsed.GetValue(account)!);
            if (!Terminal.Confirmed(parsed.GetValue(Parameters.Yes), $"Take {named} of {of} out of this back-up?"))
                return ExitCode.Usage;
            try
            {
                var keysFile = KeysPath(parsed, file, keys);
                using var backup = await OpenedBackup.OpenAsync(
                    parsed.GetValue(file)!, keysFile, By(parsed, data, rootKey, null), anchor: null, ct);
                var folder = parsed.GetValue(receipts) ?? Path.GetDirectoryName(Path.GetFullPath(keysFile))!;
                if (BackupFiles.Forget(backup, keysFile, of, named, folder, Now()) is not var (part, gone, receipt))
                {
                    return new Failure(ExitCode.Absent, $"the back-up has nothing of {named} of {of}",
                        "Check the ids. Nothing was changed.").Report();
                }

                Console.WriteLine($"back-up {backup.Header.Id}, keys {part}: {gone} tenants taken out. The receipt is "
                    + $"{Terminal.Shown(receipt)}. Replace every "
                    + "copy of the file of keys, and destroy the old ones.");
                return ExitCode.Ok;
            }
            catch (BackupDamagedException e)
            {
                return Damaged(e);
            }
        });
        return command;
    }

    /// <summary>Says of a back-up whether its identity was compared with an anchor.</summary>
    public static string AnchorLine(bool isAnchored) => isAnchored
        ? "it is of the store that the anchor names"
        : "not compared with an anchor: give --anchor FILE, a copy of a node's coffer.anchor";

    public static int Damaged(BackupDamagedException e) => new Failure(ExitCode.Unverified, e.Message,
        "Use another copy of this back-up, or an older back-up. Nothing was changed.").Report();

    public static Argument<string> FileArgument() =>
        new("file") { Description = "The back-up.", HelpName = "FILE" };

    public static Option<string?> KeysOption(string description) =>
        Parameters.Literal(new Option<string?>("--keys") { Description = description, HelpName = "FILE" });

    public static Option<string?> Anchor() => Parameters.Literal(new Option<string?>("--anchor")
    {
        Description = "A copy of a node's coffer.anchor, to prove that the back-up is of that store; the default is "
            + "the one in the data directory, if there is one.",
        HelpName = "FILE",
    });

    public static Option<KeySettings?> RootKey() => Parameters.RootKey("--root-key", "COFFER_ROOT_KEY");

    public static KeySettings? KeysOf(ParseResult parsed, Option<KeySettings?> rootKey) =>
        parsed.GetValue(rootKey) ?? Parameters.KeysOfEnvironment();

    public static string KeysPath(ParseResult parsed, Argument<string> file, Option<string?> keys) =>
        parsed.GetValue(keys) ?? parsed.GetValue(file)! + BackupKeys.Suffix;

    public static Option<string?> Receipts() => Parameters.Literal(new Option<string?>("--receipts")
    {
        Description = "A directory with receipts. A file of keys that one says is old is refused.",
        HelpName = "DIR",
    });

    public static Option<bool> Shares() => new("--shares")
    {
        Description = "Open the back-up with the recovery shares of its time. They are asked for one at a time and not "
            + "shown, or read from standard input, one a line.",
    };

    // What opens a back-up that is named on the command line.
    private static StoreLocation By(
        ParseResult parsed, Option<string?> data, Option<KeySettings?> rootKey, Option<bool>? shares)
    {
        var (directory, wrappers) = (parsed.GetValue(data), KeysOf(parsed, rootKey));
        if (wrappers is null && directory is null && (shares is null || !parsed.GetValue(shares)))
        {
            throw new ConfigurationException("nothing is named that opens the back-up",
                "Give --root-key, or the --data directory whose coffer.key opens it.");
        }

        return new StoreLocation(directory ?? ".", null, wrappers);
    }

    private static Option<string?> KeyData() => Parameters.Literal(new Option<string?>("--data")
    {
        Description = "A data directory whose coffer.key opens the back-up, and whose coffer.anchor it is compared "
            + "with.",
        HelpName = "DIR",
    });

    private static long Now() => TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
}
