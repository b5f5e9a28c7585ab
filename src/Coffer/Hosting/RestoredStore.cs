using System.Text.Json;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
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

    /// <summary>What is restored, and what it is held against.</summary>
    /// <param name="File">The back-up.</param>
    /// <param name="KeysFile">Its keys of tenants; null is beside it.</param>
    /// <param name="Anchor">An anchor to compare it with; null is that of the target or of the receipts.</param>
    public sealed record Source(string File, string? KeysFile = null, string? Anchor = null)
    {
        /// <summary>A directory with receipts, or null.</summary>
        public string? Receipts { get; init; }

        /// <summary>Asks for recovery shares, which open it then instead of what is set; null asks for none.</summary>
        public Func<ShareGathering, CancellationToken, Task>? Gather { get; init; }
    }

    /// <summary>Restores into an empty directory or database.</summary>
    /// <param name="source">What is restored.</param>
    /// <param name="options">The settings of the server that will serve it.</param>
    /// <param name="watch">Told after each batch.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends the wait for a database or a key service.</param>
    /// <exception cref="ConfigurationException">
    /// Nothing opens the back-up, the anchor is of another store, a receipt is not of this store or says that the keys
    /// of tenants are old, or the target is not empty.
    /// </exception>
    /// <exception cref="BackupDamagedException">The back-up is not as it was written.</exception>
    public static async Task<Outcome> RestoreAsync(
        Source source, CofferOptions options, Action<Step> watch, TimeProvider time, CancellationToken ct)
    {
        Preflight.Require(options);
        var to = new StoreLocation(
            options.Data, options.Store, options.RootKey.Urls.Count > 0 ? options.RootKey : null);
        using var backup = await OpenAsync(source, to, ct);
        Restore.Restored restored;
        using (var directory = DataDirectory.Open(options.Data, holdsStore: options.Store is null))
        {
            if (source.Gather is not null)
                KeyParts.CreateFiles(to.KeysOr(directory.KeyFile), time.GetUtcNow());
            restored = await Restore.RunAsync(backup, to, directory, to.OpenWrappers(), watch,
                time.GetUtcNow().ToUnixTimeSeconds(), ct);
        }

        var key = restored.Problems.Count > 0 ? (JsonElement?)null
            : await EnterAsync(options, backup.Header, restored.Rows, time, ct);
        return new Outcome(backup.Header, restored, backup.IsAnchored, backup.Forgotten, key);
    }

    /// <summary>
    /// Opens a back-up to be verified or restored: by what is set or by recovery shares, and held against an anchor and
    /// receipts if there are any.
    /// </summary>
    /// <param name="source">The back-up.</param>
    /// <param name="by">What is set, and the data directory with the key file and the anchor.</param>
    /// <param name="ct">Ends the wait for a key service.</param>
    /// <inheritdoc cref="RestoreAsync" path="/exception"/>
    public static async Task<OpenedBackup> OpenAsync(Source source, StoreLocation by, CancellationToken ct)
    {
        var own = Path.Combine(by.Data, DataDirectory.Anchor);
        var kept = source.Receipts is null ? null : Path.Combine(source.Receipts, DataDirectory.Anchor);
        var anchor = source.Anchor ?? (File.Exists(own) || !File.Exists(kept) ? null : kept);
        var backup = source.Gather is null
            ? await OpenedBackup.OpenAsync(source.File, source.KeysFile, by, anchor, ct)
            : await Recovery.OpenAsync(source.File, source.KeysFile, by, anchor, source.Gather, ct);
        try
        {
            if (source.Receipts is not null)
                KnownReceipts.Read(source.Receipts, backup.Instance).RequireNewest(backup);
            return backup;
        }
        catch
        {
            backup.Dispose();
            throw;
        }
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
    /// <param name="receipts">A directory with receipts of accounts that were forgotten, or null.</param>
    /// <returns>
    /// How many keys were ended, what the log shows, and how many accounts were forgotten again by receipts.
    /// </returns>
    /// <exception cref="ConfigurationException">
    /// The store is not held, a server runs on it, the log is not of what came after the back-up, or a receipt is not
    /// of this store.
    /// </exception>
    public static async Task<(int Ended, LaterLog? Shown, int Forgotten)> FinishAsync(CofferOptions options,
        bool isUnknown, string? log, TimeProvider time, CancellationToken ct, string? receipts = null)
    {
        await using var store = await OfflineStore.OpenAsync(options, time, ct);
        if (!store.Instance.IsHeld)
        {
            throw new ConfigurationException("the store is not held: it was not restored, or that was finished",
                "Start the server.");
        }

        var shown = log is null ? null : await LaterLog.ReadAsync(log, store, ct);
        var known = receipts is null ? null : KnownReceipts.Read(receipts, store.Instance);
        var isCompromised = isUnknown || shown?.IsCompromised == true;
        var isRenewalAsked = shown?.IsRenewalAsked == true;
        if (isCompromised && store.Instance.Level < Control.RetiredSeeds)
            throw OlderNodesRun("seeds");
        if (isRenewalAsked && store.Instance.Level < Control.RenewedPeppers)
            throw OlderNodesRun("peppers");
        if (isRenewalAsked && store.Instance.FactsInForce.Renewal is { State: RenewalState.Proving })
        {
            throw new ConfigurationException("the back-up was made in the middle of a renewal of the store, and the "
                + "log shows a later one",
                "Finish with --unknown, and run coffer root-keys rotate --compromised once the renewal of the back-up "
                + "is confirmed. Nothing was changed.");
        }

        var forgotten = known is null ? 0 : await known.ApplyAsync(store, ct);
        var (ended, reason) = (isUnknown, shown) switch
        {
            (true, _) => (await EndKeysAsync(store, ct), "unknown"),
            (_, not null) => (await shown.ApplyAsync(store, ct), $"a log with {shown.Entries} entries"),
            _ => (0, "nothing later"),
        };
        if (known is not null)
            reason += $", and {known.Count} receipts";
        var entry = new AuditEntry("finish_restore", "ok") { Reason = reason, Count = ended };
        // Of a renewal that the log shows as asked for, the keys of all tenants are a part. One that was only continued
        // is in the back-up, and may be past a tenant already whose keys were found to be known later.
        var renewal = isRenewalAsked ? RenewalOf(store) : null;
        var (rows, notes) = isCompromised && renewal is null
            ? await RotateTenantsAsync(store, ct)
            : ([], []);
        if (renewal is not null)
            notes = [new AuditEntry("renew_store", StoreRenewal.Word(renewal.State)) { Reason = "restored" }];
        var kept = store.Instance.FactsInForce.Settings;
        var settings = kept is null || shown is null ? kept : shown.SettingsOver(kept);
        if (settings is not null && ManagedSettings.Changed(kept, settings) is { } changes)
            notes = [.. notes, new AuditEntry("change_settings", "ok") { Reason = "restored", Changed = changes }];
        await store.CommitAsync(new ControlChange(store.Instance,
            control => control with { IsHeld = false, Renewal = renewal ?? control.Renewal, Settings = settings }, rows,
            [entry, .. notes]));
        if (shown is not null || known is not null)
            await store.Engine.EraseAsync(ct);
        return (ended, shown, forgotten);
    }

    private static ConfigurationException OlderNodesRun(string what) => new(
        $"nodes of an earlier release run on this store, and know no other {what}",
        "Stop them first. Nothing was changed.");

    // The next start carries it out, from the root key that the restoration has made.
    private static Renewal RenewalOf(OfflineStore store) => new(RenewalState.Asked,
        store.Instance.FactsInForce.NewestVersion, store.Instance.Peppers.Newest.Number + 1, store.Now);

    // The next start carries it out. Nobody says which keys others may know: they are those of all tenants. A renewal
    // of the back-up waits for it as for its own.
    private static async Task<(RowWrite[] Rows, Note[] Notes)> RotateTenantsAsync(
        OfflineStore store, CancellationToken ct)
    {
        var stored = await store.Engine.FindMetaAsync(TenantRotations.MetaKey, ct);
        // What it said is a part of this: one that does not open is as none.
        var rotations = TenantRotations.Find(store.Instance, stored) ?? new([]);
        var asked = (await TenantRotation.OfAllAsync(store.Engine, store.Now, ct)) with
        {
            FirstRoot = store.Instance.FactsInForce.NewestVersion, // which the restoration has made
            FirstSigningKey = store.Instance.Signing.Number + 1,
            Pepper = store.Instance.FactsInForce.Renewal?.Pepper,
        };
        return ([rotations.EndedBy(asked).Write(store.Instance)], [asked.Asked]);
    }

    /// <summary>Ends keys of the back-up, and records it.</summary>
    public static Task EndAsync(OfflineStore store, IReadOnlyList<ApiKeyRow> keys) => store.CommitAsync(
        [
            .. keys.SelectMany(row => (RowWrite[])[
                EndedKey.Put(store.Instance, row, store.Now, EndedKeyRow.Revoked), new RowWrite.DeleteApiKey(row.Id)]),
        ],
        [.. keys.Select(row => ApiKey.Entry("end_key", row) with { Reason = "restored" })]);

    /// <summary>Forgets an account of the back-up that was forgotten after it, and records it.</summary>
    /// <param name="store">The restored store.</param>
    /// <param name="app">The app.</param>
    /// <param name="account">The account.</param>
    /// <param name="receipt">The receipt that says so; then what came after it stays. Null is a log.</param>
    /// <param name="ct">Ends the wait for a database.</param>
    /// <returns>Whether there was something to forget.</returns>
    public static async Task<bool> ForgetAsync(
        OfflineStore store, string app, string account, SignedReceipt? receipt, CancellationToken ct)
    {
        var rows = new List<RowWrite>();
        foreach (var livemode in (bool[])[false, true])
        {
            var id = new TenantId(app, livemode, account);
            if (await FindAsync(store, id, ct) is { } tenant && IsBefore(tenant, receipt))
                rows.Add(new RowWrite.ShredTenant(tenant.Number, id));
        }

        if (rows.Count == 0)
            return false;
        rows.AddRange(ManagementWriter.DeleteReplies(store.Instance, app, account));
        var entry = new AuditEntry("forget_account", "ok")
        {
            App = app,
            Account = account,
            Target = receipt?.Id,
            Reason = "restored",
        };
        await store.CommitAsync(rows, [entry]);
        return true;
    }

    /// <summary>
    /// Uninstalls an app from an account of the back-up again, and records it. The account is closed also if the
    /// back-up has nothing of it: it was installed later, and uninstalled.
    /// </summary>
    /// <param name="store">The restored store.</param>
    /// <param name="id">App, mode and account.</param>
    /// <param name="receipt">The receipt that says so; then what came after it stays. Null is a log.</param>
    /// <param name="ct">Ends the wait for a database.</param>
    /// <returns>Whether it is closed by this.</returns>
    public static async Task<bool> UninstallAsync(
        OfflineStore store, TenantId id, SignedReceipt? receipt, CancellationToken ct)
    {
        var tenant = await FindAsync(store, id, ct);
        if ((tenant is not null && !IsBefore(tenant, receipt)) || await store.Engine.FindAppAsync(id.App, ct) is null)
            return false;
        var closed = InstallId.Closed(store.Instance, id);
        if (tenant is null && await store.Engine.FindUninstallAsync(closed, ct) is not null)
            return false;
        var (number, created) = (tenant?.Number ?? 0, tenant?.Created ?? 0);
        RowWrite[] rows =
        [
            .. tenant is null ? (RowWrite[])[] : [new RowWrite.ShredTenant(number, id)],
            .. ManagementWriter.DeleteReplies(store.Instance, id),
            new RowWrite.PutUninstall(new UninstallRow(
                closed, InstallId.Of(store.Instance, id, created), number, created, receipt?.Id ?? "")),
        ];
        var entry = new AuditEntry("uninstall", "ok") { Tenant = id, Target = receipt?.Id, Reason = "restored" };
        await store.CommitAsync(rows, [entry]);
        return true;
    }

    private static async Task<InstallRow?> FindAsync(OfflineStore store, TenantId id, CancellationToken ct) =>
        await store.Engine.FindAsync(InstallRow.ByOwner, ct, id.App, id.Livemode, id.Account);

    private static bool IsBefore(InstallRow tenant, SignedReceipt? receipt) =>
        receipt is null || tenant.Created <= receipt.ForgottenAt;

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
        await foreach (var rows in store.Engine.ApiKeysAsync(Batch, ct))
        {
            List<ApiKeyRow> online = [.. rows.Where(row => !row.IsOffline)];
            if (online.Count > 0)
                await EndAsync(store, online);
            ended += online.Count;
        }

        return ended;
    }
}
