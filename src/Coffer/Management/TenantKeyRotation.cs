using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// Carries out the rotations of tenant keys that were asked for, one after the other, in the background: each tenant is
/// given another key, all that is sealed under the one before is sealed again, and that is dropped in the transaction
/// that finds nothing left under it. After a compromise there is another root key first, which nobody has; each tenant
/// is given another seed as well, and all names are moved under that one; and in the end the root keys of before are no
/// more, so that no older row of its keys opens. How far it has come is in the store, so whoever runs continues it;
/// requests are served meanwhile, by whichever keys are stored.
/// </summary>
internal sealed class TenantKeyRotation : IDisposable
{
    /// <summary>
    /// How many tenants are between two keys at a time, and how many rows are sealed again at a time.
    /// </summary>
    private const int TenantsAtOnce = 20, RowsAtOnce = 256;

    /// <summary>How often the tenants of a page are looked at again before others may go first.</summary>
    private const int MostRounds = 5;

    /// <summary>How long it rests when there is nothing to do, or something cannot be done yet.</summary>
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(2);

    /// <summary>After each batch it rests as long as that took, but no longer than one may take.</summary>
    private static readonly TimeSpan LongestRest = TimeSpan.FromMilliseconds(50);

    /// <summary>How often it looks whether root keys have come so far.</summary>
    private static readonly TimeSpan PeriodOfRoots = TimeSpan.FromMilliseconds(200);

    private readonly Engine engine;
    private readonly Committer committer;
    private readonly Tenants tenants;
    private readonly Gate gate;
    private readonly TimeProvider time;
    private bool waitsForRoots;
    private (string Rotations, long Failovers, long Place) sweep = ("", 0, 0);

    public TenantKeyRotation(Engine engine, Committer committer, Tenants tenants, Gate gate, TimeProvider time,
        ILogger<TenantKeyRotation> log)
    {
        (this.engine, this.committer, this.tenants) = (engine, committer, tenants);
        (this.gate, this.time) = (gate, time);
        Loop = new Loop("tenant_keys", NextAsync, TimeProvider.System, log);
    }

    public Loop Loop { get; }

    /// <summary>The most rows that are sealed again in a second, however fast the disk is.</summary>
    public int MostRowsASecond { get; init; } = 2_000;

    /// <summary>Root keys, with which a rotation for a compromise begins and ends.</summary>
    public required RootRotation Roots { get; init; }

    /// <summary>The renewal of the store, of which a rotation of all tenants is a part; null renews nothing.</summary>
    public StoreRenewal? Renewal { get; init; }

    public void Start() => Loop.Start();

    /// <summary>That a rotation was asked for.</summary>
    public void Wake() => Loop.Wake();

    /// <summary>The nodes that do not read what a rotation writes; it waits for them to be gone.</summary>
    public async Task<IReadOnlyList<string>> WaitingForAsync(CancellationToken ct) =>
        [.. (await engine.ListNodesAsync(ct)).Where(node => !node.ReadsFormatTwo).Select(node => node.Name)];

