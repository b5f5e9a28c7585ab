using System.Buffers.Binary;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// Carries the rotation of a root key from one state to the next (docs/decisions/0026, "Rotation of a root key"). Each
/// step is decided against what is stored, so any node may take it, and one that was killed is continued by another or
/// by the next start. Requests are served meanwhile.
/// </summary>
internal sealed partial class RootRotation(
    Engine engine, Committer committer, Instance instance, KeyWrappers wrappers, TimeProvider time)
{
    /// <summary>How many rows are sealed again at a time.</summary>
    private const int Batch = 200;

    /// <summary>Which root key's rotation was the last to be an event.</summary>
    private const string ToldKey = "root key told";

    /// <summary>Rows that do not open under the root key that they name, as of the last scan.</summary>
    public IReadOnlyList<DamagedRow> Damaged { get; private set; } = [];

    /// <summary>
    /// The nodes that have not said yet that they have opened a root key; nothing is sealed under it before.
    /// </summary>
    public async Task<IReadOnlyList<string>> WaitingForAsync(uint version, CancellationToken ct)
    {
        var waiting = (await engine.ListNodesAsync(ct)).Where(node => node.OpenedRoot < version)
            .Select(node => node.Name).ToList();
        if (instance.Roots.Find(version) is null && !waiting.Contains(engine.Node))
            waiting.Add(engine.Node);
        return waiting;
    }

    /// <summary>How many rows are not under the root key that seals.</summary>
    public async Task<long> CountLeftAsync(CancellationToken ct)
    {
        var under = Under;
        return (await engine.ListAsync(TenantRow.CountNotUnder, ct, under))[0]
            + (await engine.ListAsync(AppRow.CountNotUnder, ct, under))[0]
            + (await engine.ListAsync(EventRow.CountNotUnderRoot, ct, under))[0]
            + (await engine.ListAsync(EndpointRow.CountNotUnder, ct, under))[0];
    }

    /// <summary>Takes the next step, if there is one now and it is for this node to take.</summary>
    /// <returns>Whether it took one.</returns>
    /// <exception cref="ApiError">The storage cannot be used.</exception>
    public async Task<bool> StepAsync(CancellationToken ct)
    {
        if (instance.Facts is not { Rotating: { } root } || !await engine.LeadsAsync(ct))
            return false;
        switch (root.State)
        {
            case RootState.Made:
                return (await WaitingForAsync(root.Version, ct)).Count == 0
                    && await AdvanceAsync(root.Version, RootState.Opened);
            case RootState.Opened:
                return await AdvanceAsync(root.Version, RootState.Sealing);
            case RootState.Sealing:
                return await AdvanceAsync(root.Version, RootState.Rewrapping);
            default:
                await RewrapAsync(ct);
                if (await CountLeftAsync(ct) != Damaged.Count)
                    return false;
                await TellAsync(root.Version, ct);
                return await AdvanceAsync(root.Version, RootState.Done);
        }
    }

    // Before the step, for what is under a root key is not written with it; once, whoever takes that.
    private async Task TellAsync(uint version, CancellationToken ct)
    {
        var told = Tlv.Bytes(version);
        if (instance.Level < Control.Events
            || (await engine.FindMetaAsync(ToldKey, ct) is { } last && last.AsSpan().SequenceEqual(told)))
            return;
        await committer.CommitAsync(new Change.Plain(Rows) { In = Lane.Background });

        RowWrite[] Rows() =>
        [
            Event.Put(instance, Event.Owner.Store, EventKinds.RootKeyRotated, json =>
            {
                json.WriteString("id"u8, $"{version}");
                json.WriteString("object"u8, "root_key"u8);
                json.WriteNumber("damaged"u8, Damaged.Count);
            }, request: null, time.GetUtcNow()),
            new RowWrite.PutMeta(ToldKey, told),
        ];
    }

    private async Task<bool> AdvanceAsync(uint version, RootState to)
    {
        var entry = new AuditEntry("rotate_root_key", Word(to))
        {
            Version = version,
            Count = to == RootState.Done && Damaged.Count > 0 ? Damaged.Count : null,
        };
        var change = new ControlChange(instance, control => Next(control, version, to), [], [entry]);
        await committer.CommitAsync(change);
        return change.HasChanged;
    }

    private static Control? Next(Control control, uint version, RootState to)
    {
        if (control.Roots[^1] is not { } newest || newest.Version != version || newest.State != to - 1)
            return null;
        return control with
        {
            Roots = [.. control.Roots.Select(root => root.Version == version ? root with { State = to }
                : root with { State = StateOfOlder(root.State, to) })],
        };
    }

    private static RootState StateOfOlder(RootState now, RootState newest) => (now, newest) switch
    {
        (RootState.Done, RootState.Sealing) => RootState.Opening,
        (RootState.Opening, RootState.Done) => RootState.Unused,
        _ => now,
    };

    // Every write since the step to Sealing is under the new one: what is not was there before, and no more comes.
    private async Task RewrapAsync(CancellationToken ct)
    {
        var damaged = new HashSet<DamagedRow>();
        foreach (var kind in SealedKind.All.Where(kind => kind.Under == SealedKind.Key.Root))
            await RewrapAsync(kind, damaged, ct);
        Damaged = [.. damaged];
    }

    private Task RewrapAsync(SealedKind kind, HashSet<DamagedRow> damaged, CancellationToken ct) => kind switch
    {
        _ when kind == SealedKind.TenantKeys => RewrapTenantsAsync(damaged, ct),
        _ when kind == SealedKind.App => RewrapAppsAsync(damaged, ct),
        _ when kind == SealedKind.StoreEvent => RewrapEventsAsync(damaged, ct),
        _ when kind == SealedKind.Endpoint => RewrapEndpointsAsync(damaged, ct),
        // In the same table; in the row that each step seals again; nowhere; or outside the store, where the root key
        // that it names is beside it.
        _ when kind == SealedKind.TenantKeysOne || kind == SealedKind.Control || kind == SealedKind.IdentityOne
            || kind == SealedKind.SigningKeyOne || kind == SealedKind.Proof || kind == SealedKind.BackupKey =>
            Task.CompletedTask,
        _ => throw new InvalidOperationException($"nothing seals a {kind.Name} again when the root key rotates"),
    };

    private Task RewrapTenantsAsync(HashSet<DamagedRow> damaged, CancellationToken ct) => RewrapAsync(
        engine.TenantsNotUnderAsync(Under, Batch, ct),
        owned => Tenants.Rewrap(instance, owned, out var damage) is { } keys
            ? (new RowWrite.RewrapTenant(owned.Id, owned.Row.SealedKeys, keys), null)
            : (null, damage), damaged);

    private Task RewrapAppsAsync(HashSet<DamagedRow> damaged, CancellationToken ct) => RewrapAsync(
        engine.AppsNotUnderAsync(Under, Batch, ct),
        row => App.Rewrap(instance, row) is { } settings
            ? (new RowWrite.RewrapApp(row.Id, row.Sealed!, settings), null)
            : (null, AppRow.Damage(row.Id, row.IsSound ? "its proof" : DamagedRow.Columns, row.Shown)), damaged);

    private Task RewrapEventsAsync(HashSet<DamagedRow> damaged, CancellationToken ct) => RewrapAsync(
        engine.EventsNotUnderAsync(Under, Batch, ct),
        row => Event.Reseal(instance, null, row) is { } again
            ? (new RowWrite.ResealEvent(row, again), null)
            : (null, Event.Damage(row)), damaged);

    private Task RewrapEndpointsAsync(HashSet<DamagedRow> damaged, CancellationToken ct) => RewrapAsync(
        engine.EndpointsNotUnderAsync(Under, Batch, ct),
        row => WebhookEndpoint.Rewrap(instance, row) is { } again
            ? (new RowWrite.RewrapEndpoint(row.Id, row.Sealed, again), null)
            : (null, WebhookEndpoint.DamageOf(row)), damaged);

    private async Task RewrapAsync<TRow>(IAsyncEnumerable<IReadOnlyList<TRow>> pages,
        Func<TRow, (RowWrite? Row, DamagedRow? Damage)> rewrap, HashSet<DamagedRow> damaged)
    {
        await foreach (var rows in pages)
        {
            var left = new DamagedRow?[rows.Count];
            await Task.WhenAll(rows.Select((row, i) => committer.CommitAsync(new Change.Late(() =>
            {
                (var again, left[i]) = rewrap(row);
                return again;
            }))));
            damaged.UnionWith(left.OfType<DamagedRow>());
        }
    }

    // The version of the root key that seals, as it stands in an envelope.
    private byte[] Under
    {
        get
        {
            var version = new byte[sizeof(uint)];
            BinaryPrimitives.WriteUInt32BigEndian(version, instance.FactsInForce.Sealing);
            return version;
        }
    }

    /// <summary>A state, as the audit log and the management plane name it.</summary>
    public static string Word(RootState state) => state switch
    {
        RootState.Made => "made",
        RootState.Opened => "opened",
        RootState.Sealing => "sealing",
        RootState.Rewrapping => "rewrapping",
        RootState.Done => "done",
        RootState.Opening => "opening",
        _ => "unused",
    };
}
