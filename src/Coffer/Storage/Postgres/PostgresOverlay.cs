
namespace Coffer.Storage.Postgres;

/// <summary>
/// What a transaction knows of the store: the rows that it read, and over them what its changes decided since, so that
/// a later change sees what an earlier one wrote before any of it is sent. What cannot be known is forgotten, and then
/// read.
/// </summary>
internal sealed class PostgresOverlay
{
    // The counter of each tenant's keys, or null of one that is not there.
    private readonly Dictionary<long, long?> tenants = [];
    private readonly Dictionary<long, long> notUnder = [];
    private readonly Dictionary<Slot, SecretRow?> secrets = [];
    private readonly Dictionary<Slot, SecretRow?> secretsToWrite = [];

    // Which secrets are in the table, of those that were read or written.
    private readonly Dictionary<Slot, bool> storedSecrets = [];
    private readonly Dictionary<Slot, IdempotencyRow?> idempotency = [];
    private readonly List<(IdempotencyRow Row, bool IsNew)?> idempotencyToWrite = [];
    private readonly Dictionary<Slot, int> idempotencySlots = [];
    private readonly Dictionary<Slot, ReplyRow?> replies = [];
    private readonly Dictionary<Change, Management> management = new(ReferenceEqualityComparer.Instance);

    // Of each scope, how many secrets there are for each expiry; long.MaxValue is never.
    private readonly Dictionary<Slot, Dictionary<long, int>> expiries = [];
    private Sources written;

    /// <summary>The transaction's number, once it is given out.</summary>
    public long? Number { get; set; }

    /// <summary>How far this machine's clock is ahead of the database's.</summary>
    public TimeSpan Ahead { get; set; }

    /// <summary>What of the management plane was read for a change.</summary>
    public sealed class Management
    {
        public AppRow? App { get; set; }

        public bool AppHasTenants { get; set; }

        public ApiKeyRow? ApiKey { get; set; }

        public long OtherOwnerKeys { get; set; }

        public List<CountedTenantRow> Tenants { get; } = [];

        public long OldestAudit { get; set; }

        public byte[]? Meta { get; set; }

        public EndpointRow? Endpoint { get; set; }

        public GenerationRow? Generation { get; set; }

        public long Last { get; set; }

        public UninstallRow? Uninstalled { get; set; }
    }

    /// <summary>Whether all is known that a change asks for.</summary>
    public bool Knows(Change change) =>
        (change.TenantAt is not { } tenant
            || (tenants.ContainsKey(tenant) && (change.CountsNotUnder is null || notUnder.ContainsKey(tenant))))
        && (change.SecretAt is not { } secret || secrets.ContainsKey(Slot.Of(secret)))
        && (change.IdempotencyAt is not { } key || idempotency.ContainsKey(Slot.Of(key)))
        && (change.ScopeAt is not { } scope || !MayAdd(change) || expiries.ContainsKey(Slot.Of(scope)))
        && change.OlderAt.All(older => Knows(change, older))
        && (change.ManagementAt is not { } at || Knows(change, at));

    private bool Knows(Change change, Change.OlderPlace older) =>
        (older.Secret is not { } secret || secrets.ContainsKey(Slot.Of(secret)))
        && (older.Idempotency is not { } key || idempotency.ContainsKey(Slot.Of(key)))
        && (older.Scope is not { } scope || !MayAdd(change) || expiries.ContainsKey(Slot.Of(scope)));

    private bool Knows(Change change, Change.ManagementKey at)
    {
        var sources = SourcesOf(at);
        return (sources == Sources.None || (management.ContainsKey(change) && (sources & written) == Sources.None))
            && (at.Reply is null || replies.ContainsKey(Slot.Of(at.Reply)))
            && (!at.NeedsNumber || Number is not null);
    }

