using System.Text.Json;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// What an exported log shows that was done to a store after its back-up, and what of it is done again in the restored
/// one: what was ended, forgotten or deleted does not come back, and apps and settings are as they were last. Nothing
/// is made.
/// </summary>
internal sealed class LaterLog
{
    private readonly HashSet<string> endedKeys = [];
    private readonly HashSet<(string App, string Account)> forgotten = [];
    private readonly HashSet<TenantId> uninstalled = [];
    private readonly HashSet<(TenantId Tenant, string Name)> deleted = [];
    private readonly Dictionary<string, bool> disabled = [];
    private readonly Dictionary<string, List<string>> changed = [];
    private readonly Dictionary<string, string?> settings = [];
    private readonly HashSet<(string App, bool Livemode)> rolledSecrets = [];

    /// <summary>How many entries are later than the back-up.</summary>
    public long Entries { get; private set; }

    /// <summary>How many secrets were set later: those are as they were in the back-up, or not there.</summary>
    public long Sets { get; private set; }

    /// <summary>Whether the keys of tenants were rotated because others may have known them.</summary>
    public bool IsCompromised { get; private set; }

    /// <summary>
    /// Whether a renewal was asked for later, and not only continued, because others may have had the root key.
    /// </summary>
    public bool IsRenewalAsked { get; private set; }

    /// <summary>
    /// How many secrets may have been deleted after that, by names that the back-up has not: they are there again.
    /// </summary>
    public long Unmatched { get; private set; }

    /// <summary>Reads and proves an export of the store's log, and keeps what is later than the store.</summary>
    /// <exception cref="ConfigurationException">
    /// It does not verify, is another store's, or lacks entries between the back-up and its own first.
    /// </exception>
    public static async Task<LaterLog> ReadAsync(string file, OfflineStore store, CancellationToken ct)
    {
        using var exported = new ExportedLog(file);
        var proof = await ProofAsync(exported, store, ct);
        var (verification, later, shared) = (new Verification(proof), new LaterLog(), new HashSet<string>());
        foreach (var (key, value) in exported.Stored.Meta)
            verification.AddMeta(key, value);
        foreach (var row in exported.Rows())
        {
            verification.Add(row);
            if (store.Engine.FindAudit(row.Node, row.First) is { } own && own.Mac.AsSpan().SequenceEqual(row.Mac))
                shared.Add(row.Node);
            else if (row.First > 1 && !shared.Contains(row.Node))
                throw Refused(file, $"it lacks what {row.Node} wrote between the back-up and entry {row.First}");
            else
                later.Add(row);
        }

        verification.Finish();
        if (verification.Problems.Count > 0 || exported.Trouble is not null)
            throw Refused(file, exported.Trouble?.Text ?? verification.Problems[0]);
        return later;
    }

    // Of a store whose renewal began after the back-up a later pepper proves the log, which is in the export. A key
    // that signs since a generation comes with a pepper, in one change.
    private static async Task<LogProof> ProofAsync(ExportedLog exported, OfflineStore store, CancellationToken ct)
    {
        var signing = PublicKeys.FromMeta(exported.Stored.Meta.GetValueOrDefault(PublicKeys.MetaKey));
        if (signing.Any(key => key.Since is not null))
        {
            var later = await exported.OpenAsync(store.Wrappers, ct);
            if (later.Id.AsSpan().SequenceEqual(store.Instance.Id)
                && store.Instance.Peppers.All.All(pepper => later.HasMark(pepper.Mark)))
                return AuditKeys.Of(later).Proof;
        }

        return AuditKeys.Of(store.Instance).Proof;
    }

    /// <summary>Does it again in the store.</summary>
    /// <returns>How many keys were ended.</returns>
    public async Task<int> ApplyAsync(OfflineStore store, CancellationToken ct)
    {
        var ended = 0;
        foreach (var id in endedKeys)
        {
            if (await store.Engine.FindApiKeyAsync(id, ct) is not { IsOffline: false } key)
                continue;
            await RestoredStore.EndAsync(store, [key]);
            ended++;
        }

        foreach (var id in disabled.Keys.Union(changed.Keys).Union(rolledSecrets.Select(each => each.App)))
            await ChangeAppAsync(store, id, ct);
        foreach (var (app, account) in forgotten)
            await RestoredStore.ForgetAsync(store, app, account, receipt: null, ct);
        foreach (var id in uninstalled)
            await RestoredStore.UninstallAsync(store, id, receipt: null, ct);
        foreach (var of in deleted.GroupBy(each => each.Tenant))
            await DeleteAsync(store, of.Key, [.. of.Select(each => each.Name)], ct);
        return ended;
    }

    /// <summary>What the store keeps of settings, with those that were changed later; those it knows.</summary>
    public IReadOnlyDictionary<string, string> SettingsOver(IReadOnlyDictionary<string, string> kept)
    {
        var over = kept.Where(each => !settings.ContainsKey(each.Key)).ToDictionary();
        foreach (var name in StoreSettings.All.Select(setting => setting.Name))
        {
            if (settings.GetValueOrDefault(name) is { } value)
                over[name] = value;
        }

        return over;
    }

    private void Keep(string changes)
    {
        using var fields = JsonDocument.Parse(changes);
        foreach (var field in fields.RootElement.EnumerateObject())
            settings[field.Name] = field.Value[1].GetString();
    }

