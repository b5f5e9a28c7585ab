using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Transfer;

/// <summary>
/// The first line of a part of a back-up, as JSON: what has to be known to open it. It is in clear, and is believed
/// only as far as what is sealed after it says the same. A back-up has two parts: <see cref="Data"/> and
/// <see cref="Keys"/>.
/// </summary>
internal sealed record BackupHeader
{
    public const string Data = "data", Keys = "keys";

    /// <summary>A line is refused unread beyond this many bytes.</summary>
    public const int MostBytes = 1 << 20;

    private const string Format = "coffer-backup-v1";

    /// <summary><see cref="Data"/>, or <see cref="Keys"/>.</summary>
    public required string Part { get; init; }

    /// <summary>Which back-up this is a part of: 16 random bytes.</summary>
    public required byte[] Backup { get; init; }

    /// <summary>The store's id.</summary>
    public required byte[] Store { get; init; }

    /// <summary>Of the keys: 1, and one more each time that accounts were taken out. Of the data: 1.</summary>
    public required long Number { get; init; }

    /// <summary>When it was made, in Unix seconds.</summary>
    public required long Created { get; init; }

    /// <summary>Of the program that made it.</summary>
    public required string Version { get; init; }

    /// <summary>The schema that the rows have, by the numbers that both engines give it.</summary>
    public required (int Sqlite, int Postgres) Schema { get; init; }

    /// <summary>The root keys of the store, wrapped.</summary>
    public required IReadOnlyList<RootKeyRow> Roots { get; init; }

    public required IReadOnlyList<WrappingRow> Wrappings { get; init; }

    /// <summary>The recovery shares' row, if there is one: without it shares could not open the back-up.</summary>
    public byte[]? RecoveryShares { get; init; }

    /// <summary>The key of this part, sealed under the root key that sealed when it was made.</summary>
    public byte[] SealedKey { get; init; } = [];

    /// <summary>The root key that the key of this part is sealed under; null if it names none.</summary>
    public uint? RootVersion => Envelope.KeyVersionOf(SealedKey);

    /// <summary>The schema of this program.</summary>
    public static (int Sqlite, int Postgres) CurrentSchema { get; } =
        (Migrations.Of("sqlite").Count, Migrations.Of("postgres").Count);

    /// <summary>The id as it is shown.</summary>
    public string Id => Convert.ToHexStringLower(Backup);

    /// <summary>The same header with a fresh key, and the key.</summary>
    public (BackupHeader Header, SealingKey Key) WithKey(RootKeys roots)
    {
        using var fresh = SecretBytes.Rent(SealingKey.Size);
        RandomNumberGenerator.Fill(fresh.Span);
        using var bound = BoundToKey();
        var key = roots.Seal(SealedKind.BackupKey, fresh.Span, bound.Span);
        return (this with { SealedKey = key }, new SealingKey(1, fresh.Span));
    }

    /// <summary>Opens the key of this part, by the root key that it is sealed under.</summary>
    /// <exception cref="ConfigurationException">No wrapper that is set opens that root key.</exception>
    /// <exception cref="KeyServiceException">A wrapper could not be asked.</exception>
    /// <exception cref="BackupDamagedException">It does not open.</exception>
    public async Task<SealingKey> OpenKeyAsync(KeyWrappers wrappers, CancellationToken ct)
    {
        if (RootVersion is not { } version)
            throw new BackupDamagedException("its first line names no root key");
        var stored = new StoredKeys(Roots, Wrappings, new Dictionary<string, byte[]>());
        using var root = await stored.UnwrapAsync(wrappers, new RootKeyName(Store, version), ct);
        using var bound = BoundToKey();
        using var key = Envelope.Open(root, SealedKey, bound.Span)
            ?? throw new BackupDamagedException("its first line was changed: its key does not open");
        return key.Length == SealingKey.Size
            ? new SealingKey(1, key.Span)
            : throw new BackupDamagedException("its key is of another length");
    }

    public byte[] ToLine()
    {
        var json = new JsonObject
        {
            ["format"] = Format,
            ["part"] = Part,
            ["backup"] = Hex(Backup),
            ["store"] = Hex(Store),
            ["number"] = Number,
            ["created"] = Created,
            ["version"] = Version,
            ["schema"] = new JsonObject { ["sqlite"] = Schema.Sqlite, ["postgres"] = Schema.Postgres },
            ["root_keys"] = new JsonArray([.. Roots.Select(row => new JsonObject
            {
                ["version"] = row.Version,
                ["created"] = row.Created,
            })]),
            ["root_key_wrappings"] = new JsonArray([.. Wrappings.Select(row => new JsonObject
            {
                ["version"] = row.Version,
                ["wrapper"] = row.Wrapper,
                ["wrapped"] = Convert.ToBase64String(row.Wrapped),
                ["created"] = row.Created,
            })]),
            ["key"] = Convert.ToBase64String(SealedKey),
        };
        if (RecoveryShares is { } shares)
            json["recovery_shares"] = Convert.ToBase64String(shares);
        return Encoding.UTF8.GetBytes(json.ToJsonString());
    }

    /// <returns>Null if the line is no header of a back-up that this program knows.</returns>
    public static BackupHeader? Parse(ReadOnlySpan<byte> line)
    {
        try
        {
            var json = JsonNode.Parse(line);
            if ((string?)json.Part("format") != Format || (string?)json.Part("part") is not (Data or Keys))
                return null;
            return new BackupHeader
            {
                Part = (string)json.Part("part")!,
                Backup = Bytes(json, "backup", Convert.FromHexString),
                Store = Bytes(json, "store", Convert.FromHexString),
                Number = (long)json.Part("number"),
                Created = (long)json.Part("created"),
                Version = (string)json.Part("version")!,
                Schema = ((int)json.Part("schema").Part("sqlite"), (int)json.Part("schema").Part("postgres")),
                Roots = [.. json.Part("root_keys").AsArray().Select(row => new RootKeyRow(
                    (uint)row.Part("version"), (long)row.Part("created"), []))],
                Wrappings = [.. json.Part("root_key_wrappings").AsArray().Select(row => new WrappingRow(
                    (uint)row.Part("version"), (string)row.Part("wrapper")!,
                    Bytes(row, "wrapped", Convert.FromBase64String), (long)row.Part("created")))],
                RecoveryShares = json!["recovery_shares"] is null ? null
                    : Bytes(json, "recovery_shares", Convert.FromBase64String),
                SealedKey = Bytes(json, "key", Convert.FromBase64String),
            };
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or ArgumentException or OverflowException)
        {
            return null;
        }
    }

    private static byte[] Bytes(JsonNode? json, string name, Func<string, byte[]> read) =>
        read(json.Part(name).GetValue<string>());

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);

    private AssociatedData BoundToKey()
    {
        var bound = SealedKind.BackupKey.Bind();
        bound.Add(Store);
        bound.Add(Backup);
        bound.Add(Part);
        return bound;
    }
}

/// <summary>A back-up is not what Coffer wrote, or only a part of it.</summary>
/// <param name="what">What is wrong, as the end of a sentence.</param>
internal sealed class BackupDamagedException(string what) : Exception(what);