    /// <summary>Takes the next step, if there is one now and it is for this node to take.</summary>
    /// <returns>Whether it took one.</returns>
    /// <exception cref="ApiError">The storage cannot be used.</exception>
    public async Task<bool> StepAsync(CancellationToken ct)
    {
        waitsForRoots = false;
        if (Renewal is not null && await Renewal.StepAsync(ct) is { } hasStepped)
        {
            waitsForRoots = !hasStepped;
            return hasStepped;
        }

        var stored = await engine.FindMetaAsync(TenantRotations.MetaKey, ct);
        if (stored is null || TenantRotations.Read(tenants.Instance, stored) is not { Current: { } rotation } rotations
            || !await engine.LeadsAsync(ct) || (await WaitingForAsync(ct)).Count > 0)
            return false;
        if (rotation.IsBeforeLastRoot && await SweepAsync(rotations, ct) is { } hasSwept)
            return hasSwept;
        waitsForRoots = rotation.IsCompromised && !await ReplaceRootsAsync(rotations, rotation, ct);
        if (waitsForRoots
            || (rotation.FirstSigningKey is { } key && !await Roots.RenewSigningKeyAsync(key)))
            return false;
        if (rotation.Place >= rotation.UpTo)
        {
            // A root key that somebody else has made took over what it found: there is to be another.
            if (rotation.IsCompromised && !Roots.HasEnded(rotation.Id))
                return await SaveAsync(rotation, rotation with { LastRoot = null });
            // What was dropped is not to be left in the files, as far as the engine rules them.
            return await engine.EraseAsync(ct) && await SaveAsync(rotation,
                rotation with { Ended = time.GetUtcNow().ToUnixTimeSeconds() },
                new AuditEntry("rotate_tenant_keys", "finished")
                {
                    App = rotation.App,
                    Account = rotation.Account,
                    Target = rotation.Id,
                    Count = rotation.Done,
                });
        }

        var read = rotation.App is { } app
            ? await engine.ListAsync(TenantRow.OfAppAfter, ct,
                app, rotation.Place, rotation.Account, TenantRotation.ModeOf(rotation.Livemode), TenantsAtOnce)
            : await engine.ListAsync(TenantRow.AllFrom, ct, rotation.Place + 1, TenantsAtOnce);
        List<OwnedTenantRow> page = [.. read.Where(owned => owned.Id <= rotation.UpTo)];
        if (await RotateAsync(rotation, page, ct) is not { } turn)
            return false;
        return await SaveAsync(rotation, rotation with
        {
            Place = page.Count < TenantsAtOnce ? rotation.UpTo : page[^1].Id,
            Done = rotation.Done + page.Count,
            Rows = rotation.Rows + turn.Rows,
            Damaged = rotation.Damaged + turn.Damaged.Count,
        });
    }

    public void Dispose() => Loop.Dispose();

    private async Task<TimeSpan> NextAsync(CancellationToken ct)
    {
        if (await StepAsync(ct))
            return TimeSpan.Zero;
        return waitsForRoots ? PeriodOfRoots : Period;
    }

    // A tenant may have come since with keys of before, or been given a number that they have passed or are not to
    // reach. So all tenants are gone through again, for those that share the next root key, before there is one; that
    // does not take over what evades this as well. Where it is stands in memory only: whoever begins again finds what
    // is done. Null at its end, else whether it got on.
    private async Task<bool?> SweepAsync(TenantRotations rotations, CancellationToken ct)
    {
        List<TenantRotation> all = [.. rotations.All.Where(rotation => rotation.IsBeforeLastRoot)];
        var ids = string.Join(' ', all.Select(rotation => rotation.Id));
        if ((sweep.Rotations, sweep.Failovers) != (ids, engine.Failovers))
            sweep = (ids, engine.Failovers, long.MinValue);
        var page = await engine.ListAsync(TenantRow.AllFrom, ct, sweep.Place, RowsAtOnce);
        // What the last of them has renewed is renewed for those before it too.
        var missed = (await OpenAsync(page, new Turn(), ct))
            .Select(tenant => (tenant.Number,
                Of: all.FindLast(each => each.Chosen.Has(tenant.Id) && !IsDone(tenant, each))))
            .Where(each => each.Of is not null).ToLookup(each => each.Of!, each => each.Number);
        if (missed.FirstOrDefault() is { Key: var rotation } numbers)
        {
            List<OwnedTenantRow> some = [.. page.Where(owned => numbers.Contains(owned.Id)).Take(TenantsAtOnce)];
            return await RotateAsync(rotation, some, ct) is { } turn && await SaveAsync(rotation, rotation with
            {
                Rows = rotation.Rows + turn.Rows,
                Damaged = rotation.Damaged + turn.Damaged.Count,
            });
        }

        if (page.Count == RowsAtOnce && page[^1].Id < long.MaxValue)
        {
            sweep.Place = page[^1].Id + 1;
            return true;
        }

        return null;
    }

    // False until the root keys of before are no more.
    private async Task<bool> ReplaceRootsAsync(
        TenantRotations rotations, TenantRotation rotation, CancellationToken ct)
    {
        if (rotation.Root is { } version)
        {
            return await Roots.ReplaceAsync(version, made => rotations.All
                .Where(each => each.LastRoot == version)
                .Select(each => new Compromise(made, (uint)each.FirstRoot!.Value, each.Id, each.Chosen)), ct);
        }

        var (root, hasSwept) = (Roots.NextVersion, rotation.IsBeforeLastRoot);
        // Another server may lack what the last look has found.
        await SaveAsync(stored => stored.All.Contains(rotation) && (!hasSwept || sweep.Failovers == engine.Failovers)
            ? stored.With(rotation, root)
            : null);
        // What comes later is not looked at by this one.
        sweep = ("", 0, 0);
        return false;
    }