    /// <summary>What a change decides by; <see cref="Knows"/> must hold.</summary>
    public Change.Found FindFor(Change change) => new(
        change.TenantAt is { } tenant ? tenants[tenant] : null,
        change.SecretAt is { } secret ? secrets[Slot.Of(secret)] : null,
        change.IdempotencyAt is { } key ? idempotency[Slot.Of(key)] : null,
        now => change.ScopeAt is { } scope
            ? CountLive(scope, now) + change.OlderAt.Sum(older => older.Scope is { } at ? CountLive(at, now) : 0)
            : throw new InvalidOperationException("a change counts in the scope that it names in ScopeAt"),
        change.ManagementAt is not { } at ? null
            : FindFor(management.GetValueOrDefault(change) ?? new Management(), at))
    {
        Ahead = Ahead,
        NotUnder = change is { TenantAt: { } of, CountsNotUnder: not null } ? notUnder[of] : 0,
        Older = change.OlderAt.Count == 0 ? [] : [.. change.OlderAt.Select(FindFor)],
    };

    private Change.OlderRows FindFor(Change.OlderPlace at) => new(
        at.Secret is { } secret ? secrets[Slot.Of(secret)] : null,
        at.Idempotency is { } key ? idempotency[Slot.Of(key)] : null);

    private int CountLive(ScopeKey scope, long now) =>
        expiries[Slot.Of(scope)].Sum(second => second.Key > now ? second.Value : 0);

    /// <summary>Forgets all, and takes as absent what is about to be read, until a row says otherwise.</summary>
    public void Expect(
        IEnumerable<long> askedTenants, IEnumerable<SecretKey> askedSecrets, IEnumerable<IdempotencyKey> askedKeys,
        IEnumerable<byte[]> askedReplies)
    {
        ForgetTenants();
        replies.Clear();
        management.Clear();
        written = Sources.None;
        foreach (var tenant in askedTenants)
            tenants[tenant] = null;
        foreach (var key in askedSecrets)
            (secrets[Slot.Of(key)], storedSecrets[Slot.Of(key)]) = (null, false);
        foreach (var key in askedKeys)
            idempotency[Slot.Of(key)] = null;
        foreach (var reply in askedReplies)
            replies[Slot.Of(reply)] = null;
    }

    public void Read((long Tenant, long Counter) row) => tenants[row.Tenant] = row.Counter;

    /// <summary>How many rows of a tenant are not under the key that seals.</summary>
    public void ReadNotUnder(long tenant, long count) => notUnder[tenant] = count;

    public void Read(SecretRow row)
    {
        secrets[Slot.Of(row.Key)] = row;
        storedSecrets[Slot.Of(row.Key)] = true;
    }

    public void Read(IdempotencyRow row) => idempotency[Slot.Of(row.Key)] = row;

    public void Read(ReplyRow row) => replies[Slot.Of(row.Key)] = row;

    /// <summary>That a scope holds so many secrets that expire at a Unix second, or never.</summary>
    public void Read(ScopeKey scope, long? expiresAt, long count)
    {
        if (!expiries.TryGetValue(Slot.Of(scope), out var seconds))
            expiries.Add(Slot.Of(scope), seconds = []);
        seconds[expiresAt ?? long.MaxValue] = (int)count;
    }

    /// <summary>That a scope of a change was read, if the change may add to it.</summary>
    public void ReadScope(Change change, ScopeKey scope)
    {
        if (MayAdd(change))
            expiries.TryAdd(Slot.Of(scope), []);
    }

    public Management ReadFor(Change change)
    {
        if (!management.TryGetValue(change, out var rows))
            management.Add(change, rows = new Management());
        return rows;
    }

    public void Put(SecretRow row)
    {
        var slot = Slot.Of(row.Key);
        written |= Sources.Secrets;
        if (secrets.TryGetValue(slot, out var last))
        {
            Count(last, -1);
            Count(row, 1);
            secrets[slot] = row;
        }
        else
        {
            expiries.Clear(); // what it replaces, if anything, is not known
        }

        secretsToWrite[slot] = row;
    }

