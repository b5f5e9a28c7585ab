using System.Text.Json;
using Coffer.Access;
using Coffer.Api.Admin;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Storage;

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

        await using var store = await OfflineStore.OpenAsync(options, time, ct);
        return await CreateAsync(store, end.ToUnixTimeSeconds(), [], ct);
    }

    /// <summary>Makes one in a store that is open.</summary>
    /// <param name="store">The store.</param>
    /// <param name="end">From this Unix second on it is refused.</param>
    /// <param name="notes">What is recorded before it.</param>
    /// <param name="ct">Ends the wait for a database.</param>
    public static async Task<JsonElement> CreateAsync(
        OfflineStore store, long end, IReadOnlyList<Note> notes, CancellationToken ct)
    {
        var instance = store.Instance;
        var order = await CreationOrder.OpenAsync(store.Engine, instance, ct);
        var made = order.At(store.Now);
        var (token, row) = ApiKey.Create(instance, new ApiKeyRow([], ApiKey.NewId(instance, made), null, null,
            ApiKey.Word(KeyKind.Admin), true, made, end, [])
        {
            Role = RoleWords.Owner,
            IsOffline = true,
        });
        var entry = ApiKey.Entry("create_key", row) with { Reason = Reason, Changed = ApiKey.Made(row) };
        await store.CommitAsync([new RowWrite.PutApiKey(row)], [.. notes, entry]);
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

    private static JsonElement Shown(KeyRing.KeyAnswer answer)
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text))
            ApiKeysApi.Write(json, answer);
        using var document = JsonDocument.Parse(text.ToArray());
        return document.RootElement.Clone();
    }
}
