using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>
/// What a store holds of its keys, sealed and wrapped: with a wrapper they open wherever they stand, in a store, a copy
/// of one, or an exported log.
/// </summary>
/// <param name="Roots">The root keys.</param>
/// <param name="Wrappings">What wrappers made of them.</param>
/// <param name="Meta">What <c>meta</c> has of the store's own secrets.</param>
internal sealed record StoredKeys(
    IReadOnlyList<RootKeyRow> Roots, IReadOnlyList<WrappingRow> Wrappings, IReadOnlyDictionary<string, byte[]> Meta)
{
    private const int MostTries = 10;

    /// <summary>What puts them into a store.</summary>
    public RowWrite[] Writes =>
    [
        .. Roots.Select(row => new RowWrite.PutRootKey(row)),
        .. Wrappings.Select(row => new RowWrite.PutWrapping(row)),
        .. Meta.Select(meta => new RowWrite.PutMeta(meta.Key, meta.Value)),
    ];

    /// <summary>The same with another row of <c>meta</c>.</summary>
    public StoredKeys With(string key, byte[] value) =>
        this with { Meta = new Dictionary<string, byte[]>(Meta) { [key] = value } };

    /// <summary>As they are at one moment, whoever changes them.</summary>
    public static async Task<StoredKeys> ReadAsync(Engine engine, CancellationToken ct)
    {
        for (var tries = 0; ; tries++)
        {
            var meta = new Dictionary<string, byte[]>();
            foreach (var name in Instance.MetaKeys)
            {
                if (await engine.FindMetaAsync(name, ct) is { } value)
                    meta.Add(name, value);
            }

            var stored = new StoredKeys(
                await engine.ListRootKeysAsync(ct), await engine.ListWrappingsAsync(ct), meta);
            var after = await engine.FindMetaAsync(Control.MetaKey, ct);
            if (meta.GetValueOrDefault(Control.MetaKey).AsSpan().SequenceEqual(after) || tries == MostTries)
                return stored;
        }
    }

    public static StoredKeys Read(StoredTables tables) => new(
        [.. tables.Read(RootKeyRow.Table).Select(row => RootKeyRow.From(new ReadRow(row)))],
        [.. tables.Read(WrappingRow.Table).Select(row => WrappingRow.From(new ReadRow(row)))],
        tables.Read(MetaRow.Table).Select(row => MetaRow.ToMeta(new ReadRow(row)))
            .Where(meta => Instance.MetaKeys.Contains(meta.Key)).ToDictionary(meta => meta.Key, meta => meta.Value));

    /// <summary>Replaces those that a store has, which nobody uses meanwhile.</summary>
    /// <returns>How many rows were written.</returns>
    public long Replace(StoredTables store)
    {
        object?[][] roots = [.. Roots.Select(row => (object?[])[(long)row.Version, row.Created, row.Wrapped])];
        object?[][] wrappings = [.. Wrappings.Select(row => (object?[])
            [(long)row.Version, row.Wrapper, row.Wrapped, row.Created])];
        object?[][] meta = [.. Meta.Select(row => (object?[])[row.Key, row.Value])];
        store.Write(RootKeyRow.Table, [.. store.Read(RootKeyRow.Table)], roots);
        store.Write(WrappingRow.Table, [.. store.Read(WrappingRow.Table)], wrappings);
        store.Write(MetaRow.Table, [.. Instance.MetaKeys.Select(key => (object?[])[key, null])], meta);
        return roots.Length + wrappings.Length + meta.Length;
    }

    /// <summary>
    /// Opens them: first the root key that the control row is sealed under, by the first wrapper that gives the right
    /// one; then the control row; then nothing is believed that it does not vouch for.
    /// </summary>
    /// <param name="wrappers">Which may be asked.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="known">
    /// Root keys that were unwrapped before: they are not asked for again, and nobody is waited for.
    /// </param>
    /// <param name="asksForNew">
    /// Whether a root key that does not seal yet is asked for. It may stay closed: nothing is under it.
    /// </param>
    /// <param name="last">The control row that was in force before: what cannot have come after it is refused.</param>
    /// <returns>The root keys, the control row for the caller to dispose of, and what went wrong on the way.</returns>
    /// <exception cref="ConfigurationException">
    /// No wrapper opens it, or a row of root keys or wrappings is not what the control row says.
    /// </exception>
    /// <exception cref="KeyServiceException">A wrapper could not be asked, and no other opens it.</exception>
    public async Task<(RootKeys Roots, Control Control, IReadOnlyList<string> Troubles)> OpenAsync(
        KeyWrappers wrappers, CancellationToken ct, RootKeys? known = null, bool asksForNew = true,
        ControlFacts? last = null)
    {
        if (Meta.GetValueOrDefault(Control.StoreMetaKey) is not { Length: Control.StoreIdSize } store
            || Meta.GetValueOrDefault(Control.MetaKey) is not { } stored
            || Envelope.KeyVersionOf(stored) is not { } version)
            throw Instance.Changed();
        last?.RequireSealedAfter(version);
        var troubles = new List<string>();
        var first = known?.Find(version)
            ?? await AskAsync(version, hash: null);
        if (Control.Open(store, stored, new RootKeys(first)) is not { } control)
            throw Instance.Changed();
        try
        {
            last?.RequireBefore(control, stored);
            RequireVouchedFor(control);
            RequireHash(first, control);
            var keys = new List<SealingKey>();
            foreach (var root in control.Roots.Where(root => root.State != RootState.Unused))
            {
                var held = root.Version == first.Version ? first : known?.Find(root.Version);
                if (held is not null && CryptographicOperations.FixedTimeEquals(root.Hash, held.Hash()))
                    keys.Add(held);
                else if (root.State != RootState.Made)
                    keys.Add(await AskAsync(root.Version, root.Hash));
                else if (asksForNew && await AskForNewAsync(root) is { } made)
                    keys.Add(made);
            }

            return (new RootKeys([.. keys], control.Sealing), control, troubles);
        }
        catch
        {
            control.Dispose();
            throw;
        }

        Task<SealingKey> AskAsync(uint root, byte[]? hash) => UnwrapAsync(
            wrappers, new RootKeyName(store, root), troubles, hash, waits: known is null, ct);

        async Task<SealingKey?> AskForNewAsync(Control.Root root)
        {
            try
            {
                return await AskAsync(root.Version, root.Hash);
            }
            catch (Exception e) when (e is ConfigurationException or KeyServiceException)
            {
                troubles.Add(e.Message);
                return null;
            }
        }
    }

    /// <summary>The version of the root key that seals, as the stored control row says.</summary>
    /// <exception cref="ConfigurationException">It does not open.</exception>
    public uint SealingOf(Instance instance)
    {
        using var control = Control.Open(instance.Id, Meta.GetValueOrDefault(Control.MetaKey), instance.Roots)
            ?? throw Instance.Changed();
        return control.Sealing;
    }

    /// <summary>One root key, by the first wrapper that gives it. Nothing has vouched for it yet.</summary>
    /// <inheritdoc cref="OpenAsync" path="/exception"/>
    public Task<SealingKey> UnwrapAsync(KeyWrappers wrappers, RootKeyName name, CancellationToken ct) =>
        UnwrapAsync(wrappers, name, [], hash: null, waits: true, ct);

    // The first wrapper that gives the right text; one that gives another is named, and the next is asked.
    private async Task<SealingKey> UnwrapAsync(
        KeyWrappers wrappers, RootKeyName name, List<string> troubles, byte[]? hash, bool waits, CancellationToken ct)
    {
        var rows = Wrappings.Where(row => row.Version == name.Version).ToList();
        var wrong = new List<string>();
        var (key, met) = await wrappers.AskAsync(async wrapper =>
        {
            foreach (var row in rows.Where(row => wrapper.Holds(row.Wrapper)))
            {
                using var text = await wrapper.AskUnwrapAsync(name, row.Wrapped, ct);
                if (text is not null && name.Read(text.Span) is { } key
                    && (hash is null || CryptographicOperations.FixedTimeEquals(hash, key.Hash())))
                    return key;
                wrong.Add($"{row.Wrapper} does not give root key {name.Version} of this store");
            }

            return null;
        }, waits, ct);
        troubles.AddRange(wrong.Concat(met));
        return key ?? throw Unopened(wrappers, name.Version, rows, wrong);
    }

    private static ConfigurationException Unopened(
        KeyWrappers wrappers, uint version, List<WrappingRow> rows, List<string> wrong)
    {
        var isFile = wrappers.All.All(wrapper => wrapper is KeyFile);
        if (isFile && rows.Exists(row => row.Wrapper.StartsWith(WrapperUrl.KeyFile, StringComparison.Ordinal)))
            return Instance.WrongKeyFile(version);
        var found = rows.Count == 0 ? "it is wrapped by nothing"
            : $"it is wrapped by {string.Join(" and ", rows.Select(row => row.Wrapper))}";
        return new(
            $"no key wrapper that is set opens root key {version} of this store: "
                + string.Join("; ", wrong.Distinct().DefaultIfEmpty(found)),
            "Set in --root-key a wrapper that the store has been wrapped with. Nothing was changed.");
    }

    private void RequireVouchedFor(Control control)
    {
        if (Meta.ContainsKey(LevelOne.IdentityMetaKey))
            throw Planted("meta has an identity beside the control row");
        if (Roots.Any(row => control.Roots.All(root => root.Version != row.Version) || row.Wrapped.Length > 0))
            throw Planted("root_keys has a root key that the control row does not know");
        if (control.Roots.FirstOrDefault(root => Roots.All(row => row.Version != root.Version)) is { } gone)
            throw Planted($"root_keys lacks root key {gone.Version}");
        foreach (var row in Wrappings)
        {
            var known = control.Wrappings.FirstOrDefault(
                wrapping => wrapping.Version == row.Version && wrapping.Wrapper == row.Wrapper);
            if (known is null || !SHA256.HashData(row.Wrapped).AsSpan().SequenceEqual(known.Hash))
                throw Planted($"root_key_wrappings has root key {row.Version} by {row.Wrapper}, not as it was wrapped");
        }

        if (control.Wrappings.FirstOrDefault(wrapping => Wrappings.All(
            row => row.Version != wrapping.Version || row.Wrapper != wrapping.Wrapper)) is { } lost)
            throw Planted($"root_key_wrappings lacks root key {lost.Version} by {lost.Wrapper}");
        _ = SharesOf(control);
    }

    /// <summary>The recovery shares, whose public key the control row vouches for; null if there are none.</summary>
    /// <exception cref="ConfigurationException">Their public key is another one.</exception>
    public RecoveryShares? SharesOf(Control control)
    {
        try
        {
            return RecoveryShares.Of(Meta.GetValueOrDefault(RecoveryShares.MetaKey),
                control.Wrappings.Select(wrapping => wrapping.Wrapper));
        }
        catch (InvalidDataException e)
        {
            throw Planted(e.Message);
        }
    }

    private static void RequireHash(SealingKey first, Control control)
    {
        if (control.Roots.FirstOrDefault(root => root.Version == first.Version) is not { } root
            || !CryptographicOperations.FixedTimeEquals(root.Hash, first.Hash()))
            throw Planted($"root key {first.Version} is not the one that the control row knows");
    }

    private static ConfigurationException Planted(string what) => new(
        $"the store's root keys were changed outside Coffer: {what}",
        "Restore the store from a back-up. Nothing was changed, and nothing was sealed under what was found.");
}
