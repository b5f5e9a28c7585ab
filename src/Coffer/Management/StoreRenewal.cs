using System.Security.Cryptography;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// Renews a store in place after its root key has leaked (docs/decisions/0041): root keys that nobody has; then in one
/// change another pepper, another key that signs and another generation of the store; all that the pepper before has
/// proven is proven again, and from then on that one is believed no more; the keys of all tenants rotate; and at the
/// end an owner confirms which API keys there are. How far it has come is in the control row, so whoever runs
/// continues it. Requests are served meanwhile.
/// </summary>
internal sealed class StoreRenewal(
    Engine engine, Committer committer, Instance instance, RootRotation roots, Gate gate, TimeProvider time)
{
    /// <summary>How many rows are proven again at a time.</summary>
    private const int Batch = 200;

    private static readonly AuditEntry Ended = new("end_signing_secrets", "ok") { Reason = "compromised" };

    private readonly AuditKeys log = AuditKeys.Of(instance);

    /// <summary>Takes the next step, if there is one now and it is for this node to take.</summary>
    /// <returns>
    /// Whether it took one, or false if root keys are waited for; null if nothing is renewed, or it is the turn of the
    /// tenants.
    /// </returns>
    /// <exception cref="ApiError">The storage cannot be used.</exception>
    public async Task<bool?> StepAsync(CancellationToken ct)
    {
        if (instance.Facts?.Renewal is not { } renewal || !await engine.LeadsAsync(ct))
            return null;
        switch (renewal.State)
        {
            case RenewalState.Asked:
                return await roots.ReplaceAsync(renewal.Root, null, ct) && await BeginAsync(renewal);
            case RenewalState.Proving:
                return await ListAsync(renewal, await ProveAsync(ct), ct);
            case RenewalState.Listed:
                return await RotateTenantsAsync(renewal, ct);
            default:
                return null;
        }
    }

    /// <summary>A step as the audit log and the management plane name it.</summary>
    public static string Word(RenewalState state) => state switch
    {
        RenewalState.Asked => "replacing_root_key",
        RenewalState.Proving => "proving",
        RenewalState.Listed => "rotating_tenant_keys",
        _ => "waiting_for_owner",
    };

    // The pepper, the key that signs and the generation: what names the one is proven by the others.
    private async Task<bool> BeginAsync(Renewal renewal)
    {
        var facts = instance.FactsInForce;
        var generation = StoreGeneration.After(facts.Generation.Number, Now());
        using var signing = instance.Signing.Next(instance.Id, generation);
        using var fresh = SecretBytes.ForKey(RandomNumberGenerator.GetBytes(Control.PepperSize));
        var change = new ControlChange(instance,
            control => control.Renewal == renewal && signing.AddTo(control) is { } signed
                ? signed with
                {
                    Generation = generation,
                    Peppers = [.. control.Peppers, new Control.Numbered(renewal.Pepper, fresh)],
                    Eras = [.. control.Eras, new Control.Era(renewal.Pepper, signing.Stored.Number, generation)],
                    Renewal = renewal with { State = RenewalState.Proving },
                }
                : null,
            [signing.Write],
            [
                new AuditEntry("renew_signing_key", "ok") { Version = signing.Stored.Number },
                Entry(RenewalState.Proving) with { Version = renewal.Pepper },
            ])
        {
            Signing = signing.Keys,
        };
        await committer.CommitAsync(change);
        return change.HasChanged;
    }

    // Each of these may be the thief's, if he wrote it before: keys are listed for an owner at the end. Once is enough:
    // each commit compares the control row, and what a pepper proves is made when it is decided, not before, so nothing
    // more comes under the pepper before.
    private async Task<IReadOnlyCollection<DamagedRow>> ProveAsync(CancellationToken ct)
    {
        var damaged = new HashSet<DamagedRow>();
        foreach (var kind in ProvenKind.All)
            await ProveAsync(kind, damaged, ct);
        // No end of a key is found by them, and no page begins with them.
        damaged.UnionWith((await engine.ListAsync(EndedKeyRow.Misplaced, ct, Array.Empty<byte>(), Batch))
            .Select(row => row.Damage));
        await EndSecretsAsync(damaged, ct);
        await gate.ReportAsync(damaged, "");
        return damaged;
    }

    private Task ProveAsync(ProvenKind kind, HashSet<DamagedRow> damaged, CancellationToken ct) => kind switch
    {
        _ when kind == ProvenKind.ApiKey => ProveAsync(
            engine.ApiKeysAsync(Batch, ct),
            row => ApiKey.ProveAnew(instance, row),
            row => ApiKey.Inspect(instance, row).Damage, damaged),
        _ when kind == ProvenKind.EndedKey => ProveAsync(
            Engine.PagesAsync(Batch, Array.Empty<byte>(),
                (after, most) => engine.ListAsync(EndedKeyRow.AfterMac, ct, after, most),
                static row => row.Mac, RowOrder.OfBytes),
            row => EndedKey.ProveAnew(instance, row),
            row => EndedKey.IsWhole(instance, row) ? null : row.Damage, damaged),
        _ when kind == ProvenKind.Generation => ProveAsync(
            Engine.PagesAsync(int.MaxValue, -1L, (after, _) => engine.ListGenerationsAsync(after, ct),
                static row => row.Number, Comparer<long>.Default),
            row => Generations.ProveAnew(instance, row),
            row => Generations.IsWhole(instance, row) ? null : Generations.Damage(row), damaged),
        _ when kind == ProvenKind.Receipt => ProveAsync(
            Engine.PagesAsync(Batch, (after, most) => engine.ListAsync(ReceiptRow.AfterId, ct, after, most),
                static row => row.Id),
            row => Receipt.ProveAnew(instance, row),
            row => Receipt.From(row, instance) is null ? Receipt.Damaged(row) : null, damaged),
        _ => ProveMetaAsync(kind, damaged, ct),
    };

    private async Task ProveAsync<TRow>(IAsyncEnumerable<IReadOnlyList<TRow>> pages, Func<TRow, RowWrite?> prove,
        Func<TRow, DamagedRow?> damage, HashSet<DamagedRow> damaged)
    {
        await foreach (var rows in pages)
        {
            foreach (var some in rows.Chunk(Batch))
                await CommitAsync(some, prove);
            damaged.UnionWith(rows.Select(damage).OfType<DamagedRow>());
        }
    }

    private async Task ProveMetaAsync(ProvenKind kind, HashSet<DamagedRow> damaged, CancellationToken ct)
    {
        var rows = await engine.ListMetaAsync(kind.Key!, ct);
        await CommitAsync(rows, row => kind switch
        {
            _ when kind == ProvenKind.Cut => AuditCut.ProveAnew(log, row.Key[kind.Key!.Length..], row.Value),
            _ when kind == ProvenKind.Rollbacks => Rollbacks.ProveAnew(log, row.Key[kind.Key!.Length..], row.Value),
            _ when kind == ProvenKind.FormatOne => FormatOne.ProveAnew(instance, row.Value),
            _ when kind == ProvenKind.WithoutGeneration => WithoutGeneration.ProveAnew(instance, row.Value),
            _ when kind == ProvenKind.Rotations => TenantRotations.ProveAnew(instance, row.Value),
            _ => throw new InvalidOperationException($"nothing proves a {kind.Name} again by another pepper"),
        });
        if (kind == ProvenKind.Rotations && rows.Any(row => TenantRotations.Find(instance, row.Value) is null))
            damaged.Add(TenantRotations.Damage);
    }

    // Each names what it was: what another node has written since is proven by the newest pepper already.
    private Task CommitAsync<TRow>(IEnumerable<TRow> rows, Func<TRow, RowWrite?> prove) =>
        Task.WhenAll(rows.Where(row => prove(row) is not null).ToList()
            .Select(row => committer.CommitAsync(new Change.Late(() => prove(row)))));

    // What they signed, a thief who has them signs too: neither an app nor an endpoint has any until its owner has
    // rolled it. By their ids: who writes the database may have given others any time.
    private async Task EndSecretsAsync(HashSet<DamagedRow> damaged, CancellationToken ct)
    {
        await EndSecretsAsync(
            Engine.PagesAsync(
                Batch, (after, most) => engine.ListAsync(AppRow.AfterId, ct, after, most), static row => row.Id),
            row =>
            {
                var app = App.Inspect(row, instance);
                return (app.Damage, WithoutSecrets(app) is null ? null : new EndingSecrets(new() { App = row.Id },
                    found => found.App is { } stored && WithoutSecrets(App.Inspect(stored, instance)) is { } next
                        ? new RowWrite.PutApp(next.ToRow(instance))
                        : null, Ended with { App = row.Id }));
            }, damaged);
        await EndSecretsAsync(
            engine.EndpointsAsync(Batch, ct),
            row =>
            {
                var endpoint = WebhookEndpoint.Inspect(instance, row);
                return (endpoint.Damage, WithoutSecrets(endpoint) is null ? null : new EndingSecrets(
                    new() { Endpoint = row.Id }, found => found.Endpoint is { } stored
                        && WithoutSecrets(WebhookEndpoint.Inspect(instance, stored)) is { } next
                        ? new RowWrite.PutEndpoint(next.ToRow(instance))
                        : null, Ended with { Target = row.Id }));
            }, damaged);
    }

    private async Task EndSecretsAsync<TRow>(IAsyncEnumerable<IReadOnlyList<TRow>> pages,
        Func<TRow, (DamagedRow? Damage, EndingSecrets? Ending)> look, HashSet<DamagedRow> damaged)
    {
        await foreach (var rows in pages)
        {
            var seen = rows.Select(look).ToList();
            damaged.UnionWith(seen.Select(static each => each.Damage).OfType<DamagedRow>());
            await Task.WhenAll(seen.Select(static each => each.Ending).OfType<EndingSecrets>()
                .Select(committer.CommitAsync));
        }
    }

    // Null if it has none of before, or is damaged.
    private App? WithoutSecrets(App app) => app.IsDamaged ? null : app.WithoutSecretsOf(instance.Peppers.Newest);

    private WebhookEndpoint? WithoutSecrets(WebhookEndpoint endpoint) =>
        endpoint.IsDamaged ? null : endpoint.WithoutSecretsOf(instance.Peppers.Newest);

    // From then on what the pepper before proves is believed no more, in the log neither.
    private async Task<bool> ListAsync(
        Renewal renewal, IReadOnlyCollection<DamagedRow> damaged, CancellationToken ct)
    {
        var heads = await LogHeads.FindAsync(engine, log.Proof, ct);
        var change = new ControlChange(instance,
            control => control.Renewal == renewal
                ? control with
                {
                    Heads = SHA256.HashData(heads.Value),
                    Renewal = renewal with { State = RenewalState.Listed },
                }
                : null,
            [heads],
            [Entry(RenewalState.Listed) with { Count = damaged.Count > 0 ? damaged.Count : null }]);
        await committer.CommitAsync(change);
        return change.HasChanged;
    }

    // Those that there are by now: the keys of a later one are fresh, and under a root key that nobody has.
    private async Task<bool?> RotateTenantsAsync(Renewal renewal, CancellationToken ct)
    {
        // What was waited for is a part of it: a record that does not open is as none.
        var stored = TenantRotations.Find(instance, await engine.FindMetaAsync(TenantRotations.MetaKey, ct));
        // Two of a store that was restored meanwhile.
        var own = (stored?.All ?? []).Where(rotation => rotation.Pepper == renewal.Pepper).ToList();
        if (own.Exists(rotation => rotation.Ended is null))
            return null;
        if (own.Count > 0)
        {
            var waiting = new ControlChange(instance,
                control => control.Renewal == renewal
                    ? control with { Renewal = renewal with { State = RenewalState.Waiting } }
                    : null,
                [], [Entry(RenewalState.Waiting)]);
            await committer.CommitAsync(waiting);
            return waiting.HasChanged;
        }

        var asked = await TenantRotation.OfAllAsync(engine, Now(), ct) with
        {
            FirstRoot = renewal.Root,
            Pepper = renewal.Pepper,
        };
        var change = new TenantRotationsChange(instance,
            rotations => rotations.All.Any(each => each.Pepper == renewal.Pepper) ? null : rotations.EndedBy(asked),
            [asked.Asked])
        {
            ReplacesDamaged = true,
        };
        await committer.CommitAsync(change);
        return change.HasChanged;
    }

    private static AuditEntry Entry(RenewalState state) => new("renew_store", Word(state));

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>Ends what signs for an app or an endpoint, as it is stored then.</summary>
    private sealed class EndingSecrets(
        Change.ManagementKey at, Func<Change.ManagementFound, RowWrite?> next, AuditEntry ended) : Change
    {
        private bool hasEnded;

        public override Lane Lane => Lane.Background;

        public override ManagementKey ManagementAt => at;

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            var row = next(found.Management!);
            hasEnded = row is not null;
            return row is null ? [] : [row];
        }

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => hasEnded ? [ended] : [];
    }
}
