using System.CommandLine;
using System.Globalization;
using Coffer.Hosting;
using Coffer.Transfer;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer audit verify|list|export|public-key</c>: over a data directory, beside a running server or not, or over an
/// exported file; <c>list</c> and <c>public-key</c> also ask a running server.
/// </summary>
internal static class AuditVerb
{
    public static Command Command() =>
        new("audit", "Verify, list and export the audit log.") { Verify(), List(), Export(), PublicKey() };

    private static Command Verify()
    {
        var (data, store) = (Parameters.Data(required: false), Parameters.Store());
        var checkpoints = FileOption(
            "--checkpoints", "The checkpoint file; the default is the one in the data directory.");
        var file = FileOption("--file", "An exported log, instead of a data directory.");
        var key = FileOption("--key-file", "The store's key file, to verify an exported log.");
        var rootKey = Parameters.RootKey("--root-key", "COFFER_ROOT_KEY");
        var publicKey = FileOption("--public-key",
            "What coffer audit public-key has shown: verify as far as checkpoints prove it, without the root key.");
        var anchor = FileOption("--anchor",
            "A copy of a node's coffer.anchor, to prove that the log is of that store; the default is the one in the "
                + "data directory, if there is one.");
        var command = new Command("verify",
            "Prove that no entry was changed, moved or removed, and compare the log with its checkpoints. With "
                + "--public-key that needs no root key, and proves the log up to the last checkpoint. If it fails, "
                + "the exit code is 2 and the first bad entry of each node is shown.\n\n" +
            "Example: coffer audit verify --data /var/lib/coffer")
        { data, store, file, key, rootKey, publicKey, checkpoints, anchor };
        command.Validators.Add(parsed =>
        {
            var hasFile = parsed.GetResult(file) is not null;
            var (hasKeyFile, hasWrapper) = (parsed.GetResult(key) is not null, parsed.GetResult(rootKey) is not null);
            var isPublic = parsed.GetResult(publicKey) is not null;
            if ((parsed.GetResult(data) is not null) == hasFile)
                parsed.AddError("Give --data, or --file with --key-file or --public-key");
            else if (isPublic && (hasKeyFile || hasWrapper))
                parsed.AddError("Give --public-key, or --key-file or --root-key, not both");
            else if (isPublic && parsed.GetResult(anchor) is not null)
                parsed.AddError("Give --anchor with the root key: a public key does not show whether it is that store");
            else if (hasKeyFile && (!hasFile || hasWrapper))
                parsed.AddError("Give --file and --key-file together, or --root-key");
            else if (hasFile && !isPublic && !hasKeyFile && !hasWrapper && Parameters.KeysOfEnvironment() is null)
                parsed.AddError("Give --file and --key-file together, or --public-key");
        });
        command.SetAction(async (parsed, ct) =>
        {
            var keys = parsed.GetValue(rootKey) ?? Parameters.KeysOfEnvironment();
            if (parsed.GetValue(key) is { } keyFile)
                keys = new KeySettings([WrapperUrl.Of(keyFile)]);
            var (checkpointFile, known) = (parsed.GetValue(checkpoints), parsed.GetValue(publicKey));
            var report = parsed.GetValue(file) is { } exported
                ? await AuditArchive.VerifyExportAsync(
                    exported, keys, checkpointFile, ct, known, parsed.GetValue(anchor))
                : await AuditArchive.VerifyStoreAsync(
                    Parameters.At(parsed, data, store) with { Keys = keys }, checkpointFile, ct, known,
                    parsed.GetValue(anchor));
            return Report(report);
        });
        return command;
    }

    private static int Report(AuditArchive.AuditReport report)
    {
        foreach (var problem in report.Problems)
            Console.Error.WriteLine($"coffer: error: {Terminal.Shown(problem)}");
        foreach (var line in (string[])[.. report.Rollbacks, .. report.Segments])
            Console.WriteLine(Terminal.Shown(line));
        if (report.Excused > 0)
            Console.WriteLine(
                $"{report.Excused} entries named by checkpoints belong to what was lost in a roll-back");
        if (!report.IsPublic)
            Console.WriteLine(BackupVerb.AnchorLine(report.IsAnchored));
        else
        {
            foreach (var part in report.Proven)
                Console.WriteLine(Terminal.Shown($"{part} are proven by checkpoints"));
            foreach (var part in report.Unproven)
                Console.WriteLine(Terminal.Shown($"{part} are not proven: that needs the root key, or a checkpoint"));
        }

        var how = report.IsPublic ? "hold together by the public key alone" : "verify with the root key";
        Console.WriteLine(
            $"{report.Entries} entries {how}, {report.Checkpoints} checkpoints, {report.Problems.Count} problems");
        return report.Problems.Count == 0 ? ExitCode.Ok : ExitCode.Unverified;
    }

