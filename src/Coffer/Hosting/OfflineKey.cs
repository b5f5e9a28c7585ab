using System.Text.Json;
using Coffer.Access;
using Coffer.Api.Admin;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Hosting;

/// <summary>
/// The way in when all admin keys are lost: someone on the machine that has the root key and the store makes one beside
/// the server. Who has both can do anything anyway; this way it is in the audit log, in the server's log at each start,
/// and in the list of keys.
/// </summary>
internal static class OfflineKey
{
    /// <summary>How long it is accepted unless it is said otherwise.</summary>
    public static readonly TimeSpan Life = TimeSpan.FromHours(24);

    private const string Reason = "made beside the server";

    /// <summary>Makes an owner's key, and gives it as the API shows one.</summary>
    /// <param name="options">The settings of the server, as far as they say where store and root keys are.</param>
    /// <param name="expires">From when on it is refused; null is after <see cref="Life"/>.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends the wait for a database or a key service.</param>
    /// <exception cref="ConfigurationException">There is no such store, or a server holds it. Nothing was
    /// changed.</exception>
    public static async Task<JsonElement> CreateAsync(
        CofferOptions options, DateTimeOffset? expires, TimeProvider time, CancellationToken ct)
    {
        Preflight.Require(options);
        var now = time.GetUtcNow();
        var end = expires ?? now + Life;
        try
        {
            UnixTime.RequireExpiry(end.ToUnixTimeSeconds(), now);
        }
        catch (ApiError e)
        {
            throw new ConfigurationException(e.Message, "Leave --expires-at out for a key that ends in 24 hours.");
        }

        RequireFree(options);
        using var parts = new Parts();
        var storage = await StorageParts.OpenAsync(options, parts, ct);
        await storage.Engine.JoinAsync(ct);
        await using var start = await storage.Engine.HoldStartAsync(ct);
        if (!await Instance.ExistsAsync(storage.Engine, ct))
            throw NoStore(options);
        var mark = await StoreVerb.RequireAsync(storage.Engine, isNew: false, isDev: false, ct);
        var keys = KeyParts.Open(storage, options, isNew: false, now);
        var instance = await Instance.OpenAsync(storage.Engine, keys.Wrappers, ct);
        keys.Anchor.Check(instance);
        var around = new Surroundings(time, NullLoggerFactory.Instance, parts);
        var audit = await AuditParts.OpenAsync(storage, instance, keys.Anchor, options, around, ct);
        await Upgrade.RunAsync(
            storage.Engine, audit.Committer, instance, keys.Wrappers, now.ToUnixTimeSeconds(), ct);
        keys.Anchor.Write(instance);
        if (instance.Level < Control.SecondKeyRows)
            throw new ConfigurationException("nodes of an earlier release run on this store, and know no such key",
                "Update all nodes first, or stop them.");

        var order = await CreationOrder.OpenAsync(storage.Engine, instance, ct);
        var made = order.At(now.ToUnixTimeSeconds());
        var (token, row) = ApiKey.Create(instance, new ApiKeyRow([], ApiKey.NewId(instance, made), null, null,
            ApiKey.Word(KeyKind.Admin), true, made, end.ToUnixTimeSeconds(), [])
        {
            Role = RoleWords.Owner,
            IsOffline = true,
        });
        var entry = ApiKey.Entry("create_key", row) with { Reason = Reason, Changed = ApiKey.Made(row) };
        RowWrite[] rows = mark is null ? [new RowWrite.PutApiKey(row)] : [mark, new RowWrite.PutApiKey(row)];
        await audit.Committer.CommitAsync(new Change.Plain(rows) { Notes = [entry] });
        return Shown(new KeyRing.KeyAnswer(new ApiKey(row), token));
    }

    /// <summary>What to say at a start of the keys that were made so lately.</summary>
    public static async Task<IReadOnlyList<string>> WarningsAsync(
        Engine engine, Instance instance, DateTimeOffset now, CancellationToken ct)
    {
        var made = await engine.ListOfflineKeysAsync(now.ToUnixTimeSeconds() - EndedKeys.OfflineIsShown, ct);
        return [.. made.Select(row => ApiKey.Inspect(instance, row)).Where(key => !key.IsDamaged).Select(key =>
            $"{key.Id}: an admin key that was made beside the server at {UnixTime.Shown(key.Created)}, good until "
                + $"{UnixTime.Shown(key.EndsAt!.Value)}. Revoke it with: coffer keys revoke {key.Id}")];
    }

    // Before anything is opened or made.
    private static void RequireFree(CofferOptions options)
    {
        if (options.Store is null && !File.Exists(DataDirectory.FilesOf(options.Data).Store))
            throw NoStore(options);
        using var held = DataDirectory.TryOpen(options.Data, holdsStore: options.Store is null);
        if (held is not null)
            return;
        throw options.Store is null
            ? new ConfigurationException($"a server runs on the store in {Path.GetFullPath(options.Data)}",
                "Stop it first, or create the key with another admin key, without --offline. Nothing was changed.")
            : new ConfigurationException($"a node runs in the directory {Path.GetFullPath(options.Data)}",
                "Give --data another directory, with copies of coffer.key and coffer.anchor. Nothing was changed.");
    }

    private static ConfigurationException NoStore(CofferOptions options) => new(
        $"there is no store in {options.Store ?? Path.GetFullPath(options.Data)}",
        "Give --data, and --store if the store is in a database, as the server has them.");

    private static JsonElement Shown(KeyRing.KeyAnswer answer)
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text))
            ApiKeysApi.Write(json, answer);
        using var document = JsonDocument.Parse(text.ToArray());
        return document.RootElement.Clone();
    }
}
