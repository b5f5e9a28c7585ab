using System.Net;
using Coffer.Access;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>API keys as they are managed: created, listed, rolled and revoked by someone with an admin key.</summary>
internal sealed class KeyRing(Engine engine, Instance instance, Gate gate, ManagementWriter management)
{
    /// <summary>A key to be made.</summary>
    /// <param name="Kind">Secret, restricted or admin.</param>
    /// <param name="App">Its app; null for an admin key.</param>
    /// <param name="Livemode">Its mode; true for an admin key, which has none.</param>
    /// <param name="Permissions">Of a restricted key.</param>
    /// <param name="Account">The one account of a restricted key, or null.</param>
    /// <param name="Networks">Where it is taken from; empty is anywhere.</param>
    /// <param name="ExpiresAt">From this Unix second on it is refused, or null.</param>
    /// <param name="Role">Of an admin key; null of another.</param>
    /// <param name="Apps">The apps that an admin key is held to; empty is all.</param>
    public sealed record Wanted(KeyKind Kind, string? App, bool Livemode, Permissions Permissions, string? Account,
        IReadOnlyList<IPNetwork> Networks, long? ExpiresAt, Role? Role, IReadOnlyList<string> Apps);

    /// <summary>A key as it is shown; with its token if it is new, and once.</summary>
    public sealed record KeyAnswer(ApiKey Key, string? Token = null, bool IsRevoked = false)
    {
        public override string ToString() => $"{Key.Id} [redacted]";
    }

    /// <exception cref="ApiError">404: there is no such key.</exception>
    public async Task<ApiKey> RequireAsync(Caller caller, string id, CancellationToken ct)
    {
        gate.Require(caller, Acts.ShowKey);
        var row = await engine.FindApiKeyAsync(id, ct);
        if (!caller.Reaches(row?.App))
            row = null;
        await gate.PassAsync(
            caller.Entry("show_key", row is null ? "absent" : "ok") with { Target = id, App = row?.App });
        var key = ApiKey.Inspect(instance, row ?? throw ApiError.NoSuch("API key", id));
        await ReportAsync(caller, [key]);
        return key;
    }

    /// <summary>
    /// A page of the keys of an app, or of all keys, newest first; and one more, not recorded, if there are more.
    /// </summary>
    /// <exception cref="ApiError">400: the cursor is no id of a key of this store.</exception>
    public async Task<IReadOnlyList<ApiKey>> ListAsync(Caller caller, string? app, Cursor? cursor, int limit,
        CancellationToken ct)
    {
        gate.Require(caller, Acts.ListKeys);
        var (place, newer) = await cursor.FindAsync(instance, ApiKey.IdPrefix, "API key", async id =>
            await engine.FindApiKeyAsync(id, ct) is { } row && caller.Reaches(row.App)
                ? new Place(row.Created, id)
                : null);
        var rows = await ListAsync(caller, app, place, newer, limit + 1, ct);
        await gate.PassAsync(caller.Entry("list_keys", "ok") with { App = app, Count = Math.Min(rows.Count, limit) });
        List<ApiKey> keys = [.. rows.Select(row => ApiKey.Inspect(instance, row))];
        await ReportAsync(caller, keys);
        return keys;
    }

