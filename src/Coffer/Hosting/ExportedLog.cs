using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// An exported log: a header with what <c>meta</c> has of the store's keys and of the log, as it is stored; each
/// commit's entries, and after them its seal; and an end, without which it was cut (docs/envelope.md, "Public chain").
/// </summary>
internal sealed class ExportedLog : IDisposable
{
    // Of releases before: without an end; then without public chains; then without wrappings.
    private const int Format = 4, WithoutEnd = 3, WithoutPublicChain = 2, WithoutWrappings = 1;

    private readonly string file;
    private readonly IEnumerator<string> lines;
    private readonly int format;

    /// <summary>Reads the header.</summary>
    /// <exception cref="ConfigurationException">The file is no export.</exception>
    public ExportedLog(string file)
    {
        this.file = file;
        lines = File.ReadLines(file).GetEnumerator();
        (format, Stored) = Parse(lines.MoveNext() ? lines.Current : "") ?? throw NotOne();
    }

    /// <summary>What it has of the store's keys; its meta has what is about the log too.</summary>
    public StoredKeys Stored { get; }

    /// <summary>
    /// What is wrong with the file, after the rows: a line that is no longer a seal, or an end that was cut off.
    /// </summary>
    public (bool IsSeal, string Text)? Trouble { get; private set; }

    /// <summary>Writes it.</summary>
    public static async Task WriteAsync(Engine engine, TextWriter to, CancellationToken ct)
    {
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
        foreach (var (key, value) in await LogRows.AboutAsync(engine, ct))
            header["meta"]![key] = Convert.ToBase64String(value);
        if (await engine.FindMetaAsync(PublicKeys.MetaKey, ct) is { } known)
            header["meta"]![PublicKeys.MetaKey] = Convert.ToBase64String(known);
        await to.WriteLineAsync(header.ToJsonString());
        var end = new End();
        await foreach (var row in LogRows.ReadAsync(engine, ct))
        {
            foreach (var line in Verification.Lines(row))
                await to.WriteLineAsync(Encoding.UTF8.GetString(line.Span));
            await to.WriteLineAsync(Seal(row).ToJsonString());
            end.Add(row);
        }

        await to.WriteLineAsync(end.ToLine());
    }

    /// <summary>Opens the store's keys.</summary>
    /// <exception cref="ConfigurationException">The wrapper is not the store's.</exception>
    public async Task<Instance> OpenAsync(KeyWrappers wrappers, CancellationToken ct)
    {
        try
        {
            return await Instance.OpenAsync(Stored, wrappers, ct);
        }
        catch (Exception e) when (e is FormatException or InvalidOperationException or ArgumentException)
        {
            throw NotOne();
        }
    }

    /// <summary>Its rows, until the end or <see cref="Trouble"/>.</summary>
    public IEnumerable<AuditRow> Rows()
    {
        using var entries = new MemoryStream();
        var end = new End();
        var isEnded = format <= WithoutEnd;
        for (var number = 2; lines.MoveNext(); number++)
        {
            if (lines.Current.StartsWith(End.Begin, StringComparison.Ordinal))
            {
                isEnded = lines.Current == end.ToLine() && !lines.MoveNext();
                break;
            }

            if (!lines.Current.StartsWith("{\"seal\":", StringComparison.Ordinal))
            {
                entries.Write(Encoding.UTF8.GetBytes(lines.Current + "\n"));
                continue;
            }

            if (Row(lines.Current, entries.ToArray()) is not { } row)
            {
                Trouble = (true, $"line {number} of {file} was changed: it is no longer a seal");
                yield break;
            }

            yield return row;
            end.Add(row);
            entries.SetLength(0);
        }

        if (entries.Length > 0)
            Trouble = (false, $"{file} ends in entries without their seal: its end was cut off");
        else if (!isEnded)
            Trouble = (false, $"{file} does not end as it was written: its end was cut off, or commits were taken out");
    }

    public void Dispose() => lines.Dispose();

    private static JsonObject Seal(AuditRow row)
    {
        var seal = new JsonObject
        {
            ["seal"] = Convert.ToHexStringLower(row.Mac),
            ["node"] = row.Node,
            ["first"] = row.First,
            ["last"] = row.Last,
        };
        if (row.Public is not null)
            seal["public"] = Convert.ToHexStringLower(row.Public);
        return seal;
    }

    private static AuditRow? Row(string line, byte[] entries)
    {
        try
        {
            var seal = JsonNode.Parse(line);
            return new AuditRow(seal.Part("node").GetValue<string>(), (long)seal.Part("first"), (long)seal.Part("last"),
                Convert.FromHexString(seal.Part("seal").GetValue<string>()), entries)
            {
                Public = seal!["public"] is { } known ? Convert.FromHexString(known.GetValue<string>()) : null,
            };
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentException
            or InvalidOperationException or OverflowException)
        {
            return null;
        }
    }

    private static (int Format, StoredKeys Stored)? Parse(string header)
    {
        try
        {
            var json = JsonNode.Parse(header);
            var found = (int)json.Part("coffer_audit_export");
            if (found is not (WithoutWrappings or WithoutPublicChain or WithoutEnd or Format))
                return null;
            var meta = json.Part("meta").AsObject().ToDictionary(entry => entry.Key,
                entry => Convert.FromBase64String((string)entry.Value!));
            RootKeyRow[] roots = [.. json.Part("root_keys").AsArray().Select(
                root => new RootKeyRow((uint)root.Part("version"), 0, Bytes(root)))];
            WrappingRow[] wrappings = found == WithoutWrappings ? []
                : [.. json.Part("root_key_wrappings").AsArray().Select(row => new WrappingRow(
                    (uint)row.Part("version"), row.Part("wrapper").GetValue<string>(), Bytes(row), 0))];
            return (found, new StoredKeys(roots, wrappings, meta));
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or ArgumentException or OverflowException)
        {
            return null;
        }
    }

    private static byte[] Bytes(JsonNode? row) => Convert.FromBase64String(row.Part("wrapped").GetValue<string>());

    private ConfigurationException NotOne() => new(
        $"{file} is not an exported audit log, or its first line was changed",
        "Export it again with: coffer audit export --data DIR");

    /// <summary>The last line: how much there is, and the seal of each node's last commit.</summary>
    private sealed class End
    {
        public const string Begin = "{\"end\":";

        private readonly SortedDictionary<string, string> seals = new(StringComparer.Ordinal);
        private long commits, entries;

        public void Add(AuditRow row)
        {
            (commits, entries) = (commits + 1, entries + row.Last - row.First + 1);
            seals[row.Node] = Convert.ToHexStringLower(row.Mac);
        }

        public string ToLine() => new JsonObject
        {
            ["end"] = commits,
            ["entries"] = entries,
            ["seals"] = new JsonObject(seals.Select(seal => KeyValuePair.Create(seal.Key, (JsonNode?)seal.Value))),
        }.ToJsonString();
    }
}
