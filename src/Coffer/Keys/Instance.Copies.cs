using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>What copies of the store hold of its keys.</summary>
internal sealed partial class Instance
{
    /// <summary>
    /// What a copy of the store is to hold of its keys: the same root keys, wrapped by others and by nothing else but
    /// the recovery shares.
    /// </summary>
    /// <param name="stored">What the store holds.</param>
    /// <param name="wrappers">Those of the copy.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="ct">Ends the wait for a wrapper.</param>
    /// <exception cref="ConfigurationException">The store's keys were changed since they were opened.</exception>
    /// <exception cref="KeyServiceException">A wrapper could not wrap.</exception>
    public async Task<StoredKeys> MoveAsync(
        StoredKeys stored, KeyWrappers wrappers, long now, CancellationToken ct)
    {
        if (Facts is null)
            return (await RaiseAsync(stored, wrappers, now, ct)).Stored;
        using var control = Control.Open(Id, stored.Meta.GetValueOrDefault(Control.MetaKey), Roots) ?? throw Changed();
        // Nothing is under those that are not used: the copy does without them.
        var unused = control.Roots.Where(root => root.State == RootState.Unused).ToList();
        using var shares = stored.SharesOf(control)?.Wrapper();
        KeyWrapper[] by = shares is null ? [.. wrappers.All] : [.. wrappers.All, shares];
        var wrappings = new List<WrappingRow>();
        foreach (var root in control.Roots.Except(unused))
        {
            var key = Roots.Find(root.Version) ?? throw new ConfigurationException(
                $"root key {root.Version} of the source does not open: {string.Join("; ", Troubles)}",
                "Set in --root-key what wraps it, or end its rotation first: coffer root-keys remove --version "
                    + $"{root.Version}");
            wrappings.AddRange(await WrapAsync(Id, key, by, now, ct));
        }

        var moved = control with
        {
            Serial = control.Serial + 1,
            Roots = [.. control.Roots.Except(unused)],
            Wrappings = [.. wrappings.Select(ControlFacts.Of)],
            RemovedRoots =
            [
                .. control.RemovedRoots, .. unused.Select(root => new Control.Removed(root.Version, root.Hash)),
            ],
        };
        var rows = stored.Roots.Where(row => unused.TrueForAll(root => root.Version != row.Version));
        var copy = Stored([.. rows], wrappings, Id, moved, Roots);
        return shares is null ? copy : copy.With(RecoveryShares.MetaKey, stored.Meta[RecoveryShares.MetaKey]);
    }

    /// <summary>
    /// What a store that was restored is to hold of its keys: a new root key seals, those of the back-up open what was
    /// sealed under them until it is sealed again, and the store is another life of itself, and held. As in a copy, all
    /// are wrapped by those that are given and the recovery shares, and by nothing else: what wrapped them before may
    /// be lost.
    /// </summary>
    /// <param name="stored">What the back-up holds.</param>
    /// <param name="wrappers">Those of the restored store.</param>
    /// <param name="anchor">The serial that an anchor has, or 0.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="ct">Ends the wait for a wrapper.</param>
    /// <exception cref="ConfigurationException">The keys were changed since they were opened.</exception>
    /// <exception cref="KeyServiceException">A wrapper could not wrap.</exception>
    public async Task<StoredKeys> RestoreAsync(
        StoredKeys stored, KeyWrappers wrappers, long anchor, long now, CancellationToken ct)
    {
        using var control = Control.Open(Id, stored.Meta.GetValueOrDefault(Control.MetaKey), Roots) ?? throw Changed();
        var (kept, gone) = (control.Roots.Where(Opens).ToList(), control.Roots.Where(root => !Opens(root)).ToList());
        var fresh = RootKeys.Generate(ControlFacts.Of(control, [], stored.Roots).NewestVersion + 1);
        using var shares = stored.SharesOf(control)?.Wrapper();
        KeyWrapper[] by = shares is null ? [.. wrappers.All] : [.. wrappers.All, shares];
        var wrappings = new List<WrappingRow>();
        foreach (var key in kept.Select(root => Roots.Find(root.Version)!).Append(fresh))
            wrappings.AddRange(await WrapAsync(Id, key, by, now, ct));

        var restored = control with
        {
            Serial = Math.Max(control.Serial, anchor) + 1,
            Generation = StoreGeneration.After(control.Generation.Number, now),
            IsHeld = true,
            Roots =
            [
                .. kept.Select(root => root with { State = RootState.Opening }),
                new Control.Root(fresh.Version, RootState.Sealing, fresh.Hash()),
            ],
            Wrappings = [.. wrappings.Select(ControlFacts.Of)],
            RemovedRoots =
                [.. control.RemovedRoots, .. gone.Select(root => new Control.Removed(root.Version, root.Hash))],
        };
        RootKeyRow[] rows = [.. stored.Roots.Where(row => kept.Exists(root => root.Version == row.Version)),
            new RootKeyRow(fresh.Version, now, [])];
        var keys = Stored(rows, wrappings, Id, restored, Roots.With(fresh).SealingBy(fresh.Version));
        return shares is null ? keys : keys.With(RecoveryShares.MetaKey, stored.Meta[RecoveryShares.MetaKey]);

        static bool Opens(Control.Root root) => root.State is not (RootState.Unused or RootState.Made);
    }
}
