// Secrets: the rules, and the only room that decides when plaintext may exist. Every verb asks the Gate first.
// It knows neither HTTP nor SQL: rows come from and go to Storage, sealed by Crypto.

using System.Collections.Concurrent;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>Set, find, list and delete, for whoever the caller is.</summary>
internal sealed partial class SecretStore(
    Engine engine, Committer committer, Gate gate, Tenants tenants, SecretId ids, TimeProvider time)
{
    /// <summary>Why what was read again and again is not given out.</summary>
    public const string Moving = "the database was changed for another again and again";

    /// <summary>How often a request begins again because what it read is no longer so.</summary>
    private const int MostTries = 100;

    private readonly Instance instance = tenants.Instance;
    private readonly ConcurrentDictionary<(long Tenant, Guid Key), bool> inFlight = new();

    /// <summary>How many secrets a scope may hold where its app has no number of its own.</summary>
    public required Func<int> SecretsPerScope { get; init; }

    /// <summary>Where lists with payloads are while they are made and sent.</summary>
    public required Room Room { get; init; }

    /// <summary>A page of a list, newest first.</summary>
    /// <param name="Secrets">At most as many as were asked for.</param>
    /// <param name="HasMore">Whether more follow in the direction of the walk.</param>
    /// <param name="Damaged">How many rows were left out because they were changed outside Coffer.</param>
    /// <param name="Room">What it has of <see cref="SecretStore.Room"/>, to be given back when it is sent.</param>
    public sealed record Page(
        IReadOnlyList<Secret> Secrets, bool HasMore, int Damaged = 0, IDisposable? Room = null);

    /// <summary>
    /// A position in a list: the id of a secret of the scope, there or gone, and the parameter it came in.
    /// </summary>
    public sealed record Cursor(string Id, string Param);

    /// <summary>The secret, or null. Its payload is only opened when it is wanted.</summary>
    public async ValueTask<Secret?> FindAsync(Caller caller, Scope scope, SecretName name, bool wantsPayload,
        CancellationToken ct)
    {
        var id = gate.RequireScope(caller, Permissions.SecretRead, scope.User.Span);
        if (wantsPayload || gate.TakesMetadata)
            gate.RequireBudget(caller);
        for (var tries = 0; tries < MostTries; tries++)
        {
            var failovers = engine.Failovers;
            if (await FindTenantAsync(caller, id, ct) is not { } tenant)
                return null;
            var key = SealedSecret.KeyOf(tenant, tenant.Keys.Seed, scope, name);
            var found = await LookUpAsync(tenant, key, scope, name, ct);
            if (found?.Counter != tenant.Counter)
            {
                // By other keys than those that are stored neither a row nor its absence says anything.
                await tenants.RereadAsync(id, ct);
                continue;
            }

            var row = found.Row;
            if (row is null || (row.IsSound && !row.IsLiveAt(Now())))
            {
                if (gate.TakesMetadata)
                    await gate.PassAsync(caller.Entry("find", "absent", scope.Word, key.Name));
                return null;
            }

            var secret = wantsPayload
                ? SealedSecret.Open(instance, tenant, row, scope, wantsPayload: true)
                : SealedSecret.Prove(instance, tenant, row, scope, name);
            if (wantsPayload && !await gate.PassAsync([secret], failovers, Entry(caller, "find", row, secret)))
                continue;
            if (!wantsPayload && gate.TakesMetadata)
                await gate.PassAsync(Entry(caller, "find_metadata", row, secret));
            return secret;
        }

        throw ApiError.Contradictory(Moving);
    }

    // A payload leaves only after the entry about it is durable; if it cannot be, what was opened is cleared.
    private ValueTask<bool> PassAsync(Caller caller, string verb, long failovers, IReadOnlyList<SecretRow> rows,
        IReadOnlyList<Secret> secrets) =>
        gate.PassAsync(
            secrets, failovers,
            [.. rows.Zip(secrets, (row, secret) => Entry(caller, verb, row, secret))]);

    private static AuditEntry Entry(Caller caller, string verb, SecretRow row, Secret secret) =>
        caller.Entry(verb, "ok", secret.Scope.Word, row.Key.Name, row.Version);

    /// <summary>A page of a scope: the newest, or those next to a cursor.</summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="scope">What to list.</param>
    /// <param name="after">Begin with what is older than this.</param>
    /// <param name="before">End with what is newer than this.</param>
    /// <param name="limit">The most secrets to give.</param>
    /// <param name="wantsPayload">Whether to give their payloads too.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ApiError">
    /// A cursor is not an id of this scope, or there are two; or 503: there is no room for so many payloads.
    /// </exception>
    public async ValueTask<Page> ListAsync(Caller caller, Scope scope, Cursor? after, Cursor? before, int limit,
        bool wantsPayload, CancellationToken ct)
    {
        var id = gate.RequireScope(caller, Permissions.SecretRead, scope.User.Span);
        var tenant = await FindTenantAsync(caller, id, ct);
        foreach (var cursor in ((Cursor?[])[after, before]).OfType<Cursor>())
        {
            if (tenant is null || SealedSecret.IsOf(tenant, scope, cursor.Id))
                continue;
            // It may have been given out by another node, under a seed that is not known here yet.
            tenant = await tenants.RereadAsync(id, ct);
            if (tenant is null || !SealedSecret.IsOf(tenant, scope, cursor.Id))
                throw ApiError.UnknownPosition("secret", cursor.Id, cursor.Param);
        }

        if (tenant is null && (after ?? before) is { } position)
            throw ApiError.UnknownPosition("secret", position.Id, position.Param);

        if (after is not null && before is not null)
            throw ApiError.BothCursors();
        if (wantsPayload || gate.TakesMetadata)
            gate.RequireBudget(caller);
        if (tenant is null)
            return new Page([], HasMore: false);

        var (bound, newer) = ((after ?? before)?.Id, before is not null);
        if (!wantsPayload)
            return await ReadAsync(null);
        var size = 0L;
        foreach (var blind in BlindsOf(tenant, scope))
            size += await engine.SizeOfListAsync(tenant.Number, blind, bound, newer, Now(), limit, ct);
        return await Room.EnterAsync(size, ReadAsync, ct);

        async Task<Page> ReadAsync(IDisposable? room) =>
            await ListAsync(caller, tenant, scope, after, before, limit, wantsPayload, ct) with { Room = room };
    }

    private async ValueTask<Page> ListAsync(Caller caller, Tenant tenant, Scope scope, Cursor? after,
        Cursor? before, int limit, bool wantsPayload, CancellationToken ct)
    {
        for (var tries = 0; tries < MostTries; tries++)
        {
            var failovers = engine.Failovers;
            var read = await ReadPageAsync(caller, tenant, scope, after, before, limit, wantsPayload, ct);
            if (wantsPayload && read.Secrets.Count > 0)
            {
                if (!await PassAsync(caller, "list", failovers, read.Rows, read.Secrets))
                    continue;
            }
            else if (gate.TakesMetadata)
            {
                var entry = caller.Entry("list_metadata", "ok") with { Scope = scope.Word, Count = read.Secrets.Count };
                await gate.PassAsync(entry);
            }

            IReadOnlyList<Secret> page = before is not null ? [.. read.Secrets.AsEnumerable().Reverse()] : read.Secrets;
            return new Page(page, read.HasMore, read.Damaged);
        }

        throw ApiError.Contradictory(Moving);
    }

    // A damaged row is left out and reported, and those after it take its place: a page that is not full is the last.
    private async ValueTask<(List<SecretRow> Rows, List<Secret> Secrets, bool HasMore, int Damaged)> ReadPageAsync(
        Caller caller, Tenant tenant, Scope scope, Cursor? after, Cursor? before, int limit, bool wantsPayload,
        CancellationToken ct)
    {
        var (rows, secrets, damaged) = (new List<SecretRow>(), new List<Secret>(), new List<DamagedRow>());
        var newer = before is not null;
        var bound = (after ?? before)?.Id;
        for (var isEnd = false; !isEnd;)
        {
            var wanted = limit - secrets.Count + 1;
            var (counter, found) = await ReadScopeAsync(tenant, scope, bound, newer, wanted, ct);
            if (counter != tenant.Counter)
            {
                // Read by other keys than those that are stored.
                if (await tenants.RereadAsync(tenant.Id, ct) is not { } now)
                    break;
                tenant = now;
                continue;
            }

            var moved = bound;
            foreach (var row in found)
            {
                if (secrets.Count == limit)
                    return await ReportedAsync(hasMore: true);
                if (OpenOrNull(tenant, row, scope, wantsPayload, damaged) is { } secret)
                {
                    rows.Add(row);
                    secrets.Add(secret);
                }

                // The id of a damaged row may be anything: the walk goes one way only.
                var order = moved is null ? 0 : string.CompareOrdinal(row.Id, moved);
                if (moved is null || (newer && order > 0) || (!newer && order < 0))
                    moved = row.Id;
            }

            isEnd = found.Count < wanted || moved == bound;
            bound = moved;
        }

        return await ReportedAsync(hasMore: false);

        async ValueTask<(List<SecretRow>, List<Secret>, bool, int)> ReportedAsync(bool hasMore)
        {
            await gate.ReportAsync(damaged, caller.Origin.RequestId);
            return (rows, secrets, hasMore, damaged.Count);
        }
    }

    private Secret? OpenOrNull(Tenant tenant, SecretRow row, Scope scope, bool wantsPayload, List<DamagedRow> damaged)
    {
        try
        {
            return SealedSecret.Open(instance, tenant, row, scope, wantsPayload);
        }
        catch (ApiError e) when (e.Damage is not null)
        {
            damaged.Add(e.Damage);
            return null;
        }

        throw ApiError.Contradictory(Moving);
    }

    /// <summary>
    /// Creates or replaces. A replaced secret keeps its id and created, and does not count against the quota.
    /// </summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="scope">Where it stands.</param>
    /// <param name="name">What it is called.</param>
    /// <param name="payload">UTF-8; it must stay as it is until the returned task ends.</param>
    /// <param name="expiresAt">Unix seconds from which it is absent, or null.</param>
    /// <param name="ifVersion">The version it must have now, 0 for none at all; null for whatever there is.</param>
    /// <param name="claim">The idempotency key, or null.</param>
    /// <param name="ct">Ends reading, never a change that was handed in.</param>
    /// <exception cref="ApiError">
    /// The expiry is not in the future or too far in it; the version is another; the idempotency key is in use or was
    /// used otherwise.
    /// </exception>
    public async ValueTask<WriteOutcome> SetAsync(
        Caller caller, Scope scope, SecretName name, ReadOnlyMemory<byte> payload, long? expiresAt, long? ifVersion,
            IdempotencyClaim? claim, CancellationToken ct)
    {
        var id = gate.RequireScope(caller, Permissions.SecretWrite, scope.User.Span);
        UnixTime.RequireExpiry(expiresAt, time.GetUtcNow() - Ahead);
        var request = new Secret("", name, scope, id.Livemode, 0, expiresAt, 0, payload);
        return await WriteAsync(caller, id, adds: true, request, "set", ifVersion, claim,
            terms => new SecretChange.Set(terms, request, ifVersion), ct);
    }

    /// <summary>Removes a secret and gives what it was; its payload only when it is wanted.</summary>
    /// <exception cref="ApiError">
    /// The version is another than <paramref name="ifVersion"/>; the idempotency key is in use or was used otherwise.
    /// </exception>
    public async ValueTask<WriteOutcome> DeleteAsync(
        Caller caller, Scope scope, SecretName name, bool wantsPayload, long? ifVersion, IdempotencyClaim? claim,
            CancellationToken ct)
    {
        var id = gate.RequireScope(caller, wantsPayload ? Permissions.All : Permissions.SecretWrite, scope.User.Span);
        var request = new Secret("", name, scope, id.Livemode, 0, null, 0);
        // An outcome that is to be kept needs a tenant to be kept under, even if it is that nothing was there.
        return await WriteAsync(caller, id, adds: claim is not null, request,
            wantsPayload ? "delete, with payload" : "delete", ifVersion, claim,
            terms => new SecretChange.Delete(terms, request, ifVersion, wantsPayload), ct);
    }

    private async ValueTask<WriteOutcome> WriteAsync(
        Caller caller, TenantId id, bool adds, Secret request, string verb, long? ifVersion, IdempotencyClaim? claim,
            Func<SecretChange.Terms, SecretChange> change, CancellationToken ct)
    {
        gate.RequireBudget(caller, keeps: claim is not null);
        for (var tries = 0; tries < MostTries; tries++)
        {
            var found = adds
                ? await tenants.FindOrAddAsync(id, caller.App, ct) ?? throw gate.NotInstalled(caller)
                : await FindTenantAsync(caller, id, ct);
            if (found is not { } tenant)
                return new WriteOutcome(null, ApiError.NoSuchSecret(request.Name.Text));
            try
            {
                var quota = caller.App?.SecretsPerScope ?? SecretsPerScope();
                var terms = new SecretChange.Terms(instance, tenant, caller, ids, time, Ahead, quota);
                return await CommitAsync(
                    change(terms),
                    claim is null
                        ? null
                        : new Idempotency(instance, tenant, caller, claim,
                            seed => Fingerprint(seed, verb, request, ifVersion, claim)));
            }
            catch (Tenants.MovedException)
            {
                tenants.Forget(id);
                ct.ThrowIfCancellationRequested();
            }
        }

        throw ApiError.Contradictory("a tenant that was found is another one, again and again");
    }

    private async ValueTask<WriteOutcome> CommitAsync(SecretChange change, Idempotency? claim)
    {
        if (claim is null)
            return await StoreAsync(change);

        change.Claim = claim;
        var key = (claim.Row.Tenant, new Guid(claim.Row.Key));
        if (!inFlight.TryAdd(key, true))
        {
            // The other request may be a repetition too: what is kept is replayed to all of them.
            return await IsKeptAsync(change)
                ? await StoreAsync(change)
                : throw ApiError.IdempotencyKeyInUse(claim.Key);
        }

        try
        {
            return await StoreAsync(change);
        }
        finally
        {
            inFlight.TryRemove(key, out _);
        }
    }

    private async ValueTask<bool> IsKeptAsync(SecretChange change)
    {
        IEnumerable<IdempotencyKey?> places =
            [change.IdempotencyAt, .. change.OlderAt.Select(each => each.Idempotency)];
        foreach (var place in places.OfType<IdempotencyKey>())
        {
            if (await engine.FindIdempotencyAsync(place, CancellationToken.None) is not null)
                return true;
        }

        return false;
    }

    private async Task<WriteOutcome> StoreAsync(SecretChange change)
    {
        try
        {
            await committer.CommitAsync(change);
        }
        finally
        {
            // A change that is refused leaves an entry too.
            gate.Charge(change.Payer, Change.EntrySize, change.Kept);
        }

        if (change.Mark is { } mark)
            ids.Keep(mark);
        return change.Outcome!;
    }

    // All that a request says, under the tenant's key: a guess at a payload cannot be tested against the database. With
    // the idempotency key in it, not even that two requests said the same can be seen there.
    private static byte[] Fingerprint(TenantSeed seed, string verb, Secret request, long? ifVersion,
        IdempotencyClaim claim)
    {
        using var canonical = new AssociatedData("request"u8);
        canonical.Add(claim.Key);
        canonical.Add(verb);
        canonical.Add(request.Scope.Type);
        canonical.Add(request.Scope.User.Span);
        canonical.Add(request.Name.Utf8.Span);
        canonical.Add(request.Payload is { } payload ? payload.Span : default);
        canonical.Add(request.ExpiresAt);
        canonical.Add(ifVersion);
        return seed.Fingerprint(canonical.Span);
    }

    // How far this machine's clock is ahead of the database's.
    private TimeSpan Ahead => engine.ClockOffset ?? TimeSpan.Zero;

    private long Now() => engine.SecondToRead(time);
}
