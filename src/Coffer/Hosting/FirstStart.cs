
using Coffer.Access;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// Opens the store's identity at every start; on an empty store makes it, with the first app and keys, in one
/// transaction.
/// </summary>
internal static class FirstStart
{
    public const string DevAppId = "app_dev";

    private const string DevKeyId = "key_dev", DevAdminKeyId = "key_dev_admin";
    private const string DevAccount = "acct_dev";

    /// <summary>Who a developer's requests come from when they name no account.</summary>
    public static Caller DevCaller { get; } = new(DevKeyId, KeyKind.Secret,
        new TenantId(DevAppId, Livemode: false, DevAccount), Origin.Internal);

    /// <summary>
    /// The keys that <c>coffer dev</c> has left in a store, from when it opened those of <c>serve</c>.
    /// </summary>
    public static async Task<IReadOnlyList<string>> LeftByDevAsync(Engine engine, CancellationToken ct)
    {
        var left = new List<string>();
        foreach (var id in (string[])[DevKeyId, DevAdminKeyId])
        {
            if (await engine.FindApiKeyAsync(id, ct) is not null)
                left.Add(id);
        }

        return left;
    }

    /// <param name="engine">Where the store is.</param>
    /// <param name="wrappers">Open its root keys, or wrap the first one.</param>
    /// <param name="isNew">Whether the store has no identity yet.</param>
    /// <param name="options">What the server is started with.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends the wait for a wrapper.</param>
    /// <param name="isServed">Whether a new store begins with the settings of these options.</param>
    /// <exception cref="ConfigurationException">
    /// The store is the other verb's, or has an identity, but not with these wrappers.
    /// </exception>
    /// <returns>
    /// The identity, the keys that are new, and the change that has to be committed before either is used.
    /// </returns>
    public static async Task<(Instance Instance, FirstKeys? Keys, Change Change)> OpenAsync(
        Engine engine, KeyWrappers wrappers, bool isNew, CofferOptions options, TimeProvider time,
        CancellationToken ct, bool isServed = true)
    {
        var now = time.GetUtcNow();
        var mark = await StoreVerb.RequireAsync(engine, isNew, options.Dev is not null, ct);

        var (rows, notes) = (mark is null ? [] : new List<RowWrite> { mark }, new List<Note>());
        var instance = isNew ? await CreateAsync() : await Instance.OpenAsync(engine, wrappers, ct);
        var keys = isNew && options.Dev is null ? Keys() : null;
        if (options.Dev is { } dev)
            keys = await DevKeyAsync(dev.Key);
        return (instance, keys, new Change.Plain([.. rows]) { Notes = notes });

        async Task<Instance> CreateAsync()
        {
            var (created, identity) = await Instance.CreateAsync(
                wrappers, now.ToUnixTimeSeconds(), ct, isServed ? StoreSettings.Told(options) : null);
            rows.AddRange(identity);
            rows.Add(FormatOne.Row(created, 0));
            return created;
        }

        FirstKeys Keys()
        {
            var (created, secrets) = App.Create(instance, "default", now.ToUnixTimeSeconds());
            var app = created.ToRow(instance);
            rows.Add(new RowWrite.PutApp(app));
            var (test, live, admin) = (Key(app, livemode: false), Key(app, livemode: true), Key(null, livemode: true));
            return new FirstKeys(test, live, admin, secrets.Test, secrets.Live);
        }

        // One dev key of each kind at a time: each start replaces the last one's. A key that is another app's already
        // stays that app's.
        async Task<FirstKeys> DevKeyAsync(string? chosen)
        {
            rows.Add(new RowWrite.DeleteApiKey(DevAdminKeyId));
            var admin = Key(null, livemode: true, id: DevAdminKeyId);
            if (chosen is not null && await ApiKey.FindIdAsync(engine, instance, chosen, ct) is { } known
                && known != DevKeyId)
                return new FirstKeys(chosen, null, admin, null, null);
            var found = DevAppIn(await engine.FindAppAsync(DevAppId, ct));
            var (app, secrets) = found.RollSigningSecret(livemode: false, lastUntil: null);
            var row = app.ToRow(instance);
            rows.Add(new RowWrite.PutApp(row));
            rows.Add(new RowWrite.DeleteApiKey(DevKeyId));
            return new FirstKeys(Key(row, livemode: false, chosen, DevKeyId), null, admin, secrets.Test, null);
        }

        // With what it was set to, if it is there.
        App DevAppIn(AppRow? row)
        {
            if (row is null)
                return new App(DevAppId, "dev", DevAccount, now.ToUnixTimeSeconds());
            return App.Inspect(row, instance) is { IsDamaged: false } app ? app : throw new ConfigurationException(
                $"the app {row.Id} of the store in {options.Data} is damaged",
                "Use another --data directory, or none: dev then creates a temporary store.");
        }

        string Key(AppRow? app, bool livemode, string? chosen = null, string? id = null)
        {
            var (token, row) = ApiKey.Create(instance, app, livemode, now.ToUnixTimeSeconds(), chosen, id);
            if (chosen is not null)
                rows.Add(new RowWrite.DeleteEndedKey(row.Mac));
            rows.Add(new RowWrite.PutApiKey(row));
            notes.Add(ApiKey.Entry("create_key", row) with { Changed = ApiKey.Made(row) });
            return token;
        }
    }
}

/// <summary>The keys that a first start made, to be shown once.</summary>
internal sealed record FirstKeys(
    string TestSecretKey, string? LiveSecretKey, string? AdminKey, string? SigningSecretTest, string? SigningSecretLive)
{
    public override string ToString() => "[redacted]";
}
