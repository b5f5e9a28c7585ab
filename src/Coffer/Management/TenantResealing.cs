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
        var row = found.Counter == tenant.Counter ? Next(found) : null;
        HasChanged = row is not null;
        return row is null ? [] : [row];
    }

    /// <summary>The row that is written, or null.</summary>
    protected abstract RowWrite? Next(Found found);

    protected RowWrite? Left(DamagedRow row)
    {
        Damaged = row with { App = tenant.Id.App, Account = tenant.Id.Account };
        return null;
    }

    /// <summary>Adds a key, which seals from then on.</summary>
    public sealed class Beginning(Tenants tenants, Tenant tenant) : TenantResealing(tenants, tenant)
    {
        protected override RowWrite Next(Found found) => Keys(Of.Keys.WithNewKey());

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => Note("sealing", null);
    }

    /// <summary>Drops the keys that do not seal any more, once nothing is under them but what is damaged.</summary>
    public sealed class Ending(Tenants tenants, Tenant tenant, long damaged) : TenantResealing(tenants, tenant)
    {
        private readonly byte[] newest = tenant.Keys.NewestVersion;

        public override byte[] CountsNotUnder => newest;

        protected override RowWrite? Next(Found found) =>
            found.NotUnder <= damaged ? Keys(Of.Keys.WithNewestOnly()) : null;

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) =>
            Note("done", damaged > 0 ? damaged : null);
    }

    /// <summary>Seals a secret again.</summary>
    public sealed class OfSecret(Tenants tenants, Tenant tenant, SecretKey key) : TenantResealing(tenants, tenant)
    {
        public override SecretKey? SecretAt => key;

        protected override RowWrite? Next(Found found)
        {
            if (found.Secret is not { } row || Of.Keys.IsUnderNewest(row.Sealed))
                return null;
            return SealedSecret.Reseal(Own.Instance, Of, row) is { } again
                ? new RowWrite.PutSecret(again)
                : Left(SealedSecret.Damaged(Of.Id, row).Damage!);
        }
    }

    /// <summary>Seals a kept outcome again.</summary>
    public sealed class OfOutcome(Tenants tenants, Tenant tenant, IdempotencyKey key) : TenantResealing(tenants, tenant)
    {
        public override IdempotencyKey? IdempotencyAt => key;

        protected override RowWrite? Next(Found found)
        {
            if (found.Idempotency is not { } row || Of.Keys.IsUnderNewest(row.Sealed))
                return null;
            return Idempotency.Reseal(Own.Instance, Of, row) is { } again
                ? new RowWrite.ResealIdempotency(row, again)
                : Left(new DamagedRow("idempotency",
                    $"tenant {key.Tenant}, key {Convert.ToHexStringLower(key.Key)}", "its proof"));
        }
    }

    /// <summary>Seals again what is kept of a mint.</summary>
    public sealed class OfReply(Tenants tenants, Tenant tenant, byte[] key) : TenantResealing(tenants, tenant)
    {
        public override ManagementKey ManagementAt { get; } = new() { Reply = key };

        protected override RowWrite? Next(Found found)
        {
            if (found.Management!.Reply is not { } row || row.Tenant != Of.Number
                || Of.Keys.IsUnderNewest(row.Sealed))
                return null;
            return ManagementWriter.Reseal(Own.Instance, Of, row) is { } again
                ? new RowWrite.ResealReply(row, again)
                : Left(new DamagedRow("replies", $"key {Convert.ToHexStringLower(key)}", "its proof"));
        }
    }

    private Tenants Own => tenants;

    private RowWrite.PutTenantKeys Keys(SecretBytes stored)
    {
        var row = tenants.Next(tenant, stored);
        next = row.Counter;
        return row;
    }

    private long next;

    private IReadOnlyList<Note> Note(string outcome, long? count) => HasChanged
        ? [new AuditEntry("rotate_tenant_keys", outcome) { Tenant = tenant.Id, Version = next, Count = count }]
        : [];
}
