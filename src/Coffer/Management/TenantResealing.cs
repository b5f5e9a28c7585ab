using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// The changes of which the rotation of a tenant's keys consists. Each is decided by what is stored, under the lock of
/// the tenant's row: one that used other keys than those does nothing.
/// </summary>
internal abstract class TenantResealing(Tenants tenants, Tenant tenant) : Change
{
    public override Lane Lane => Lane.Background;

    public override long? TenantAt => tenant.Number;

    /// <summary>Whether it found what it had to do, and did it.</summary>
    public bool HasChanged { get; private set; }

    /// <summary>The row that did not open, or null.</summary>
    public DamagedRow? Damaged { get; private set; }

    protected Tenant Of => tenant;

    public sealed override IReadOnlyList<RowWrite> Decide(Found found)
    {
        (HasChanged, Damaged) = (false, null);
        var rows = found.Counter == tenant.Counter ? Next(found) : [];
        HasChanged = rows.Count > 0;
        return rows;
    }

    /// <summary>The rows that are written, if any.</summary>
    protected abstract IReadOnlyList<RowWrite> Next(Found found);

    protected IReadOnlyList<RowWrite> Left(DamagedRow row)
    {
        Damaged = row with { App = tenant.Id.App, Account = tenant.Id.Account };
        return [];
    }

    /// <summary>Adds a key, which seals from then on; after a compromise with a seed of its own.</summary>
    /// <param name="tenants">All of them.</param>
    /// <param name="tenant">Whose keys these are.</param>
    /// <param name="retired">Since when the seed that it has is retired, in Unix seconds; null keeps it.</param>
    public sealed class Beginning(Tenants tenants, Tenant tenant, long? retired) : TenantResealing(tenants, tenant)
    {
        protected override IReadOnlyList<RowWrite> Next(Found found) =>
            [Keys(retired is { } since ? Of.Keys.WithNewSeed(since, Sealing) : Of.Keys.WithNewKey())];

        private uint Sealing => Own.Instance.FactsInForce.Sealing;

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) =>
            Note("sealing", null, retired is null ? null : "compromised");
    }

    /// <summary>Drops the keys that do not seal any more, once nothing is under them but what is damaged.</summary>
    public sealed class Ending(Tenants tenants, Tenant tenant, long damaged) : TenantResealing(tenants, tenant)
    {
        private readonly byte[] newest = tenant.Keys.NewestVersion;

        public override byte[] CountsNotUnder => newest;

        protected override IReadOnlyList<RowWrite> Next(Found found) =>
            found.NotUnder <= damaged ? [Keys(Of.Keys.WithNewestOnly(hasOldNames: damaged > 0))] : [];

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) =>
            Note("done", damaged > 0 ? damaged : null);
    }

    /// <summary>Seals a secret again, where it stands.</summary>
    public sealed class OfSecret(Tenants tenants, Tenant tenant, SecretKey key) : TenantResealing(tenants, tenant)
    {
        public override SecretKey? SecretAt => key;

        protected override IReadOnlyList<RowWrite> Next(Found found)
        {
            if (found.Secret is not { } row || (row.IsSound && Of.Keys.IsUnderNewest(row.Sealed)))
                return [];
            return SealedSecret.Reseal(Own.Instance, Of, row) switch
            {
                null => Left(SealedSecret.Damaged(Of.Id, row).Damage!),
                // It did not open when it was looked up: the next look finds where it goes.
                { Key.Name: var name } when !name.AsSpan().SequenceEqual(key.Name) => [],
                var again => [new RowWrite.PutSecret(again)],
            };
        }
    }

    /// <summary>Seals a secret again, and moves it from where it stands under a retired seed.</summary>
    /// <param name="tenants">All of them.</param>
    /// <param name="tenant">Whose secret it is.</param>
    /// <param name="from">Where it stands.</param>
    /// <param name="to">Where it is to stand.</param>
    public sealed class OfMovedSecret(Tenants tenants, Tenant tenant, SecretKey from, SecretKey to)
        : TenantResealing(tenants, tenant)
    {
        public override SecretKey? SecretAt => to;

        public override IReadOnlyList<OlderPlace> OlderAt { get; } = [new(from, null, null)];

        protected override IReadOnlyList<RowWrite> Next(Found found)
        {
            if (found.Older[0].Secret is not { } row || (row.IsSound && Of.Keys.IsUnderNewest(row.Sealed)))
                return [];
            // Who stored it since has removed the old row: one that is there beside it was put back.
            if (found.Secret is not null)
                return [new RowWrite.DeleteSecret(from)];
            return SealedSecret.Reseal(Own.Instance, Of, row) is { } again
                ? [new RowWrite.DeleteSecret(from), new RowWrite.PutSecret(again)]
                : Left(SealedSecret.Damaged(Of.Id, row).Damage!);
        }
    }

    /// <summary>Seals a kept outcome again.</summary>
    public sealed class OfOutcome(Tenants tenants, Tenant tenant, IdempotencyKey key) : TenantResealing(tenants, tenant)
    {
        public override IdempotencyKey? IdempotencyAt => key;

        protected override IReadOnlyList<RowWrite> Next(Found found)
        {
            if (found.Idempotency is not { } row || (row.IsSound && Of.Keys.IsUnderNewest(row.Sealed)))
                return [];
            return Idempotency.Reseal(Own.Instance, Of, row) is { } again
                ? [new RowWrite.ResealIdempotency(row, again)]
                : Left(new DamagedRow("idempotency",
                    $"tenant {key.Tenant}, key {Convert.ToHexStringLower(key.Key)}", "its proof"));
        }
    }

    /// <summary>Seals again what is kept of a mint.</summary>
    public sealed class OfReply(Tenants tenants, Tenant tenant, byte[] key) : TenantResealing(tenants, tenant)
    {
        public override ManagementKey ManagementAt { get; } = new() { Reply = key };

        protected override IReadOnlyList<RowWrite> Next(Found found)
        {
            if (found.Management!.Reply is not { } row || row.Tenant != Of.Number
                || (row.IsSound && Of.Keys.IsUnderNewest(row.Sealed)))
                return [];
            return ManagementWriter.Reseal(Own.Instance, Of, row) is { } again
                ? [new RowWrite.ResealReply(row, again)]
                : Left(new DamagedRow("replies", $"key {Convert.ToHexStringLower(key)}", "its proof"));
        }
    }

    /// <summary>Seals an event again, which nothing changes but this.</summary>
    public sealed class OfEvent(Tenants tenants, Tenant tenant, EventRow row) : TenantResealing(tenants, tenant)
    {
        protected override IReadOnlyList<RowWrite> Next(Found found) =>
            Event.Reseal(Own.Instance, Of, row) is { } again
                ? [new RowWrite.ResealEvent(row, again)]
                : Left(Event.Damage(row));
    }

    private Tenants Own => tenants;

    private RowWrite.PutTenantKeys Keys(SecretBytes stored)
    {
        var row = tenants.Next(tenant, stored);
        next = row.Counter;
        return row;
    }

    private long next;

    private IReadOnlyList<Note> Note(string outcome, long? count, string? reason = null) => HasChanged
        ?
        [
            new AuditEntry("rotate_tenant_keys", outcome)
            {
                Tenant = tenant.Id,
                Version = next,
                Count = count,
                Reason = reason,
            },
        ]
        : [];
}