    private static Command PublicKey()
    {
        var (data, store) = (Parameters.Data(required: false), Parameters.Store());
        var rootKey = Parameters.RootKey("--root-key", "COFFER_ROOT_KEY");
        var command = new Command("public-key",
            "Show the public key that checkpoints and receipts are signed with, of a running server or, with --data, "
                + "of a store that opens with its root key. Keep it where who can write the store cannot: it is what "
                + "audit verify --public-key believes.\n\n" +
            "Example: coffer audit public-key > coffer-audit-key.pem")
        { data, store, rootKey };
        Connection.AddTo(command, Connection.AdminUrl);
        command.Validators.Add(parsed =>
        {
            if (parsed.GetResult(data) is not null && parsed.GetResult(Connection.AdminUrl) is { Implicit: false })
                parsed.AddError("Give --data or --url, not both");
        });
        command.SetAction(async (parsed, ct) =>
        {
            var keys = parsed.GetValue(rootKey) ?? Parameters.KeysOfEnvironment();
            Terminal.WriteRaw(parsed.GetValue(data) is null
                ? await Connection.AuditKeyAsync(parsed, ct)
                : await AuditArchive.PublicKeyAsync(Parameters.At(parsed, data, store) with { Keys = keys }, ct));
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command List()
    {
        var (data, store) = (Parameters.Data(required: false), Parameters.Store());
        var (app, account, verb) = (Text("--app", "APP"), Text("--account", "ACCT"), Text("--verb", "VERB"));
        var (outcome, key) = (Text("--outcome", "WORD"), Text("--key", "KEY_ID"));
        var (since, until) = (Parameters.Time("--since", "Only entries since then"), Parameters.Time("--until",
            "Only entries before then"));
        var limit = new Option<int>("--limit")
        {
            Description = "How many entries to show at most.",
            DefaultValueFactory = _ => 50,
        };
        var command = new Command("list",
            "Show the newest entries, newest first, of a running server or, with --data, of a data directory. With "
                + "--json each entry is a line. The admin key is read from COFFER_ADMIN_KEY.\n\n" +
            "Example: coffer audit list --account acct_1 --verb find")
        { data, store, app, account, verb, outcome, key, since, until, limit, Parameters.Json };
        Connection.AddTo(command, Connection.AdminUrl);
        command.Validators.Add(parsed =>
        {
            if (parsed.GetResult(data) is not null && parsed.GetResult(Connection.AdminUrl) is { Implicit: false })
                parsed.AddError("Give --data or --url, not both");
        });
        limit.Validators.Add(given =>
        {
            if (given.Tokens is [var token] && int.TryParse(token.Value, CultureInfo.InvariantCulture, out var most)
                && most < 1)
                given.AddError("--limit must be at least 1.");
        });
        command.SetAction(async (parsed, ct) =>
        {
            var filter = new AuditFilter(
                parsed.GetValue(app), parsed.GetValue(account), parsed.GetValue(verb), parsed.GetValue(outcome),
                parsed.GetValue(key), parsed.GetValue(since), parsed.GetValue(until));
            var lines = parsed.GetValue(data) is not null
                ? await AuditArchive.ListAsync(Parameters.At(parsed, data, store), filter, parsed.GetValue(limit), ct)
                : await AskAsync(parsed, filter, parsed.GetValue(limit), ct);
            if (parsed.GetValue(Parameters.Json))
                Terminal.WriteRaw(string.Concat(lines.Select(line => line + "\n")));
            else
                WriteTable(lines);
            return ExitCode.Ok;
        });
        return command;

        static Option<string?> Text(string name, string help) => new(name) { HelpName = help };
    }

    // A line each, as from a data directory: a script need not know where the log was read.
    private static async Task<IReadOnlyList<string>> AskAsync(ParseResult parsed, AuditFilter filter, int limit,
        CancellationToken ct)
    {
        using var admin = Connection.Admin(parsed);
        return await admin.ListAsync("audit",
        [
            ("app", filter.App), ("account", filter.Account), ("verb", filter.Verb), ("outcome", filter.Outcome),
            ("key", filter.Key),
            ("since", Parameters.UnixSeconds(filter.Since)), ("until", Parameters.UnixSeconds(filter.Until)),
            ("limit", Math.Min(limit, 100).ToString(CultureInfo.InvariantCulture)),
        ], ct).Take(limit).Select(Terminal.JsonLine).ToListAsync(ct);
    }

    private static Command Export()
    {
        var (data, store) = (Parameters.Data(required: true), Parameters.Store());
        var command = new Command(
            "export",
            "Write the whole log to standard output as lines of JSON, with all that is needed to verify it "
                + "elsewhere.\n\nExample: coffer audit export --data /var/lib/coffer > audit.jsonl")
        { data, store };
        command.SetAction(async (parsed, ct) =>
        {
            await using var output = new StreamWriter(StandardStream.Output, bufferSize: 1 << 16) { NewLine = "\n" };
            await AuditArchive.ExportAsync(Parameters.At(parsed, data, store), output, ct);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Option<string?> FileOption(string name, string description) =>
        Parameters.Literal(new Option<string?>(name) { Description = description, HelpName = "FILE" });

    private static void WriteTable(IReadOnlyList<string> lines)
    {
        string[] columns = ["seq", "time", "verb", "outcome", "account", "scope", "name", "key", "request", "remote",
            "count"];
        var table = Terminal.Table(columns.Select(column => column.ToUpperInvariant()));
        foreach (var line in lines)
        {
            table.AddRow(columns.Select(column => new Text(Terminal.Shown(AuditArchive.Field(line, column) ?? ""))));
        }

        Terminal.Write(table);
    }
}
