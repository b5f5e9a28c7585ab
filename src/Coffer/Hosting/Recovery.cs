using System.Buffers.Text;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Hosting;

/// <summary>
/// Puts together what makes recovery shares, and what opens a store with them when nothing else does, for the command
/// line.
/// </summary>
internal static class Recovery
{
    /// <summary>Shares that were made. Nothing holds them until the store is given what belongs to them.</summary>
    /// <param name="Stored">What the store is to hold, in base64url.</param>
    /// <param name="Shares">The words of each, in ASCII.</param>
    public sealed record Made(string Stored, IReadOnlyList<SecretBytes> Shares) : IDisposable
    {
        public void Dispose()
        {
            foreach (var share in Shares)
                share.Dispose();
        }
    }

    /// <summary>What came of a recovery.</summary>
    /// <param name="Wrappers">What wraps the root keys from now on, beside the shares.</param>
    /// <param name="Versions">The versions of the root keys.</param>
    public sealed record Outcome(IReadOnlyList<string> Wrappers, IReadOnlyList<uint> Versions);

    /// <summary>The fewest shares that may open a store, and the most that it may have.</summary>
    public const int LeastThreshold = RecoveryShares.LeastThreshold, MostShares = RecoveryShares.Most;

    /// <summary>Makes shares for a store that a server shows.</summary>
    /// <param name="store">The store's id, in hexadecimal.</param>
    /// <param name="anchor">The store's mark, in hexadecimal.</param>
    /// <param name="threshold">How many open it.</param>
    /// <param name="count">How many there are.</param>
    /// <exception cref="InvalidDataException">The server does not show a store.</exception>
    public static Made Make(string store, string anchor, int threshold, int count)
    {
        if (!IsHex(store, Control.StoreIdSize) || !IsHex(anchor, Anchor.MarkSize))
            throw ShareGathering.Wrong();
        var (stored, shares) = RecoveryShares.Make(
            Convert.FromHexString(store), Convert.FromHexString(anchor), threshold, count);
        var made = new Made(
            Base64Url.EncodeToString(stored.ToRow()), [.. shares.Select(share => share.ToText())]);
        foreach (var share in shares)
            share.Dispose();
        return made;
    }

    /// <summary>
    /// Opens a store with shares, and has what is set wrap its root keys in place of what is lost: one change, which is
    /// recorded. No server may run on a store in a directory.
    /// </summary>
    /// <param name="options">Where the store is, and what is to wrap its root keys.</param>
    /// <param name="gather">Asks for shares until there are enough.</param>
    /// <param name="time">For what is recorded.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ConfigurationException">It cannot; nothing was changed.</exception>
    /// <exception cref="KeyServiceException">What is set could not wrap.</exception>
    public static async Task<Outcome> RunAsync(CofferOptions options,
        Func<ShareGathering, CancellationToken, Task> gather, TimeProvider time, CancellationToken ct)
    {
        Preflight.Require(options);
        if (options.Store is null && !File.Exists(DataDirectory.FilesOf(options.Data).Store))
        {
            throw new ConfigurationException($"there is no store in {options.Data}",
                "Give the --data directory of the store, and --store if it is in a database.");
        }

        using var parts = new Parts();
        var around = new Surroundings(time, NullLoggerFactory.Instance, parts);
        var storage = await StorageParts.OpenAsync(options, parts, ct);
        var instance = await OpenAsync(storage.Engine, gather, ct);
        var anchor = new Anchor(storage.Directory.AnchorFile);
        anchor.Check(instance);

        // All that may fail comes before the store is written.
        var settings = options.RootKey.Or(storage.Directory.KeyFile);
        KeyParts.CreateFiles(settings, time.GetUtcNow());
        var wrappers = KeyWrappers.Open(settings);
        if (wrappers.Troubles is [var trouble, ..])
            throw new ConfigurationException(trouble, "Check --root-key. Nothing was changed in the store.");
        var change = await WrapAsync(instance, wrappers, time.GetUtcNow().ToUnixTimeSeconds(), ct);
        await storage.Engine.JoinAsync(ct);
        var policy = new StorePolicy(instance, options, storage.Directory.SettingsFile);
        var audit = await AuditParts.OpenAsync(storage, policy, anchor, options, around, ct);
        await audit.Committer.CommitAsync(change);
        if (!change.HasChanged)
        {
            throw new ConfigurationException("another node changed the root keys meanwhile",
                "Run the same command again. Nothing was changed.");
        }

        anchor.Write(instance);
        return new Outcome([.. settings.Urls.Select(url => url.ToString())],
            [.. instance.Facts!.Roots.Select(root => root.Version)]);
    }

    private static bool IsHex(string text, int bytes) => text.Length == 2 * bytes && text.All(char.IsAsciiHexDigit);

