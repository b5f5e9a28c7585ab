using System.Text.Json;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Transfer;

namespace Coffer.Hosting;

/// <summary>
/// A store out of a back-up. It is held: it answers no app, accepts no key of the back-up, and does nothing by itself,
/// until its operator has said what came after the back-up.
/// </summary>
internal static class RestoredStore
{
    private const int Batch = 200;

    /// <summary>What came of a restoration.</summary>
    /// <param name="Backup">The back-up's header.</param>
    /// <param name="Restored">What was written and proven.</param>
    /// <param name="IsAnchored">Whether the back-up was compared with an anchor.</param>
    /// <param name="Forgotten">How many tenants had been taken out of the back-up.</param>
    /// <param name="Key">The one key that is accepted until it is finished; null if the store does not verify.</param>
    public sealed record Outcome(
        BackupHeader Backup, Restore.Restored Restored, bool IsAnchored, long Forgotten, JsonElement? Key);

    /// <summary>Restores into an empty directory or database.</summary>
    /// <param name="file">The back-up.</param>
    /// <param name="keysFile">Its keys of tenants; null is beside it.</param>
    /// <param name="options">The settings of the server that will serve it.</param>
    /// <param name="anchor">An anchor to compare it with, or null.</param>
    /// <param name="watch">Told after each batch.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends the wait for a database or a key service.</param>
    /// <exception cref="ConfigurationException">
    /// No wrapper opens the back-up, the anchor is of another store, or the target is not empty.
    /// </exception>
    /// <exception cref="BackupDamagedException">The back-up is not as it was written.</exception>
    public static async Task<Outcome> RestoreAsync(string file, string? keysFile, CofferOptions options,
        string? anchor, Action<Step> watch, TimeProvider time, CancellationToken ct)
    {
        Preflight.Require(options);
        var to = new StoreLocation(
            options.Data, options.Store, options.RootKey.Urls.Count > 0 ? options.RootKey : null);
        using var backup = await OpenedBackup.OpenAsync(file, keysFile, to, anchor, ct);
        Restore.Restored restored;
        using (var directory = DataDirectory.Open(options.Data, holdsStore: options.Store is null))
        {
            restored = await Restore.RunAsync(backup, to, directory, to.OpenWrappers(), watch,
                time.GetUtcNow().ToUnixTimeSeconds(), ct);
        }

        var key = restored.Problems.Count > 0 ? (JsonElement?)null
            : await EnterAsync(options, backup.Header, restored.Rows, time, ct);
        return new Outcome(backup.Header, restored, backup.IsAnchored, backup.Forgotten, key);
    }

    /// <summary>Ends the holding of a store.</summary>
    /// <param name="options">The settings of its server.</param>
    /// <param name="isUnknown">
    /// Whether nobody knows what came after the back-up: every key of it is ended. If not, and there is no log, nothing
    /// came after.
    /// </param>
    /// <param name="log">An exported log of the lost store that shows what came after, or null.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends the wait for a database or a key service.</param>
    /// <returns>How many keys were ended, and what the log shows; no log shows anything else.</returns>
    /// <exception cref="ConfigurationException">
    /// The store is not held, a server runs on it, or the log is not of what came after the back-up.
    /// </exception>
    public static async Task<(int Ended, LaterLog? Shown)> FinishAsync(
        CofferOptions options, bool isUnknown, string? log, TimeProvider time, CancellationToken ct)
    {
        await using var store = await OfflineStore.OpenAsync(options, time, ct);
        if (!store.Instance.IsHeld)
        {
            throw new ConfigurationException("the store is not held: it was not restored, or that was finished",
                "Start the server.");
        }

        var shown = log is null ? null : LaterLog.Read(log, store);
        var (ended, reason) = (isUnknown, shown) switch
        {
            (true, _) => (await EndKeysAsync(store, ct), "unknown"),
            (_, not null) => (await shown.ApplyAsync(store, ct), $"a log with {shown.Entries} entries"),
            _ => (0, "nothing later"),
        };
        var entry = new AuditEntry("finish_restore", "ok") { Reason = reason, Count = ended };
        await store.CommitAsync(
            new ControlChange(store.Instance, static control => control with { IsHeld = false }, [], [entry]));
        return (ended, shown);
    }

    /// <summary>Ends keys of the back-up, and records it.</summary>
    public static Task EndAsync(OfflineStore store, IReadOnlyList<ApiKeyRow> keys) => store.CommitAsync(
        [
            .. keys.SelectMany(row => (RowWrite[])[
                EndedKey.Put(store.Instance, row, store.Now, EndedKeyRow.Revoked), new RowWrite.DeleteApiKey(row.Id)]),
        ],
        [.. keys.Select(row => ApiKey.Entry("end_key", row) with { Reason = "restored" })]);

    private static async Task<JsonElement> EnterAsync(
        CofferOptions options, BackupHeader backup, long rows, TimeProvider time, CancellationToken ct)
    {
        await using var store = await OfflineStore.OpenAsync(options with { IsRestored = true }, time, ct);
        var entry = new AuditEntry("restore", "ok") { Target = backup.Id, Count = rows };
        var end = store.Now + (long)OfflineKey.Life.TotalSeconds;
        return await OfflineKey.CreateAsync(store, end, [entry], ct);
    }

    private static async Task<int> EndKeysAsync(OfflineStore store, CancellationToken ct)
    {
        var ended = 0;
        while (true)
        {
            var keys = await store.Engine.ListOnlineKeysAsync(Batch, ct);
            if (keys.Count == 0)
                return ended;
            await EndAsync(store, keys);
            ended += keys.Count;
        }
    }
}
