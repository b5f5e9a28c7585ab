// Puts the audit log's parts together for the command line, as Server.cs does for serving: over the files of a data
// directory, whether or not a server runs on it, or over an exported file with nothing but the key file.

using System.Text;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;
using Coffer.Transfer;

namespace Coffer.Hosting;

/// <summary>Reads, exports and verifies audit logs.</summary>
internal static class AuditArchive
{
    /// <summary>What a verification found.</summary>
    /// <param name="Problems">What is wrong, naming the place; empty when all is well.</param>
    /// <param name="Entries">How many entries verify.</param>
    /// <param name="Checkpoints">How many checkpoints were held against them.</param>
    public sealed record AuditReport(IReadOnlyList<string> Problems, long Entries, int Checkpoints)
    {
        /// <summary>The roll-backs that an operator accepted, in words.</summary>
        public IReadOnlyList<string> Rollbacks { get; init; } = [];

        /// <summary>How many places that checkpoints name are of what was lost with them.</summary>
        public int Excused { get; init; }

        /// <summary>The segments of logs, but for those that begin with a log, in words.</summary>
        public IReadOnlyList<string> Segments { get; init; } = [];

        /// <summary>Whether the store was compared with an anchor, which needs the root key.</summary>
        public bool IsAnchored { get; init; }

        /// <summary>
        /// Whether nothing but public keys was there: then <see cref="Proven"/> is proven, and nothing else.
        /// </summary>
        public bool IsPublic { get; init; }

        /// <summary>Which entries checkpoints prove to anybody, in words.</summary>
        public IReadOnlyList<string> Proven { get; init; } = [];

        /// <summary>Which entries only the root key proves, in words.</summary>
        public IReadOnlyList<string> Unproven { get; init; } = [];
    }

    /// <summary>
    /// A field of an entry as text; null if it has none, or was changed so that it is no JSON any more.
    /// </summary>
    public static string? Field(string line, string name) => Verification.Field(Encoding.UTF8.GetBytes(line), name);

    /// <summary>The newest entries that a filter takes, newest first, as lines of JSON.</summary>
    public static async Task<IReadOnlyList<string>> ListAsync(StoreLocation source, AuditFilter filter, int limit,
        CancellationToken ct)
    {
        using var engine = await OpenAsync(source, ct);
        var search = new AuditSearch(engine, filter, after: null, limit);
        while (await search.StepAsync(ct))
            continue;
        return [.. search.Found.Select(entry => Encoding.UTF8.GetString(entry.Line.Span))];
    }

    /// <summary>Writes the whole log, with all that is needed to verify it elsewhere (docs/envelope.md).</summary>
    public static async Task ExportAsync(StoreLocation source, TextWriter to, CancellationToken ct)
    {
        using var engine = await OpenAsync(source, ct);
        await ExportedLog.WriteAsync(engine, to, ct);
    }

    /// <summary>The public keys of a store, as PEM: what verifies its log where nobody has its root key.</summary>
    public static async Task<string> PublicKeyAsync(StoreLocation source, CancellationToken ct)
    {
        var (_, keyFile, _) = DataDirectory.FilesOf(source.Data);
        using var engine = await OpenAsync(source, ct);
        var instance = await Instance.OpenAsync(engine, KeyWrappers.Open(source.KeysOr(keyFile)), ct);
        return instance.Signing.Public.ToPem(instance.Id);
    }

    /// <summary>
    /// Verifies the log of a data directory against its checkpoints: with its root key, or with public keys alone.
    /// </summary>
    /// <param name="source">Where the store is, and what wraps its root keys.</param>
    /// <param name="checkpoints">The checkpoint file, if it is not the one of the data directory.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="publicKeys">A file with the public keys; null asks for the root key.</param>
    /// <param name="anchor">An anchor to compare the store with; null is that of the data directory, if any.</param>
    /// <exception cref="ConfigurationException">The anchor is of another store, or not there.</exception>
    public static async Task<AuditReport> VerifyStoreAsync(StoreLocation source, string? checkpoints,
        CancellationToken ct, string? publicKeys = null, string? anchor = null)
    {
        var (_, keyFile, checkpointFile) = DataDirectory.FilesOf(source.Data);
        // Read before the store is opened: one that a running server adds meanwhile would speak of entries that are
        // not read.
        var signed = checkpoints is not null || File.Exists(checkpointFile)
            ? File.ReadAllLines(checkpoints ?? checkpointFile)
            : [];
        using var engine = await OpenAsync(source, ct);
        if (publicKeys is not null)
        {
            return await VerifyAsync(engine, ProofOf(publicKeys, await engine.FindMetaAsync(Control.StoreMetaKey, ct),
                await engine.FindMetaAsync(PublicKeys.MetaKey, ct)), signed, ct);
        }

        var instance = await Instance.OpenAsync(engine, KeyWrappers.Open(source.KeysOr(keyFile)), ct);
        var isAnchored = IsAnchored(anchor, Path.Combine(source.Data, DataDirectory.Anchor), instance);
        var report = await VerifyAsync(engine, AuditKeys.Of(instance).Proof, signed, ct);
        return report with { IsAnchored = isAnchored };
    }

