using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>How a store that serves comes to go by another control row.</summary>
internal sealed partial class Instance
{
    /// <summary>What went wrong with wrappers on the way to one that opened the store.</summary>
    public IReadOnlyList<string> Troubles { get; private set; } = [];

    /// <summary>
    /// Takes what another node, or this one, has made of the control row since; one that is older, or lacks what each
    /// later one has, was put back or made up.
    /// </summary>
    /// <param name="engine">Where the store is.</param>
    /// <param name="wrappers">Which may be asked.</param>
    /// <param name="asksForNew">Whether a root key that does not seal yet is asked for.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ConfigurationException">It was put back, made up, or does not open.</exception>
    public async Task FollowAsync(Engine engine, KeyWrappers wrappers, bool asksForNew, CancellationToken ct)
    {
        var last = Facts; // before it is read: what is read is not older, whatever this node changes meanwhile
        var stored = await StoredKeys.ReadAsync(engine, ct);
        var row = stored.Meta.GetValueOrDefault(Control.MetaKey);
        using var current = Control.Open(Id, row, Roots);
        var isOpen = current?.Roots.All(root => root.State == RootState.Unused
            || (root.State == RootState.Made && !asksForNew) || Roots.Find(root.Version) is not null) == true;
        if (isOpen && current!.Serial == last?.Serial && row.AsSpan().SequenceEqual(last.Row))
            return;
        var (opened, control, troubles) = await stored.OpenAsync(wrappers, ct, Roots, asksForNew, last);
        using (control)
        {
            var signers = control.SigningKeys[^1].Number == Signing.Number ? null
                : SigningKeys.Open(Id, control);
            var facts = ControlFacts.Of(control, stored.Meta[Control.MetaKey], stored.Roots);
            Take(new InForce(opened, facts, Peppers.Of(control, Peppers)), signers);
            Troubles = troubles;
        }
    }

    /// <summary>
    /// Reads the control row again, in a store that serves: what is sealed under a root key that is not known may have
    /// been sealed by another node since.
    /// </summary>
    public Func<CancellationToken, Task> Reload { get; set; } = static _ => Task.CompletedTask;

    /// <summary>
    /// A row that is looked up, or null. One under a root key that is not known is looked up again after <see
    /// cref="Reload"/>: it may be under a later one by now, and that which it was under be no more.
    /// </summary>
    public async ValueTask<T?> FindUnderRootAsync<T>(
        Func<ValueTask<T?>> find, Func<T, byte[]?> sealedIn, CancellationToken ct)
        where T : class
    {
        var row = await find();
        if (row is null || sealedIn(row) is not { } envelope || Roots.MayOpen(envelope))
            return row;
        await Reload(ct);
        return await find();
    }

    /// <summary>
    /// From now on this control row is in force, unless a later one is already.
    /// </summary>
    /// <param name="now">What it says.</param>
    /// <param name="signers">The keys that sign, if they are others than before.</param>
    public void Take(InForce now, SigningKeys? signers = null)
    {
        bool isRenewed;
        lock (taking)
        {
            if (now.Facts.Serial < known?.Serial)
                return;
            isRenewed = now.Facts.Renewal != known?.Renewal;
            // Who sees the generation that it says sees what began with it.
            Volatile.Write(ref peppers, now.Peppers);
            if (signers is not null)
                Volatile.Write(ref signingKeys, signers);
            Volatile.Write(ref inForce, now.Roots);
            Volatile.Write(ref known, now.Facts);
        }

        if (isRenewed)
            WhenRenewed();
    }
}