    // Null if some tenant is not done: it is continued with the next step.
    private async Task<Turn?> RotateAsync(
        TenantRotation rotation, IReadOnlyList<OwnedTenantRow> page, CancellationToken ct)
    {
        var (turn, left, halfway) = (new Turn(), page, new HashSet<long>());
        for (var rounds = 0; rounds < MostRounds && left.Count > 0; rounds++)
        {
            turn.Damaged.Clear();
            // Those whose keys have one more already were begun before a crash.
            List<Tenant> beginning = [.. (await OpenAsync(left, turn, ct)).Where(tenant =>
                tenant.Keys.Count == 1 && !HasNewSeed(tenant, rotation) && !IsEnded(tenant))];
            List<TenantResealing.Beginning> beginnings = [.. beginning.Select(
                tenant => new TenantResealing.Beginning(tenants, tenant, Retired(rotation)))];
            await CommitAsync(beginnings, turn, ct);
            var opened = await OpenAsync(left, turn, ct);
            var between = opened.Where(tenant => tenant.Keys.Count > 1).ToList();
            halfway.UnionWith(beginning.Where((_, i) => beginnings[i].HasChanged).Concat(between)
                .Select(tenant => tenant.Number));
            foreach (var kind in SealedKind.All.Where(kind => kind.Under == SealedKind.Key.Tenant))
                await ResealAsync(kind, between, turn, ct);
            List<TenantResealing.Ending> endings =
                [.. between.Select(tenant => new TenantResealing.Ending(tenants, tenant, turn.DamagedOf(tenant)))];
            await CommitAsync(endings, turn, ct);
            // One that was between two keys before a compromise, the sweep finds again.
            var done = between.Where((_, i) => endings[i].HasChanged)
                .Concat(opened.Where(tenant => IsDone(tenant, rotation) || IsEnded(tenant)))
                .Select(tenant => tenant.Number).ToHashSet();
            left = [.. left.Where(owned => !done.Contains(owned.Id)
                && opened.Exists(tenant => tenant.Number == owned.Id))];
        }

        await gate.ReportAsync([.. turn.Damaged.Select(each => each.Row)], "");
        return left.Count == 0 ? turn : null;

        // By whoever leads by now: begun once more, nobody might end it.
        bool IsEnded(Tenant tenant) =>
            !rotation.IsCompromised && tenant.Keys.Count == 1 && halfway.Contains(tenant.Number);
    }

    private long? Retired(TenantRotation rotation) =>
        rotation.IsCompromised ? time.GetUtcNow().ToUnixTimeSeconds() : null;

    // Whether it has one of since the rotation began: it has given it that, or the tenant came later.
    private static bool HasNewSeed(Tenant tenant, TenantRotation rotation) =>
        rotation is { IsCompromised: true, FirstRoot: { } first } && tenant.Keys.HasSeedSince(first);

    private static bool IsDone(Tenant tenant, TenantRotation rotation) =>
        tenant.Keys.Count == 1 && HasNewSeed(tenant, rotation);

    // Of all these tenants, so that those with little share a commit.
    private async Task ResealAsync(
        SealedKind kind, IReadOnlyList<Tenant> between, Turn turn, CancellationToken ct)
    {
        var changes = new List<TenantResealing>();
        foreach (var tenant in between)
        {
            await foreach (var change in ListAsync(kind, tenant, ct))
            {
                changes.Add(change);
                if (changes.Count < RowsAtOnce)
                    continue;
                await CommitAsync(changes, turn, ct);
                changes.Clear();
            }
        }

        await CommitAsync(changes, turn, ct);
    }

    private IAsyncEnumerable<TenantResealing> ListAsync(SealedKind kind, Tenant tenant, CancellationToken ct) =>
        kind switch
        {
            _ when kind == SealedKind.Secret => ListAsync(SecretRow.NotUnder, tenant, key => key.Name,
                key => OfSecretAsync(tenant, key, ct), ct),
            _ when kind == SealedKind.Outcome => ListAsync(IdempotencyRow.NotUnder, tenant, key => key.Key,
                key => new(new TenantResealing.OfOutcome(tenants, tenant, key)), ct),
            _ when kind == SealedKind.Reply => ListAsync(ReplyRow.NotUnder, tenant, key => key,
                key => new(new TenantResealing.OfReply(tenants, tenant, key)), ct),
            _ when kind == SealedKind.Event => ListAsync(EventRow.NotUnder, tenant, row => row.Number,
                row => new(new TenantResealing.OfEvent(tenants, tenant, row)), ct, first: -1L),
            _ => throw new InvalidOperationException($"nothing seals a {kind.Name} again when a tenant's keys rotate"),
        };