    /// <summary>Verifies the log of a store that is open.</summary>
    /// <param name="engine">The store.</param>
    /// <param name="proof">What proves it.</param>
    /// <param name="signed">The lines of the checkpoint file, read before the store was opened.</param>
    /// <param name="ct">Ends it.</param>
    public static async Task<AuditReport> VerifyAsync(
        Engine engine, LogProof proof, string[] signed, CancellationToken ct)
    {
        var verification = new Verification(proof, signed);
        foreach (var (key, value) in await LogRows.AboutAsync(engine, ct))
            verification.AddMeta(key, value);
        await foreach (var row in LogRows.ReadAsync(engine, ct))
            verification.Add(row);
        return Finish(verification, proof);
    }

    /// <summary>
    /// Verifies an exported log with nothing but what wraps the root keys, or public keys, and checkpoints if there are
    /// any.
    /// </summary>
    /// <param name="file">The log.</param>
    /// <param name="keys">What wraps the root keys; null if there are public keys.</param>
    /// <param name="checkpoints">The checkpoint file, or null.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="publicKeys">A file with the public keys; null asks for the root key.</param>
    /// <param name="anchor">An anchor to compare the store with, or null.</param>
    /// <exception cref="ConfigurationException">
    /// The file is no export, the wrapper is not the store's, or the anchor is of another store.
    /// </exception>
    public static async Task<AuditReport> VerifyExportAsync(string file, KeySettings? keys, string? checkpoints,
        CancellationToken ct, string? publicKeys = null, string? anchor = null)
    {
        using var exported = new ExportedLog(file);
        var meta = exported.Stored.Meta;
        var instance = publicKeys is null ? await exported.OpenAsync(KeyWrappers.Open(keys!), ct) : null;
        var isAnchored = instance is not null && IsAnchored(anchor, own: null, instance);
        var proof = instance is not null
            ? AuditKeys.Of(instance).Proof
            : ProofOf(publicKeys!, meta.GetValueOrDefault(Control.StoreMetaKey),
                meta.GetValueOrDefault(PublicKeys.MetaKey));
        var verification = new Verification(proof, checkpoints is null ? [] : File.ReadAllLines(checkpoints));
        foreach (var (key, value) in meta)
            verification.AddMeta(key, value);
        foreach (var row in exported.Rows())
            verification.Add(row);
        if (exported.Trouble is { IsSeal: true } changed)
            return new AuditReport([changed.Text], verification.Entries, 0);
        var report = Finish(verification, proof) with { IsAnchored = isAnchored };
        return exported.Trouble is not { } cut ? report : report with { Problems = [.. report.Problems, cut.Text] };
    }

    /// <summary>Public keys as <see cref="PublicKeyAsync"/> shows them.</summary>
    /// <exception cref="ConfigurationException">There are none.</exception>
    public static PublicKeys PublicKeysIn(string text, string shown) => PublicKeys.FromPem(text)
        ?? throw new ConfigurationException($"{shown} is not a public key as coffer audit public-key shows it",
            "Give the file that holds what coffer audit public-key has shown.");

    private static LogProof ProofOf(string file, byte[]? store, byte[]? known)
    {
        var keys = PublicKeysIn(File.ReadAllText(file), file);
        if (store is null)
        {
            throw new ConfigurationException("the log is of a store that no release with public keys has opened",
                "Start the server once with this release, or verify with the key file.");
        }

        keys.Learn(store, PublicKeys.FromMeta(known));
        return new LogProof(Keys: null, keys, store);
    }

    private static bool IsAnchored(string? anchor, string? own, Instance instance)
    {
        if (anchor is not null && !File.Exists(anchor))
        {
            throw new ConfigurationException($"there is no anchor at {anchor}",
                "Give a copy of a node's coffer.anchor, or leave --anchor out.");
        }

        return (anchor ?? own) is { } path && new Anchor(path).Check(instance);
    }

    private static AuditReport Finish(Verification verification, LogProof proof)
    {
        verification.Finish();
        return new AuditReport(verification.Problems, verification.Entries, verification.Checkpoints)
        {
            Excused = verification.Excused,
            Rollbacks = [.. verification.AcceptedRollbacks.Select(accepted =>
                $"the log of {accepted.Node} went back from entry {accepted.Rollback.Lost} " +
                $"to entry {accepted.Rollback.To.Sequence}: " +
                $"accepted at {accepted.Rollback.Time.UtcDateTime:yyyy-MM-dd HH:mm:ss}Z " +
                $"as its roll-back {accepted.Rollback.Number}")],
            Segments = [.. verification.Segments.Select(segment => segment.ToString())],
            IsPublic = proof.Keys is null,
            Proven = [.. verification.Proven.Select(Words)],
            Unproven = [.. verification.Unproven.Select(Words)],
        };

        static string Words((string Node, long First, long Last) part) =>
            $"entries {part.First} to {part.Last} of {part.Node}";
    }

    // Beside a running server, if there is one: a store whose schema is up to date is not written.
    private static async Task<Engine> OpenAsync(StoreLocation source, CancellationToken ct)
    {
        var engine = await OpenEngineAsync(source, ct);
        try
        {
            await Instance.RequireWholeAsync(engine, ct);
            return engine;
        }
        catch
        {
            engine.Dispose();
            throw;
        }
    }

    private static async Task<Engine> OpenEngineAsync(StoreLocation source, CancellationToken ct)
    {
        if (source.Store is { } database)
            return await PostgresEngine.OpenSnapshotAsync(database, ct);
        var (store, _, _) = DataDirectory.FilesOf(source.Data);
        return File.Exists(store)
            ? SqliteEngine.OpenAnywhere(store)
            : throw new ConfigurationException($"there is no store in {source.Data}",
                "Give the --data directory of a store.");
    }
}