    /// <exception cref="ApiError">400: there is no such app; or the expiry is not in the future, or too far in
    /// it.</exception>
    public async Task<Reply> CreateAsync(
        ManagementWriter.Request<KeyAnswer> request, Wanted wanted, CancellationToken ct)
    {
        gate.Require(request.Caller, wanted.Kind == KeyKind.Admin ? Acts.ManageAdminKeys : Acts.CreateKey);
        var entry = request.Caller.Entry("create_key", "ok") with { App = wanted.App };
        foreach (var app in wanted.Apps)
        {
            if (await engine.FindAppAsync(app, ct) is null)
                throw ApiError.Unusable("apps", $"there is no app '{app}'");
        }

        var at = new Change.ManagementKey { App = wanted.App };
        return await management.WriteAsync(request, at, entry, (found, now) =>
        {
            RequireUnfrozen(request.Caller);
            if (wanted.App is not null && (found.App is null || !request.Caller.Reaches(wanted.App)))
                throw ApiError.Unusable("app", "there is no such app");
            UnixTime.RequireExpiry(wanted.ExpiresAt, UnixTime.Date(now));
            var created = management.CreatedAt(now);
            var (token, row) = ApiKey.Create(instance,
                new ApiKeyRow(
                    [], ApiKey.NewId(instance, created), found.App?.Id, found.App?.Account, ApiKey.Word(wanted.Kind),
                    wanted.Livemode, created, wanted.ExpiresAt, [])
                {
                    Permissions = wanted.Kind == KeyKind.Restricted
                        ? string.Join(',', wanted.Permissions.Words())
                        : null,
                    PinnedAccount = wanted.Account,
                    Addresses = wanted.Networks.Count > 0 ? string.Join(',', wanted.Networks) : null,
                    Role = wanted.Role?.Word(),
                    Apps = wanted.Apps.Count > 0 ? string.Join(',', wanted.Apps) : null,
                    CreatedBy = request.Caller.KeyId,
                });
            var keeps = found.App is null ? KeepsOfStore : App.Inspect(found.App, instance).HasEvents;
            return new(new KeyAnswer(new ApiKey(row), token),
                [new RowWrite.PutApiKey(row), .. KeyEvents.Of(keeps, instance, request.Caller, "created", row, now)],
                entry with { Target = row.Id, Changed = ApiKey.Made(row) });
        });
    }

    /// <summary>
    /// Makes a key that may do what another may, and lets that one, with what it minted, live for a while yet.
    /// </summary>
    /// <param name="request">Who asks.</param>
    /// <param name="id">The key to be replaced.</param>
    /// <param name="grace">How much longer it is valid, in seconds.</param>
    /// <exception cref="ApiError">
    /// 404: there is no such key. 400: it has expired, or was rolled already and is in its grace period.
    /// </exception>
    public async Task<Reply> RollAsync(ManagementWriter.Request<KeyAnswer> request, string id, long grace)
    {
        gate.Require(request.Caller, Acts.RollKey);
        var entry = request.Caller.Entry("roll_key", "ok") with { Target = id };
        var at = new Change.ManagementKey { ApiKey = id };
        var keeps = await KeepsEventsAsync(id);
        return await management.WriteAsync(request, at, entry, (found, now) =>
        {
            RequireUnfrozen(request.Caller);
            var key = ApiKey.From(instance, Require(request.Caller, found, id));
            var old = key.Row;
            if (key.EndsAt <= now)
                throw ApiError.Unusable("id", "the key has expired; create another");
            // Its end is that of a grace period: a successor would have it too.
            if (old is { How: EndedKeyRow.Rolled, Ended: not null })
                throw ApiError.RolledAlready(old.Ended.Value);
            var made = management.CreatedAt(now);
            var newId = ApiKey.NewId(instance, made);
            var successor = old with
            {
                Id = newId,
                Created = made,
                LastUsed = null,
                Generation = null,
                Ended = null,
                How = null,
                CreatedBy = request.Caller.KeyId,
                IsOffline = false,
            };
            var (token, row) = ApiKey.Create(instance, successor);
            // Its end is noted now, whenever it is: an old row that is put back does not defer it.
            var end = Math.Min(old.ExpiresAt ?? long.MaxValue, now + grace);
            RowWrite[] rows =
            [
                EndedKey.Put(instance, old, end, EndedKeyRow.Rolled),
                grace == 0 ? new RowWrite.DeleteApiKey(old.Id)
                    : new RowWrite.PutApiKey(ApiKey.Prove(
                        instance, old with { ExpiresAt = end }, key.MadeUnder)),
                new RowWrite.PutApiKey(row), .. grace == 0 ? EndMinted(old, now) : [],
                .. KeyEvents.Of(keeps, instance, request.Caller, "rolled", old with { ExpiresAt = end }, now, row.Id),
            ];
            return new(new KeyAnswer(new ApiKey(row), token), rows,
                entry with
                {
                    Tenant = Tenant(row),
                    Reason = $"replaced by {row.Id}",
                    Changed = ApiKey.Ends(end, row.Id),
                });
        });
    }