    // Where it goes is known once it is opened, and what stands there is read with it when it is moved.
    private async ValueTask<TenantResealing> OfSecretAsync(Tenant tenant, SecretKey key, CancellationToken ct)
    {
        if (tenant.Keys.HasOldNames && (await engine.LookUpSecretAsync(key, ct))?.Row is { } row
            && SealedSecret.Reseal(tenants.Instance, tenant, row) is { Key: var to }
            && !to.Name.AsSpan().SequenceEqual(key.Name))
            return new TenantResealing.OfMovedSecret(tenants, tenant, key, to);
        return new TenantResealing.OfSecret(tenants, tenant, key);
    }

    private async IAsyncEnumerable<TenantResealing> ListAsync<TKey>(
        Query<TKey> query, Tenant tenant, Func<TKey, SqlValue> place, Func<TKey, ValueTask<TenantResealing>> change,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken ct, SqlValue? first = null)
    {
        var (after, newest) = (first ?? Array.Empty<byte>(), tenant.Keys.NewestVersion);
        while (await engine.ListAsync(query, ct, tenant.Number, after, newest, RowsAtOnce) is { Count: > 0 } keys)
        {
            foreach (var key in keys)
                yield return await change(key);
            after = place(keys[^1]);
        }
    }

    private async Task CommitAsync(IReadOnlyList<TenantResealing> changes, Turn turn, CancellationToken ct)
    {
        if (changes.Count == 0)
            return;
        var began = time.GetTimestamp();
        await Task.WhenAll(changes.Select(committer.CommitAsync));
        turn.Take(changes);
        var took = time.GetElapsedTime(began);
        var rest = TimeSpan.FromSeconds((double)changes.Count / MostRowsASecond) - took;
        var least = took < LongestRest ? took : LongestRest;
        await Task.Delay(rest > least ? rest : least, time, ct);
    }

    // As they are stored now. One that is gone is done; one whose keys do not open is named, and left.
    private async Task<List<Tenant>> OpenAsync(
        IReadOnlyList<OwnedTenantRow> rows, Turn turn, CancellationToken ct)
    {
        var opened = new List<Tenant>();
        foreach (var owned in rows)
        {
            try
            {
                if (await tenants.RereadAsync(owned.Tenant, ct) is { } tenant && tenant.Number == owned.Id)
                    opened.Add(tenant);
            }
            catch (ApiError e) when (e.Damage is not null)
            {
                turn.Add(owned.Id, e.Damage);
            }
        }

        return opened;
    }

    // Only from where it stands: another node may have been quicker.
    private Task<bool> SaveAsync(TenantRotation before, TenantRotation after, params Note[] notes) =>
        SaveAsync(stored => stored.All.Contains(before) ? stored.Replacing(after) : null, notes);

    private async Task<bool> SaveAsync(Func<TenantRotations, TenantRotations?> next, params Note[] notes)
    {
        var change = new TenantRotationsChange(tenants.Instance, next, notes);
        await committer.CommitAsync(change);
        return change.HasChanged;
    }

    /// <summary>What became of a page of tenants.</summary>
    private sealed class Turn
    {
        public long Rows { get; private set; }

        public List<(long Tenant, DamagedRow Row)> Damaged { get; } = [];

        public void Take(IReadOnlyList<TenantResealing> changes)
        {
            Rows += changes.Count(change => change.HasChanged
                && change is not (TenantResealing.Beginning or TenantResealing.Ending));
            foreach (var change in changes.Where(change => change.Damaged is not null))
                Damaged.Add((change.TenantAt!.Value, change.Damaged!));
        }

        public void Add(long tenant, DamagedRow row)
        {
            if (!Damaged.Exists(each => each.Tenant == tenant && each.Row == row))
                Damaged.Add((tenant, row));
        }

        public long DamagedOf(Tenant tenant) => Damaged.Count(each => each.Tenant == tenant.Number);
    }
}