    private static ConfigurationException Refused(string file, string why) => new(
        $"{file} does not show what came after the back-up: {why}",
        "Give the whole export of the lost store, or finish with --unknown. Nothing was changed.");

    private void Add(AuditRow row)
    {
        foreach (var line in Verification.Lines(row))
        {
            Entries++;
            using var entry = Verification.Parse(line);
            if (Field("verb") is not { } verb || Field("outcome") is not { } outcome)
                continue;
            if (verb == "renew_store")
                IsRenewalAsked |= outcome == StoreRenewal.Word(RenewalState.Asked);
            else if (outcome is "ok" or "expired")
                Add(verb, Field);

            string? Field(string name) => Verification.Field(entry, name);
        }
    }

    private void Add(string verb, Func<string, string?> field)
    {
        var (app, account, target) = (field("app"), field("account"), field("target"));
        switch (verb)
        {
            case "revoke_key" or "roll_key" or "end_key" or "expire_key" when target is not null:
                endedKeys.Add(target);
                break;
            case "forget_account" when app is not null && account is not null:
                forgotten.Add((app, account));
                break;
            case "uninstall" when app is not null && account is not null:
                uninstalled.Add(new TenantId(app, field("mode") != "test", account));
                break;
            case "disable_app" or "delete_app" or "enable_app" when app is not null:
                disabled[app] = verb != "enable_app";
                break;
            case "change_app" when app is not null && field("changed") is { } what:
                (changed.TryGetValue(app, out var before) ? before : changed[app] = []).Add(what);
                break;
            case "change_settings" when field("changed") is { } what:
                Keep(what);
                break;
            case "roll_signing_secret" when app is not null:
                rolledSecrets.Add((app, field("mode") != "test"));
                break;
            case "end_signing_secrets" when app is not null:
                rolledSecrets.Add((app, true));
                rolledSecrets.Add((app, false));
                break;
            case "set":
                Sets++;
                break;
            case "rotate_tenant_keys" when field("reason") is "compromised":
                IsCompromised = true;
                break;
            case "delete" when app is not null && account is not null && field("name") is { } name:
                deleted.Add((new TenantId(app, field("mode") != "test", account), name));
                break;
        }
    }

    private async Task ChangeAppAsync(OfflineStore store, string id, CancellationToken ct)
    {
        if (await store.Engine.FindAppAsync(id, ct) is not { } row
            || App.Inspect(row, store.Instance) is not { IsDamaged: false } app)
            return;
        var next = app with { IsDisabled = disabled.GetValueOrDefault(id, app.IsDisabled) };
        next = changed.GetValueOrDefault(id, []).Aggregate(next, ChangedAs);
        if (rolledSecrets.Contains((id, true)))
            next = next with { LiveSigningSecrets = [] };
        if (rolledSecrets.Contains((id, false)))
            next = next with { TestSigningSecrets = [] };
        await store.CommitAsync([new RowWrite.PutApp(next.ToRow(store.Instance))],
            [new AuditEntry("change_app", "ok") { App = id, Reason = "restored", Changed = App.Changed(app, next) }]);
    }

    private static App ChangedAs(App app, string changed)
    {
        using var fields = JsonDocument.Parse(changed);
        if (After("origins") is { ValueKind: JsonValueKind.Array } origins)
            app = app with { Origins = [.. origins.EnumerateArray().Select(origin => origin.GetString()!)] };
        if (After("secrets_per_scope") is { } quota)
            app = app with { SecretsPerScope = quota.ValueKind == JsonValueKind.Number ? quota.GetInt32() : null };
        if (After("account_pattern") is { } pattern)
            app = app with { AccountPattern = pattern.GetString() };
        if (After("account_required") is { } required)
            app = app with { IsAccountRequired = required.ValueKind == JsonValueKind.True };
        if (After("installs") is { } installs)
            app = app with { AreInstallsExplicit = installs.ValueKind == JsonValueKind.String };
        if (After("uninstall_disabled") is { } disabled)
            app = app with { IsUninstallDisabled = disabled.ValueKind == JsonValueKind.True };
        return app;

        JsonElement? After(string name) =>
            fields.RootElement.TryGetProperty(name, out var pair) && pair.GetArrayLength() == 2 ? pair[1] : null;
    }

    private async Task DeleteAsync(
        OfflineStore store, TenantId id, IReadOnlyList<string> names, CancellationToken ct)
    {
        if (await store.Engine.FindTenantAsync(id, ct) is not { } tenant)
            return;
        foreach (var name in IsCompromised ? names : [])
        {
            var key = new SecretKey(tenant.Id, Convert.FromHexString(name));
            if ((await store.Engine.LookUpSecretAsync(key, ct))?.Row is null)
                Unmatched++;
        }

        foreach (var some in names.Chunk(200))
        {
            await store.CommitAsync(
                [.. some.Select(name => new RowWrite.DeleteSecret(
                    new SecretKey(tenant.Id, Convert.FromHexString(name))))],
                [
                    .. some.Select(name => new AuditEntry("delete", "ok")
                    {
                        Tenant = id,
                        Name = Convert.FromHexString(name),
                        Reason = "restored",
                    }),
                ]);
        }
    }
}
