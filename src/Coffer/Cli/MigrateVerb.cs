using System.CommandLine;
using System.Diagnostics;
using Coffer.Transfer;

namespace Coffer.Cli;

/// <summary><c>coffer migrate</c>: a store from a file into a database, or back, or into another directory.</summary>
internal static class MigrateVerb
{
    public static Command Command()
    {
        var (from, fromStore) = (Data("--from", "The data directory of the store, with its coffer.key."), Store(
            "--from-store", "The PostgreSQL database of the store, if it is not in that directory."));
        var (to, toStore) = (Data(
            "--to",
            "The data directory of the copy. If it has no coffer.key, a new one is created in it."), Store("--to-store",
                "The PostgreSQL database of the copy, which must be empty; the default is a file in that directory."));
        var (fromKeys, toKeys) = (Parameters.RootKey("--root-key", "COFFER_ROOT_KEY"),
            Parameters.RootKey("--to-root-key", "a key file in the directory of the copy"));
        var command = new Command("migrate",
            "Copy a store to another database or directory, and prove the copy. A server may run on the source "
                + "meanwhile: stop it and run the command once more to finish. " +
            "The same command continues an interrupted copy; no server starts on a copy before it is finished. "
                + "CONNECTION is Host=HOST;Database=NAME;Username=ROLE;Passfile=FILE.\n\n" +
            "Example: coffer migrate --from /var/lib/coffer --to /var/lib/coffer-node --to-store "
                + "\"Host=db;Database=coffer;Username=coffer;Passfile=/etc/coffer.pgpass\"")
        { from, fromStore, fromKeys, to, toStore, toKeys };
        command.SetAction(async (parsed, ct) =>
        {
            var (source, target) = (new StoreLocation(parsed.GetRequiredValue(from),
                parsed.GetValue(fromStore), parsed.GetValue(fromKeys) ?? Parameters.KeysOfEnvironment()),
                new StoreLocation(
                    parsed.GetRequiredValue(to), parsed.GetValue(toStore), parsed.GetValue(toKeys)));
            var watch = Stopwatch.StartNew();
            var report = await Progress.RunAsync(
                step => StoreCopy.RunAsync(source, target, step, TimeProvider.System, ct), Lines());
            return Conclude(report, source, target, watch.Elapsed);
        });
        return command;
    }

    private static Option<string> Data(string name, string help) =>
        Parameters.Literal(new Option<string>(name) { Description = help, HelpName = "DIR", Required = true });

    private static Option<string?> Store(string name, string help) =>
        Parameters.Literal(new Option<string?>(name) { Description = help, HelpName = "CONNECTION" }, isFree: true);

    // One line for each table: batches are shown at a terminal only.
    private static Action<Step> Lines()
    {
        Step last = default;
        return step =>
        {
            if (step.Done == step.Total && step != last)
                Console.WriteLine($"{step.Work} {step.Table}: {step.Done}");
            last = step;
        };
    }

    private static int Conclude(StoreCopy.CopyReport report, StoreLocation from, StoreLocation to, TimeSpan duration)
    {
        foreach (var problem in report.Problems)
            Console.Error.WriteLine($"coffer: error: {Terminal.Shown(problem)}");
        Console.WriteLine(
            $"{report.Rows} rows, {report.Written} written, {report.Secrets} secrets opened, {report.Problems.Count} "
                + $"problems, {duration.TotalSeconds:0.0} s");
        if (report.IsFinished)
        {
            var keys = to.Keys is null ? $"Keep a copy of {Path.Combine(to.Data, "coffer.key")} apart from it, and "
                : $"Serve it with --root-key {string.Join(' ', to.Keys.Urls)}, and ";
            Console.WriteLine($"{to.Shown} is the store now. {keys}destroy {from.Shown} when you trust it: "
                + "no server starts on that again.");
            return report.Open is not { } trouble ? ExitCode.Ok : new Failure(ExitCode.Unavailable,
                $"{to.Shown} is the store now, but {from.Shown} could not be closed: {trouble}",
                $"Start no server on {from.Shown} again: destroy it, or it lives on as a second store.").Report();
        }

        if (report.Problems.Count > 0)
        {
            return new Failure(ExitCode.Unverified, $"the copy in {to.Shown} does not verify and cannot be used",
                "Repair in the source what is named above, and run the same command again.").Report();
        }

        // As foreseen: the first of two runs.
        Console.WriteLine($"{to.Shown} has what {from.Shown} had when this run began. A server uses that, so the copy "
            + "is not finished: stop the server and run the same command again.");
        return ExitCode.Ok;
    }
}
