// Checks: everything that is wrong with an installation, or will be, said at once. This room looks at the settings, the
// files, the store and what they hang on, on the machine of a node, beside a running server or without one. It changes
// nothing, never waits without an end, and never shows a secret, a name, a user or a payload.

using Coffer.Settings;
using Coffer.Transfer;

namespace Coffer.Checks;

/// <summary>Runs every check that applies, one after the other, whatever the others find.</summary>
internal static class Checkup
{
    private const string AsWho = "Run it as the user that runs the server, or as root.";

    /// <summary>
    /// A check: its name, how long it may take, what it looks at. A new one is a line here and a row in docs/check.md.
    /// The store is opened by <c>schema</c>, its keys by <c>root_keys</c>; what needs them comes after.
    /// </summary>
    private static readonly Check[] All =
    [
        new("settings", 5, SettingsCheck.LookAsync),
        new("process", 5, ProcessCheck.LookAsync),
        new("files", 10, FilesCheck.LookAsync),
        new("certificate", 5, CertificateCheck.LookAsync) { Applies = options => options.TlsCert is not null },
        new("schema", 60, SchemaCheck.LookAsync),
        new("postgresql", 30, PostgresCheck.LookAsync) { Applies = IsOnPostgres },
        new("nodes", 30, NodesCheck.LookAsync) { Applies = IsOnPostgres },
        new("root_keys", 120, RootKeysCheck.LookAsync),
        new("anchor", 5, AnchorCheck.LookAsync),
        new("clock", 30, ClockCheck.LookAsync),
        new("disk", 60, DiskCheck.LookAsync),
        new("backup", 30, BackupCheck.LookAsync) { Applies = options => options.Backups.Directory is not null },
        new("checkpoints", 30, CheckpointsCheck.LookAsync),
        new("rows", 120, RowsCheck.LookAsync),
        new("chain", 600, ChainCheck.LookAsync),
    ];

    /// <summary>The names of all checks, in their order.</summary>
    public static IEnumerable<string> Names => All.Select(check => check.Name);

    /// <param name="Name">For scripts: it stays.</param>
    /// <param name="Seconds">How long it may take.</param>
    /// <param name="Look">What it does.</param>
    internal sealed record Check(string Name, int Seconds, Func<Installation, Findings, CancellationToken, Task> Look)
    {
        public Func<CofferOptions, bool> Applies { get; init; } = static _ => true;
    }

    /// <summary>Looks at all there is.</summary>
    /// <param name="options">The settings, as <c>serve</c> would have them; they need not be right.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends it.</param>
    public static Task<IReadOnlyList<Finding>> RunAsync(
        CofferOptions options, TimeProvider time, CancellationToken ct) => RunAsync(All, options, time, ct);

    /// <inheritdoc cref="RunAsync(CofferOptions, TimeProvider, CancellationToken)"/>
    internal static async Task<IReadOnlyList<Finding>> RunAsync(
        IReadOnlyList<Check> checks, CofferOptions options, TimeProvider time, CancellationToken ct)
    {
        for (var tries = 1; ; tries++)
        {
            using var at = new Installation(options, time);
            var found = new List<Finding>();
            foreach (var check in checks.Where(check => check.Applies(options)))
                found.AddRange(await RunAsync(check, at, ct));
            // A server that started or rotated a key meanwhile: what was read before and after is of two moments.
            const int MostTries = 3;
            if (tries == MostTries || !at.WasDisturbed)
                return found;
        }
    }

    private static async Task<IReadOnlyList<Finding>> RunAsync(Check check, Installation at, CancellationToken ct)
    {
        var found = new Findings(check.Name);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var patience = TimeSpan.FromSeconds(check.Seconds);
        try
        {
            await Task.Run(() => check.Look(at, found, limit.Token), limit.Token).WaitAsync(patience, ct);
        }
        catch (TimeoutException)
        {
            at.GiveUp();
            await limit.CancelAsync();
            found.Warn($"not looked at to the end: it takes longer than {check.Seconds} seconds",
                "Check what it waits for, or run it again when there is less load.");
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            found.Warn("not looked at: what it needs was given up by another check", "See which took too long.");
        }
        catch (NotLookedException e)
        {
            found.Warn($"not looked at: {e.Message}", "Mend that, and check again.");
        }
        catch (ConfigurationException e)
        {
            found.Problem(e.Message, e.Hint);
        }
        catch (KeyServiceException e)
        {
            found.Problem($"the root keys cannot be unwrapped: {e.Message}", "Check what --root-key names.");
        }
        catch (ApiError e)
        {
            found.Problem($"the store cannot be read: {Cause.Of(e)}", StoreTrouble.HintOn(e));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            found.Warn($"not looked at: {e.Message.TrimEnd('.')}", AsWho);
        }
        catch (Exception e) when (!ct.IsCancellationRequested)
        {
            // Of others it is not known what their text holds.
            found.Problem($"the check itself failed ({e.GetType().Name})", "Report this as a fault of Coffer.");
        }

        return found.All;
    }

    private static bool IsOnPostgres(CofferOptions options) => options.Store is not null;
}