    public void Delete(SecretKey key)
    {
        var slot = Slot.Of(key);
        written |= Sources.Secrets;
        if (secrets.TryGetValue(slot, out var last))
            Count(last, -1);
        else
            expiries.Clear();
        secrets[slot] = null;
        secretsToWrite[slot] = null;
    }

    public void Put(IdempotencyRow row)
    {
        // Each row is written once, where it was last put: the order of the rows is that of time.
        var slot = Slot.Of(row.Key);
        var isNew = idempotency.TryGetValue(slot, out var known) && known is null;
        if (idempotencySlots.TryGetValue(slot, out var earlier))
        {
            isNew = idempotencyToWrite[earlier]!.Value.IsNew;
            idempotencyToWrite[earlier] = null;
        }

        idempotencySlots[slot] = idempotencyToWrite.Count;
        idempotencyToWrite.Add((row, isNew));
        idempotency[slot] = row;
    }

    /// <summary>That something was written that is not kept here: what it may have changed is forgotten.</summary>
    public void Wrote(RowWrite write)
    {
        written |= write.Writes;
        switch (write)
        {
            case RowWrite.PutReply { Row: var row }:
                replies[Slot.Of(row.Key)] = row;
                break;
            // What is not as it was before is left as it is, in the table and here.
            case RowWrite.ResealReply { Before: var before, After: var after }:
                if (replies.GetValueOrDefault(Slot.Of(before.Key)) is { } reply
                    && reply.Sealed.AsSpan().SequenceEqual(before.Sealed))
                    replies[Slot.Of(before.Key)] = reply with { Sealed = after };
                break;
            case RowWrite.ResealIdempotency { Before: var before, After: var after }:
                if (idempotency.GetValueOrDefault(Slot.Of(before.Key)) is { } outcome
                    && outcome.Sealed.AsSpan().SequenceEqual(before.Sealed))
                    idempotency[Slot.Of(before.Key)] = outcome with { Sealed = after };
                break;
            case RowWrite.PutTenantKeys { Number: var number, Counter: var counter }:
                tenants[number] = counter;
                notUnder.Remove(number);
                break;
            case RowWrite.DeleteReplies or RowWrite.PruneReplies:
                replies.Clear();
                break;
            case RowWrite.PruneIdempotency:
                idempotency.Clear();
                break;
            case RowWrite.AddTenant:
                ForgetAbsentTenants();
                break;
            case RowWrite.ShredTenant:
                ForgetTenants();
                replies.Clear();
                break;
        }
    }

    // A tenant was added, maybe: the absent may be there now.
    private void ForgetAbsentTenants()
    {
        foreach (var (tenant, counter) in tenants)
        {
            if (counter is null)
                tenants.Remove(tenant);
        }
    }

    // Rows were removed by what is not known here.
    private void ForgetTenants()
    {
        tenants.Clear();
        notUnder.Clear();
        secrets.Clear();
        storedSecrets.Clear();
        idempotency.Clear();
        expiries.Clear();
    }

    /// <summary>
    /// The last state of each secret that was put or deleted since the last time, in the order of keys; and how many of
    /// the deleted are in the table, if that is known.
    /// </summary>
    public (IReadOnlyList<SecretRow> Put, IReadOnlyList<SecretKey> Deleted, int? Stored) TakeSecrets()
    {
        List<SecretRow> put = [];
        List<SecretKey> deleted = [];
        int? stored = 0;
        foreach (var (slot, row) in secretsToWrite.OrderBy(entry => entry.Key, Comparer<Slot>.Create(Slot.Compare)))
        {
            if (row is null)
            {
                deleted.Add(new SecretKey(slot.Tenant, slot.Index));
                stored = storedSecrets.TryGetValue(slot, out var isThere) ? stored + (isThere ? 1 : 0) : null;
            }
            else
            {
                put.Add(row);
            }

            storedSecrets[slot] = row is not null;
        }

        secretsToWrite.Clear();
        return (put, deleted, stored);
    }