    /// <summary>Opens a back-up with the shares that the store had when it was made, and nothing else.</summary>
    /// <param name="file">The data.</param>
    /// <param name="keysFile">The keys of tenants; null is beside the data.</param>
    /// <param name="by">The data directory with the anchor.</param>
    /// <param name="anchor">An anchor that must be there; null is that of the data directory, if there is one.</param>
    /// <param name="gather">Asks for shares until there are enough.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ConfigurationException">It has no shares, or these do not open it.</exception>
    /// <exception cref="BackupDamagedException">A part is not as it was written.</exception>
    public static async Task<OpenedBackup> OpenAsync(string file, string? keysFile, StoreLocation by, string? anchor,
        Func<ShareGathering, CancellationToken, Task> gather, CancellationToken ct)
    {
        BackupHeader header;
        using (var reader = BackupReader.Open(file, BackupHeader.Data))
            header = reader.Header;
        if (header.RecoveryShares is not { } row)
        {
            throw new ConfigurationException($"no recovery shares had been made when {file} was",
                "Only what wrapped its root keys opens it. A later back-up may have shares.");
        }

        if (RecoveryShares.Read(row) is not { } shares)
            throw new BackupDamagedException($"{file} is damaged: its recovery shares are");
        using var wrapper = await GatherAsync(header.Store, shares, gather, ct);
        var backup = await OpenedBackup.OpenAsync(file, keysFile, by, anchor, ct, KeyWrappers.Of(wrapper));
        try
        {
            using var control = Control.Open(header.Store, backup.Stored.Meta[Control.MetaKey], backup.Instance.Roots);
            RequireSame(control!, shares);
            return backup;
        }
        catch
        {
            backup.Dispose();
            throw;
        }
    }

    private static async Task<SharesWrapper> GatherAsync(byte[] store, RecoveryShares shares,
        Func<ShareGathering, CancellationToken, Task> gather, CancellationToken ct)
    {
        using var gathering = new ShareGathering(store, shares);
        await gather(gathering, ct);
        return gathering.Open() ?? throw new ConfigurationException(
            "these shares do not open this store: they do not belong together, or what belongs to them was changed",
            "Check where each share comes from. Nothing was changed.");
    }

    // Anybody can wrap a root key of their own by a public key, and seal a control row under it.
    private static void RequireSame(Control control, RecoveryShares shares)
    {
        if (!control.Peppers.Any(
            pepper => Anchor.MarkOf(pepper.Secret.Span).AsSpan().SequenceEqual(shares.AnchorMark)))
        {
            throw new ConfigurationException("this is not the store that the shares were made for",
                "Its rows were replaced by those of another. Restore a back-up. Nothing was changed.");
        }
    }

    private static async Task<Instance> OpenAsync(
        Engine engine, Func<ShareGathering, CancellationToken, Task> gather, CancellationToken ct)
    {
        var stored = await StoredKeys.ReadAsync(engine, ct);
        if (stored.Meta.GetValueOrDefault(Control.StoreMetaKey) is not { } store
            || !stored.Meta.TryGetValue(RecoveryShares.MetaKey, out var row))
        {
            throw new ConfigurationException("no recovery shares were made for this store",
                "Only what wraps its root keys opens it: look for its key file, or for a back-up that has shares.");
        }

        var shares = RecoveryShares.Read(row) ?? throw new ConfigurationException(
            "the recovery shares in the store's meta table are damaged",
            "Restore the store from a back-up: its shares are those of its time. Nothing was changed.");
        using var wrapper = await GatherAsync(store, shares, gather, ct);
        var (_, control, _) = await stored.OpenAsync(KeyWrappers.Of(wrapper), ct);
        using (control)
            RequireSame(control, shares);
        return await Instance.OpenAsync(stored, KeyWrappers.Of(wrapper), ct);
    }

    private static async Task<ControlChange> WrapAsync(
        Instance instance, KeyWrappers wrappers, long now, CancellationToken ct)
    {
        var rows = new List<WrappingRow>();
        var gone = new List<RowWrite.DeleteWrapping>();
        foreach (var root in instance.Facts!.Roots)
        {
            // One that does not open is kept as it is: nothing is under it, and its rotation names it.
            if (instance.Roots.Find(root.Version) is { } key)
            {
                foreach (var wrapper in wrappers.All)
                    rows.Add(await wrapper.WrapProvenAsync(instance.Id, key, now, ct));
            }
            else if (root.State != RootState.Unused)
            {
                continue;
            }

            gone.AddRange(root.Wrappers.Where(id => !RecoveryShares.IsName(id))
                .Select(id => new RowWrite.DeleteWrapping(root.Version, id)));
        }

        var entry = new AuditEntry("recover_root_keys", "ok") { Count = rows.Count };
        return new ControlChange(instance,
            control => control with
            {
                Wrappings =
                [
                    .. control.Wrappings.Where(
                        old => !gone.Contains(new RowWrite.DeleteWrapping(old.Version, old.Wrapper))),
                    .. rows.Select(ControlFacts.Of),
                ],
            },
            [.. gone, .. rows.Select(row => new RowWrite.PutWrapping(row))], [entry]);
    }
}
