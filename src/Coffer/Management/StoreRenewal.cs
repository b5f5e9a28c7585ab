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
                return await roots.ReplaceAsync(renewal.Root, ct) && await BeginAsync(renewal);
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

    /// <summary>
    /// What an owner confirms: a hash over all rows of API keys, each of which its proof stands for.
    /// </summary>
    /// <returns>The hash in hexadecimal, and how many there are.</returns>
    public static async Task<(string Hash, long Count)> KeysAsync(Engine engine, CancellationToken ct)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData("coffer v1 list of keys"u8);
        var (count, after) = (0L, "");
        while (await engine.ListAsync(ApiKeyRow.AfterId, ct, after, Batch) is { Count: > 0 } rows)
        {
            foreach (var row in rows)
            {
                using var bound = new AssociatedData("coffer v1 listed key"u8);
                bound.Add(row.Id);
                bound.Add(row.Mac);
                bound.Add(row.Proof);
                hash.AppendData(SHA256.HashData(bound.Span));
            }

            count += rows.Count;
            if (string.CompareOrdinal(rows[^1].Id, after) <= 0)
                break; // what is no text is in no order
            after = rows[^1].Id;
        }

        return (Convert.ToHexStringLower(hash.GetHashAndReset()), count);
    }

    // The pepper, the key that signs and the generation: what names the one is proven by the others.
    private async Task<bool> BeginAsync(Renewal renewal)
    {
        var facts = instance.FactsInForce;
        var generation = StoreGeneration.After(facts.Generation.Number, Now());
        var (keys, signing) = instance.Signing.Next(instance.Id, generation);
        using var fresh = SecretBytes.ForKey(RandomNumberGenerator.GetBytes(Control.PepperSize));
        using (signing.Secret)
        {
            var change = new ControlChange(instance,
                control => control.Renewal == renewal && control.Peppers[^1].Number == renewal.Pepper - 1
                    && control.SigningKeys[^1].Number == signing.Number - 1
                    ? control with
                    {
                        Generation = generation,
                        Peppers = [.. control.Peppers, new Control.Numbered(renewal.Pepper, fresh)],
                        SigningKeys = [.. control.SigningKeys, signing],
                        Eras = [.. control.Eras, new Control.Era(renewal.Pepper, signing.Number, generation)],
                        Renewal = renewal with { State = RenewalState.Proving },
                    }
                    : null,
                [new RowWrite.PutMeta(PublicKeys.MetaKey, keys.Public.ToMeta())],
                [
                    new AuditEntry("renew_signing_key", "ok") { Version = signing.Number },
                    Entry(RenewalState.Proving) with { Version = renewal.Pepper },
                ])
            {
                Signing = keys,
            };
            await committer.CommitAsync(change);
            return change.HasChanged;
        }
    }

    // Each of these may be the thief's, if he wrote it before: keys are listed for an owner at the end.
    private async Task<IReadOnlyList<DamagedRow>> ProveAsync(CancellationToken ct)
    {
        var damaged = new List<DamagedRow>();
        var changed = 1L;
        while (changed > 0) // until a scan finds nothing that another pepper has proven
        {
            damaged.Clear();
            changed = await ProveAsync(damaged, ct);
        }

        await gate.ReportAsync(damaged, "");
        return damaged;
    }

    private async Task<long> ProveAsync(List<DamagedRow> damaged, CancellationToken ct)
    {
        var count = 0L;
        foreach (var kind in ProvenKind.All)
            count += await ProveAsync(kind, damaged, ct);
        return count + await EndSecretsAsync(damaged, ct);
    }

    private Task<long> ProveAsync(ProvenKind kind, List<DamagedRow> damaged, CancellationToken ct) => kind switch
    {
        _ when kind == ProvenKind.ApiKey => ProveAsync("",
            after => engine.ListAsync(ApiKeyRow.AfterId, ct, after, Batch), row => row.Id,
            row => ApiKey.ProveAnew(instance, row) is { } proof
                ? new RowWrite.ReproveApiKey(row.Id, row.Proof, proof)
                : null,
            row => ApiKey.Inspect(instance, row).Damage, damaged),
        _ when kind == ProvenKind.EndedKey => ProveAsync<EndedKeyRow, byte[]>([],
            after => engine.ListAsync(EndedKeyRow.AfterMac, ct, after, Batch), row => row.Mac,
            row => EndedKey.ProveAnew(instance, row),
            row => EndedKey.IsWhole(instance, row) ? null : new DamagedRow("ended_keys", row.Id, "its proof"), damaged),
        _ when kind == ProvenKind.Generation => ProveAsync(-1L, after => engine.ListGenerationsAsync(after, ct),
            row => row.Number, row => Generations.ProveAnew(instance, row),
            row => Generations.IsWhole(instance, row) ? null : Generations.Damage(row), damaged),
        _ when kind == ProvenKind.Receipt => ProveAsync("",
            after => engine.ListAsync(ReceiptRow.AfterId, ct, after, Batch), row => row.Id,
            row => Receipt.ProveAnew(instance, row),
            row => Receipt.From(row, instance) is null ? Receipt.Damaged(row) : null, damaged),
        _ => ProveMetaAsync(kind, ct),
    };

    private async Task<long> ProveAsync<TRow, TKey>(TKey after, Func<TKey, ValueTask<IReadOnlyList<TRow>>> list,
        Func<TRow, TKey> key, Func<TRow, RowWrite?> prove, Func<TRow, DamagedRow?> damage, List<DamagedRow> damaged)
    {
        var count = 0L;
        while (await list(after) is { Count: > 0 } rows)
        {
            foreach (var some in rows.Chunk(Batch))
                count += await CommitAsync([.. some.Select(row => (Func<RowWrite?>)(() => prove(row)))]);
            damaged.AddRange(rows.Select(damage).OfType<DamagedRow>());
            var next = key(rows[^1]);
            if (Comparer(next, after) <= 0)
                break; // what is of another type is in no order
            after = next;
        }

        return count;

        static int Comparer(TKey one, TKey other) => (one, other) switch
        {
            (string a, string b) => string.CompareOrdinal(a, b),
            (byte[] a, byte[] b) => a.AsSpan().SequenceCompareTo(b),
            (long a, long b) => a.CompareTo(b),
            _ => 0,
        };
    }

    private async Task<long> ProveMetaAsync(ProvenKind kind, CancellationToken ct)
    {
        var rows = new List<Func<RowWrite?>>();
        foreach (var (key, value) in await engine.ListMetaAsync(kind.Key!, ct))
        {
            var of = key[kind.Key!.Length..];
            rows.Add(() => kind switch
            {
                _ when kind == ProvenKind.Cut => Replaced(AuditCut.ProveAnew(log, of, value), value),
                _ when kind == ProvenKind.Rollbacks => Replaced(Rollbacks.ProveAnew(log, of, value), value),
                _ when kind == ProvenKind.FormatOne => Replaced(FormatOne.ProveAnew(instance, value), value),
                _ when kind == ProvenKind.WithoutGeneration =>
                    Replaced(WithoutGeneration.ProveAnew(instance, value), value),
                _ when kind == ProvenKind.Rotations => TenantRotations.ProveAnew(instance, value),
                _ => throw new InvalidOperationException($"nothing proves a {kind.Name} again by another pepper"),
            });
        }

        return await CommitAsync(rows);
    }

    private static RowWrite.ReplaceMeta? Replaced(RowWrite.PutMeta? row, byte[] before) =>
        row is null ? null : new RowWrite.ReplaceMeta(row.Key, before, row.Value);

    private async Task<long> CommitAsync(IReadOnlyList<Func<RowWrite?>> rows)
    {
        List<Proving> changes = [.. rows.Select(row => new Proving(row))];
        changes.RemoveAll(change => !change.IsNeeded);
        await Task.WhenAll(changes.Select(committer.CommitAsync));
        return changes.Count;
    }

    // What they signed, a thief who has them signs too: an app has none until its owner has rolled it.
    private async Task<long> EndSecretsAsync(List<DamagedRow> damaged, CancellationToken ct)
    {
        var (count, pepper) = (0L, instance.Peppers.Newest);
        Place? bound = null;
        while (await engine.ListAppsAsync(bound, newer: false, Batch, ct) is { Count: > 0 } rows)
        {
            List<App> apps = [.. rows.Select(row => App.Inspect(row, instance))];
            damaged.AddRange(apps.Select(app => app.Damage).OfType<DamagedRow>());
            List<EndingSecrets> changes =
            [
                .. apps.Where(app => !app.IsDamaged && app.WithoutSecretsOf(pepper) is not null)
                    .Select(app => new EndingSecrets(app.Id, instance)),
            ];
            await Task.WhenAll(changes.Select(committer.CommitAsync));
            count += changes.Count(change => change.HasEnded);
            var next = new Place(rows[^1].Created, rows[^1].Id);
            if (next == bound)
                break;
            bound = next;
        }

        return count;
    }

    // From then on what the pepper before proves is believed no more, in the log neither.
    private async Task<bool> ListAsync(Renewal renewal, IReadOnlyList<DamagedRow> damaged, CancellationToken ct)
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
        var stored = TenantRotations.Read(instance, await engine.FindMetaAsync(TenantRotations.MetaKey, ct));
        var own = stored.All.FirstOrDefault(rotation => rotation.Pepper == renewal.Pepper);
        if (own is { Ended: null })
            return null;
        if (own is not null)
        {
            var waiting = new ControlChange(instance,
                control => control.Renewal == renewal
                    ? control with { Renewal = renewal with { State = RenewalState.Waiting } }
                    : null,
                [], [Entry(RenewalState.Waiting)]);
            await committer.CommitAsync(waiting);
            return waiting.HasChanged;
        }

        var (count, last) = (await engine.ListAsync(TenantRow.CountOfAll, ct))[0];
        var asked = new TenantRotation(TenantRotation.NewId(), null, null, null, Now(), count, last)
        {
            IsCompromised = true,
            FirstRoot = renewal.Root,
            Pepper = renewal.Pepper,
        };
        // What waited is among them.
        var change = new TenantRotationsChange(instance,
            rotations => rotations.All.Any(each => each.Pepper == renewal.Pepper)
                ? null
                : rotations.Ended(Now()).With(asked),
            [
                new AuditEntry("rotate_tenant_keys", "ok") { Target = asked.Id, Count = count, Reason = "compromised" },
            ]);
        await committer.CommitAsync(change);
        return change.HasChanged;
    }

    private static AuditEntry Entry(RenewalState state) => new("renew_store", Word(state));

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();

    // Each names what it was: what another node has written since is proven by the newest pepper already.
    private sealed class Proving(Func<RowWrite?> prove) : Change
    {
        public bool IsNeeded => prove() is not null;

        public override Lane Lane => Lane.Background;

        public override IReadOnlyList<RowWrite> Decide(Found found) => prove() is { } row ? [row] : [];
    }

    private sealed class EndingSecrets(string id, Instance instance) : Change
    {
        public bool HasEnded { get; private set; }

        public override Lane Lane => Lane.Background;

        public override ManagementKey ManagementAt { get; } = new() { App = id };

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            var app = found.Management!.App is { } row ? App.Inspect(row, instance) : null;
            var next = app is { IsDamaged: false } ? app.WithoutSecretsOf(instance.Peppers.Newest) : null;
            HasEnded = next is not null;
            return next is null ? [] : [new RowWrite.PutApp(next.ToRow(instance))];
        }

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => HasEnded
            ? [new AuditEntry("end_signing_secrets", "ok") { App = id, Reason = "compromised" }]
            : [];
    }
}
