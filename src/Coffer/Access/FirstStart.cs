using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>Opens the store's identity at every start; on an empty store makes it, with the first app and keys, in one transaction.</summary>
internal static class FirstStart
{
    private const string DevKeyId = "key_dev", DevAdminKeyId = "key_dev_admin";
    private static readonly AppRow DevApp = new("app_dev", "dev", "acct_dev", 0);

    /// <summary>Who a developer's requests come from when they name no account.</summary>
    public static Caller DevCaller { get; } = new(DevKeyId, KeyKind.Secret, new TenantId(DevApp.Id, Livemode: false, DevApp.Account), Origin.Internal);

    /// <exception cref="ConfigurationException">The store has an identity, but not with this key file.</exception>
    /// <returns>The identity, the keys that are new, and the change that has to be committed before either is used.</returns>
    public static async Task<(Instance Instance, FirstKeys? Keys, Change Change)> OpenAsync(
        DataDirectory directory, Engine engine, CofferOptions options, TimeProvider time, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await Instance.RequireWholeAsync(engine, ct);
        var isNew = !await Instance.ExistsAsync(engine, ct);
        if (isNew && !File.Exists(directory.KeyFile))
            KeyFile.Create(directory.KeyFile, now);
        else if (options.Store is not null && !File.Exists(directory.KeyFile))
            throw new ConfigurationException($"the key file {directory.KeyFile} is missing", "This store has a key file already: copy coffer.key from the --data directory of a node that has it. All nodes of a store need the same one.");
        var wrapper = KeyFile.Load(directory.KeyFile);

        var (rows, notes) = (new List<RowWrite>(), new List<Note>());
        var instance = isNew ? Create() : await Instance.OpenAsync(engine, wrapper, ct);
        var keys = options.Dev is { } dev
            ? await DevKeyAsync(dev.Key)
            : isNew ? Keys() : null;
        return (instance, keys, new Change.Plain([.. rows]) { Notes = notes });

        Instance Create()
        {
            var (created, identity) = Instance.Create(wrapper, now.ToUnixTimeSeconds());
            rows.AddRange(identity);
            rows.Add(FormatOne.Row(created, 0));
            return created;
        }

        FirstKeys Keys()
        {
            var (created, signingSecret) = App.Create("default", now.ToUnixTimeSeconds());
            var app = created.ToRow(instance);
            rows.Add(new RowWrite.PutApp(app));
            return new FirstKeys(Key(app, livemode: false), Key(app, livemode: true), Key(null, livemode: true), signingSecret);
        }

        // One dev key of each kind at a time: each start replaces the last one's. A key that is another app's already stays that app's.
        async Task<FirstKeys> DevKeyAsync(string? chosen)
        {
            rows.Add(new RowWrite.DeleteApiKey(DevAdminKeyId));
            var admin = Key(null, livemode: true, id: DevAdminKeyId);
            if (chosen is not null && await ApiKey.FindIdAsync(engine, instance, chosen, ct) is { } known && known != DevKeyId)
                return new FirstKeys(chosen, null, admin, null);
            if (await engine.FindAppAsync(DevApp.Id, ct) is null)
                rows.Add(new RowWrite.PutApp(DevApp));
            rows.Add(new RowWrite.DeleteApiKey(DevKeyId));
            return new FirstKeys(Key(DevApp, livemode: false, chosen, DevKeyId), null, admin, null);
        }

        string Key(AppRow? app, bool livemode, string? chosen = null, string? id = null)
        {
            var (token, row) = ApiKey.Create(instance, app, livemode, now.ToUnixTimeSeconds(), chosen, id);
            rows.Add(new RowWrite.PutApiKey(row));
            notes.Add(ApiKey.Entry("create_key", row));
            return token;
        }
    }
}
