using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>How a root key is made and wrapped, and how those of before come to an end.</summary>
internal sealed partial class RootRotation
{
    /// <summary>The version of the next root key that is made.</summary>
    public uint NextVersion => instance.FactsInForce.NewestVersion + 1;

    /// <summary>A new root key, wrapped by what wraps the last one, and not stored yet.</summary>
    /// <exception cref="ApiError">
    /// 400: a rotation is under way, or what wraps the last root key is not in the settings of this node. 503: a
    /// wrapper cannot be asked.
    /// </exception>
    public async Task<NewRoot> MakeAsync(ControlFacts facts, CancellationToken ct)
    {
        if (facts.Rotating is not null)
            throw ApiError.RotationUnderWay();
        if (facts.Roots[^1].Wrappers.FirstOrDefault(id => !RecoveryShares.IsName(id) && wrappers.UrlOf(id) is null)
            is { } unset)
            throw ApiError.WrapperUnset(unset);
        var key = RootKeys.Generate(facts.NewestVersion + 1);
        // By what wraps the last one: what is set besides is added by name.
        var rows = new List<WrappingRow>(await WrapAsync(
            [key], wrappers.All.Where(wrapper => facts.Roots[^1].Wrappers.Any(wrapper.Holds)), ct));
        if (await FindSharesAsync(facts, ct) is { } shares)
            rows.AddRange(await WrapAsync([key], shares, ct));
        return new NewRoot(key, new RootKeyRow(key.Version, Now(), []), rows);
    }

    /// <summary>
    /// Takes the next step to where no root key is left that is older than a version: one is made if there is none so
    /// new, its rotation is waited for, and those of before are removed with all that wraps them.
    /// </summary>
    /// <param name="version">The oldest that may be left.</param>
    /// <param name="ends">What the one that is made ends, by its version; null is nothing.</param>
    /// <param name="ct">Ends the wait for a wrapper.</param>
    /// <returns>Whether it is so; else it is called again.</returns>
    /// <exception cref="ApiError">As <see cref="MakeAsync"/>.</exception>
    public async Task<bool> ReplaceAsync(
        long version, Func<uint, IEnumerable<Compromise>>? ends, CancellationToken ct)
    {
        var facts = instance.FactsInForce;
        if (facts.Rotating is not null)
            return false; // whoever leads takes its steps
        if (facts.Roots[^1].Version < version)
        {
            var made = await MakeAsync(facts, ct);
            Compromise[] ended = ends is null ? [] : [.. ends(made.Key.Version)];
            await committer.CommitAsync(new ControlChange(instance, control => Ending(made.AddTo(control), ended),
                made.Writes, [new AuditEntry("rotate_root_key", Word(RootState.Made)) { Version = made.Key.Version }])
            {
                Made = made,
            });
            return false;
        }

        foreach (var root in facts.Roots.Where(root => root.Version < version && root.State == RootState.Unused))
        {
            await committer.CommitAsync(new ControlChange(instance,
                control => Without(control, root.Version), Removal(root),
                [new AuditEntry("remove_root_key", "ok") { Version = root.Version }]));
        }

        return instance.FactsInForce.Roots.All(root => root.Version >= version);
    }

    /// <summary>
    /// Whether a root key has ended a rotation for a compromise: none is left that took over anything before.
    /// </summary>
    /// <param name="rotation">Its id.</param>
    public bool HasEnded(string rotation)
    {
        var facts = instance.FactsInForce;
        return facts.Compromises.Any(each => each.Rotation == rotation
            && facts.Roots.All(root => root.Version >= each.Root));
    }

    // Those before them are of no use once the root keys are gone that took over what there was.
    private static Control Ending(Control control, Compromise[] ended) => control with
    {
        Compromises =
        [
            .. control.Compromises.Where(each => control.Roots.Any(root => root.Version < each.Root)), .. ended,
        ],
    };

    /// <summary>
    /// Has the store sign with a key that is not of before: one is made, and signed by the one before it, unless one
    /// of this number or a later one signs already.
    /// </summary>
    /// <returns>Whether it does; else it is called again.</returns>
    /// <exception cref="ApiError">The storage cannot be used.</exception>
    public async Task<bool> RenewSigningKeyAsync(long number)
    {
        if (instance.Signing.Number >= number)
            return true;
        using var next = instance.Signing.Next(instance.Id);
        await committer.CommitAsync(new ControlChange(instance, next.AddTo, [next.Write],
            [new AuditEntry("renew_signing_key", "ok") { Version = next.Stored.Number }])
        {
            Signing = next.Keys,
        });
        return instance.Signing.Number >= number;
    }

    /// <summary>A control row without a root key, and all that wraps it.</summary>
    public static Control Without(Control control, long version) => control with
    {
        Roots = [.. control.Roots.Where(root => root.Version != version)],
        Wrappings = [.. control.Wrappings.Where(wrapping => wrapping.Version != version)],
        RemovedRoots =
        [
            .. control.RemovedRoots, .. control.Roots.Where(root => root.Version == version)
                .Select(root => new Control.Removed(root.Version, root.Hash)),
        ],
    };

    /// <summary>The rows that go with it.</summary>
    public static RowWrite[] Removal(ControlFacts.Root root) =>
    [
        .. root.Wrappers.Select(id => new RowWrite.DeleteWrapping(root.Version, id)),
        new RowWrite.DeleteRootKey(root.Version),
    ];

    /// <summary>Root keys as wrappers wrap them, each proven by unwrapping it again.</summary>
    /// <exception cref="ApiError">503: a wrapper cannot be asked.</exception>
    public async Task<IReadOnlyList<WrappingRow>> WrapAsync(
        IReadOnlyList<SealingKey> keys, IEnumerable<KeyWrapper> by, CancellationToken ct)
    {
        var rows = new List<WrappingRow>();
        try
        {
            foreach (var key in keys)
            {
                foreach (var wrapper in by)
                    rows.Add(await wrapper.WrapProvenAsync(instance.Id, key, Now(), ct));
            }
        }
        catch (KeyServiceException e)
        {
            throw ApiError.KeyServiceUnavailable(e);
        }

        return rows;
    }

    /// <summary>The same by the public key of recovery shares alone: nobody here can unwrap.</summary>
    public async Task<IReadOnlyList<WrappingRow>> WrapAsync(
        IReadOnlyList<SealingKey> keys, RecoveryShares shares, CancellationToken ct)
    {
        using var wrapper = shares.Wrapper();
        var rows = new List<WrappingRow>();
        foreach (var key in keys)
            rows.AddRange(await Instance.WrapAsync(instance.Id, key, [wrapper], Now(), ct));
        return rows;
    }

    /// <summary>
    /// The recovery shares, or null. Read each time that they are used, and held against what the control row names.
    /// </summary>
    /// <exception cref="ApiError">500: what is stored is not what wrapped the root keys.</exception>
    public async Task<RecoveryShares?> FindSharesAsync(ControlFacts facts, CancellationToken ct)
    {
        try
        {
            return RecoveryShares.Of(await engine.FindMetaAsync(RecoveryShares.MetaKey, ct),
                facts.Roots.SelectMany(root => root.Wrappers));
        }
        catch (InvalidDataException)
        {
            throw ApiError.RecordDamaged(
                "recovery shares", new DamagedRow("meta", RecoveryShares.MetaKey, "its public key"));
        }
    }

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();
}
