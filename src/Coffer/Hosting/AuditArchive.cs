// Puts the audit log's parts together for the command line, as Server.cs does for serving: over the files of a data
// directory, whether or not a server runs on it, or over an exported file with nothing but the key file.

using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Access;
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
    // Of an export: of a store with a control row, and of one without.
    private const int Format = 2, FormatOfLevelOne = 1;

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

    /// <summary>
    /// Writes the whole log as lines of JSON: a header with the store's keys, wrapped as they are stored; each commit's
    /// entries, and after them its seal.
    /// </summary>
    public static async Task ExportAsync(StoreLocation source, TextWriter to, CancellationToken ct)
    {
        using var engine = await OpenAsync(source, ct);
        var stored = await StoredKeys.ReadAsync(engine, ct);
        var header = new JsonObject
        {
            ["coffer_audit_export"] = Format,
            ["root_keys"] = new JsonArray([.. stored.Roots.Select(root => new JsonObject
            {
                ["version"] = root.Version,
                ["wrapped"] = Convert.ToBase64String(root.Wrapped),
            })]),
            ["root_key_wrappings"] = new JsonArray([.. stored.Wrappings.Select(row => new JsonObject
            {
                ["version"] = row.Version,
                ["wrapper"] = row.Wrapper,
                ["wrapped"] = Convert.ToBase64String(row.Wrapped),
            })]),
            ["meta"] = new JsonObject(stored.Meta.Select(
                meta => KeyValuePair.Create(meta.Key, (JsonNode?)Convert.ToBase64String(meta.Value)))),
        };
        foreach (var (key, value) in await AboutLogAsync(engine, ct))
            header["meta"]![key] = Convert.ToBase64String(value);
        await to.WriteLineAsync(header.ToJsonString());
        await foreach (var row in RowsAsync(engine, ct))
        {
            foreach (var line in Verification.Lines(row))
                await to.WriteLineAsync(Encoding.UTF8.GetString(line.Span));
            await to.WriteLineAsync(new JsonObject
            {
                ["seal"] = Convert.ToHexStringLower(row.Mac),
                ["node"] = row.Node,
                ["first"] = row.First,
                ["last"] = row.Last,
            }.ToJsonString());
        }
    }

    /// <summary>Verifies the log of a data directory against its key and its checkpoints.</summary>
    public static async Task<AuditReport> VerifyStoreAsync(
        StoreLocation source, string? checkpoints, CancellationToken ct)
    {
        var (_, keyFile, checkpointFile) = DataDirectory.FilesOf(source.Data);
        // Read before the store is opened: one that a running server adds meanwhile would speak of entries that are
        // not read.
        var signed = checkpoints is not null || File.Exists(checkpointFile)
            ? File.ReadAllLines(checkpoints ?? checkpointFile)
            : [];
        using var engine = await OpenAsync(source, ct);
        var instance = await Instance.OpenAsync(engine, KeyWrappers.Open(source.KeysOr(keyFile)), ct);
        return await VerifyAsync(engine, instance, signed, ct);
    }

    /// <summary>Verifies the log of a store that is open.</summary>
    /// <param name="engine">The store.</param>
    /// <param name="instance">Its keys.</param>
    /// <param name="signed">The lines of the checkpoint file, read before the store was opened.</param>
    /// <param name="ct">Ends it.</param>
    public static async Task<AuditReport> VerifyAsync(
        Engine engine, Instance instance, string[] signed, CancellationToken ct)
    {
        var verification = Verifier(instance, signed);
        foreach (var (key, value) in await AboutLogAsync(engine, ct))
            verification.AddMeta(key, value);
        await foreach (var row in RowsAsync(engine, ct))
            verification.Add(row);
        return Finish(verification);
    }

    /// <summary>
    /// Verifies an exported log with nothing but what wraps the root keys, and checkpoints if there are any.
    /// </summary>
    /// <exception cref="ConfigurationException">The file is no export, or the wrapper is not the store's.</exception>
    public static async Task<AuditReport> VerifyExportAsync(
        string file, KeySettings keys, string? checkpoints, CancellationToken ct)
    {
        using var lines = File.ReadLines(file).GetEnumerator();
        var header = lines.MoveNext() ? lines.Current : "";
        var (instance, meta) = await OpenExportedAsync(header, KeyWrappers.Open(keys), file, ct);
        var verification = Verifier(instance, checkpoints is null ? [] : File.ReadAllLines(checkpoints));
        foreach (var (key, value) in meta)
            verification.AddMeta(key, value);
        using var entries = new MemoryStream();
        var number = 1;
        while (lines.MoveNext())
        {
            number++;
            if (!lines.Current.StartsWith("{\"seal\":", StringComparison.Ordinal))
            {
                entries.Write(Encoding.UTF8.GetBytes(lines.Current + "\n"));
                continue;
            }

            try
            {
                var seal = JsonNode.Parse(lines.Current);
                verification.Add(
                    new AuditRow(seal.Part("node").GetValue<string>(), (long)seal.Part("first"),
                        (long)seal.Part("last"), Convert.FromHexString(seal.Part("seal").GetValue<string>()),
                        entries.ToArray()));
            }
            catch (Exception e) when (e is JsonException or FormatException or ArgumentException
                or InvalidOperationException or OverflowException)
            {
                return new AuditReport([$"line {number} of {file} was changed: it is no longer a seal"],
                    verification.Entries, 0);
            }

            entries.SetLength(0);
        }

        var report = Finish(verification);
        return entries.Length == 0 ? report : report with
        {
            Problems = [.. report.Problems, $"{file} ends in entries without their seal: its end was cut off"],
        };
    }

    private static Verification Verifier(Instance instance, string[] checkpoints) =>
        new(instance.AuditKey, instance.AuditSigningKey, instance.Id, checkpoints);

    private static AuditReport Finish(Verification verification)
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
        };
    }

    // Where the logs of nodes begin, and where they went back.
    private static async Task<IEnumerable<(string Key, byte[] Value)>> AboutLogAsync(
        Engine engine, CancellationToken ct)
    {
        var cuts = await engine.ListMetaAsync(AuditCut.MetaPrefix, ct);
        return [.. cuts, .. await engine.ListMetaAsync(Rollbacks.MetaPrefix, ct)];
    }

    private static async Task<(Instance Instance, Dictionary<string, byte[]> Meta)> OpenExportedAsync(
        string header, KeyWrappers wrappers, string file, CancellationToken ct)
    {
        try
        {
            var json = JsonNode.Parse(header);
            if ((int)json.Part("coffer_audit_export") is var format and (FormatOfLevelOne or Format))
            {
                var meta = json.Part("meta").AsObject().ToDictionary(entry => entry.Key,
                    entry => Convert.FromBase64String((string)entry.Value!));
                RootKeyRow[] roots = [.. json.Part("root_keys").AsArray().Select(
                    root => new RootKeyRow((uint)root.Part("version"), 0, Bytes(root)))];
                WrappingRow[] wrappings = format == FormatOfLevelOne ? []
                    : [.. json.Part("root_key_wrappings").AsArray().Select(row => new WrappingRow(
                        (uint)row.Part("version"), row.Part("wrapper").GetValue<string>(), Bytes(row), 0))];
                return (await Instance.OpenAsync(new StoredKeys(roots, wrappings, meta), wrappers, ct), meta);
            }
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or ArgumentException or OverflowException)
        {
            // said below
        }

        throw new ConfigurationException($"{file} is not an exported audit log, or its first line was changed",
            "Export it again with: coffer audit export --data DIR");
    }

    private static byte[] Bytes(JsonNode? row) => Convert.FromBase64String(row.Part("wrapped").GetValue<string>());

    private static async IAsyncEnumerable<AuditRow> RowsAsync(Engine engine,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken ct)
    {
        var bound = 0L;
        while (await engine.ListAuditAsync(bound, newestFirst: false, Scans.StepSize, ct) is { Count: > 0 } rows)
        {
            foreach (var (number, row) in rows)
            {
                if (number <= bound)
                    throw ApiError.Contradictory("audit rows are not in the order of their numbers");
                bound = number;
                yield return row;
            }
        }
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
            ? SqliteEngine.Open(store)
            : throw new ConfigurationException($"there is no store in {source.Data}",
                "Give the --data directory of a store.");
    }
}