    /// <summary>
    /// The last state of each idempotency record that was put since the last time, in the order in which they were, as
    /// runs of those that are not in the table and of those that may be.
    /// </summary>
    public IReadOnlyList<(bool AreNew, List<IdempotencyRow> Rows)> TakeIdempotency()
    {
        var runs = new List<(bool AreNew, List<IdempotencyRow> Rows)>();
        foreach (var (row, isNew) in idempotencyToWrite.OfType<(IdempotencyRow, bool)>())
        {
            if (runs.Count == 0 || runs[^1].AreNew != isNew)
                runs.Add((isNew, []));
            runs[^1].Rows.Add(row);
        }

        idempotencyToWrite.Clear();
        idempotencySlots.Clear();
        return runs;
    }

    private Change.ManagementFound FindFor(Management rows, Change.ManagementKey at)
    {
        var reply = at.Reply is { } key ? replies[Slot.Of(key)] : null;
        if (at.Mint is not null)
        {
            return new(null, false, null, 0, [], reply)
            {
                Mint = new(rows.ApiKey, rows.App, rows.Generation, rows.Last),
                Uninstalled = rows.Uninstalled,
            };
        }

        return new(rows.App, rows.AppHasTenants, rows.ApiKey, rows.OtherOwnerKeys, rows.Tenants, reply)
        {
            OldestAudit = rows.OldestAudit,
            Meta = rows.Meta,
            Endpoint = rows.Endpoint,
            Number = at.NeedsNumber ? Number!.Value : 0,
            Uninstalled = rows.Uninstalled,
        };
    }

    /// <summary>What the answer to a change depends on, its reply aside.</summary>
    public static Sources SourcesOf(Change.ManagementKey at) =>
        (at.App is null ? Sources.None : Sources.Apps | Sources.Tenants)
        | (at.ApiKey is null ? Sources.None : Sources.ApiKeys | Sources.Apps)
        | (at is { App: not null, Account: not null } ? Sources.Tenants | Sources.Secrets : Sources.None)
        | (at.AsksOldestAudit ? Sources.Audit : Sources.None)
        | (at.Meta is null ? Sources.None : Sources.Meta)
        | (at.Closed is null ? Sources.None : Sources.Uninstalls)
        | (at.Endpoint is null ? Sources.None : Sources.Endpoints)
        | (at.Mint is not null ? Sources.ApiKeys | Sources.Apps | Sources.Generations : Sources.None);

    private bool MayAdd(Change change) =>
        Change.Found.MayAdd(change.SecretAt is { } key ? secrets.GetValueOrDefault(Slot.Of(key)) : null);

    private void Count(SecretRow? row, int by)
    {
        if (row is null || !expiries.TryGetValue(new Slot(row.Key.Tenant, row.Scope), out var seconds))
            return;
        var second = row.ExpiresAt ?? long.MaxValue;
        seconds[second] = seconds.GetValueOrDefault(second) + by;
    }

    /// <summary>A tenant and a blind index, compared by their bytes.</summary>
    private readonly struct Slot(long tenant, byte[] index) : IEquatable<Slot>
    {
        public long Tenant => tenant;

        public byte[] Index => index;

        public static Slot Of(SecretKey key) => new(key.Tenant, key.Name);

        public static Slot Of(IdempotencyKey key) => new(key.Tenant, key.Key);

        public static Slot Of(ScopeKey key) => new(key.Tenant, key.Scope);

        public static Slot Of(byte[] reply) => new(0, reply);

        public bool Equals(Slot other) => tenant == other.Tenant && index.AsSpan().SequenceEqual(other.Index);

        public override bool Equals(object? obj) => obj is Slot other && Equals(other);

        public override int GetHashCode()
        {
            var hash = new HashCode();
            hash.Add(tenant);
            hash.AddBytes(index);
            return hash.ToHashCode();
        }

        public static int Compare(Slot one, Slot other) =>
            one.Tenant != other.Tenant
                ? one.Tenant.CompareTo(other.Tenant)
                : one.Index.AsSpan().SequenceCompareTo(other.Index);
    }
}