    /// <summary>
    /// Makes a key worthless, and with it the ephemeral keys that it minted: at once on this node, within <see
    /// cref="Epoch.Bound"/> on the others.
    /// </summary>
    /// <exception cref="ApiError">404: there is no such key. 400: it is the last admin key.</exception>
    public async Task<Reply> RevokeAsync(ManagementWriter.Request<KeyAnswer> request, string id)
    {
        gate.Require(request.Caller, Acts.RevokeKey);
        var entry = request.Caller.Entry("revoke_key", "ok") with { Target = id };
        var keeps = await KeepsEventsAsync(id);
        return await management.WriteAsync(request, new Change.ManagementKey { ApiKey = id }, entry, (found, now) =>
        {
            var key = ApiKey.Inspect(instance, Require(request.Caller, found, id));
            if (key is { Role: Role.Owner, EndsAt: null, Row.Addresses: null, IsDamaged: false }
                && found.OtherOwnerKeys == 0)
                throw ApiError.LastAdminKey();
            return new(new KeyAnswer(key, IsRevoked: true),
                [
                    EndedKey.Put(instance, key.Row, now, EndedKeyRow.Revoked), new RowWrite.DeleteApiKey(id),
                    .. EndMinted(key.Row, now, key.IsDamaged),
                    .. KeyEvents.Of(keeps && !key.IsDamaged, instance, request.Caller, "revoked", key.Row, now),
                ],
                entry with { Tenant = Tenant(key.Row), Changed = ApiKey.Ends(now) });
        });
    }

    // What an owner is to confirm is every key that there is. Each change compares the control row that this goes by.
    private void RequireUnfrozen(Caller caller)
    {
        if (instance.Facts?.Renewal is { State: RenewalState.Waiting } && !caller.MayConfirm)
            throw ApiError.KeysAreListed();
    }

    // Of an admin key, and of a row that does not say what it is, an owner decides alone.
    private ApiKeyRow Require(Caller caller, Change.ManagementFound found, string id)
    {
        if (found.ApiKey is not { } row || !caller.Reaches(row.App))
            throw ApiError.NoSuch("API key", id);
        if (row.App is null || new ApiKey(row).Kind is not (KeyKind.Secret or KeyKind.Restricted))
            gate.Require(caller, Acts.ManageAdminKeys);
        return row;
    }

    private async Task<IReadOnlyList<ApiKeyRow>> ListAsync(
        Caller caller, string? app, Place? bound, bool newer, int limit, CancellationToken ct)
    {
        if (caller.Apps is null)
            return await engine.ListApiKeysAsync(app, bound, newer, limit, ct);
        var found = new List<ApiKeyRow>();
        foreach (var held in caller.Apps.Where(held => app is null || app == held))
            found.AddRange(await engine.ListApiKeysAsync(held, bound, newer, limit, ct));
        return found.Page(static row => new Place(row.Created, row.Id), bound, newer, limit);
    }

    private bool KeepsOfStore => instance.Level >= Control.Events;

    // Whether the app of a key keeps events; of one that is no app's, whether the store does.
    private async ValueTask<bool> KeepsEventsAsync(string id)
    {
        var ct = CancellationToken.None;
        if (await engine.FindApiKeyAsync(id, ct) is not { App: { } app })
            return KeepsOfStore;
        return await App.HasEventsAsync(engine, instance, app, ct);
    }

    // Only secret keys mint; of a damaged row nobody knows what it was.
    private static RowWrite[] EndMinted(ApiKeyRow key, long now, bool isDamaged = false) =>
        new ApiKey(key).Kind == KeyKind.Secret || isDamaged
            ? [Revocations.Write(key.App ?? "", key.Id, now, now + EphemeralKey.LongestLife)]
            : [];

    private ValueTask ReportAsync(Caller caller, IEnumerable<ApiKey> keys) =>
        gate.ReportAsync([.. keys.Select(key => key.Damage).OfType<DamagedRow>()], caller.Origin.RequestId);

    // Of an entry that an admin key asks for, the app and mode are those of the key that it is about.
    private static TenantId? Tenant(ApiKeyRow key) =>
        key.App is null ? null : new TenantId(key.App, key.Livemode, key.PinnedAccount ?? key.Account!);
}
