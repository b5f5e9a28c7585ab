using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>A third-party program that keeps secrets here, with what it is set to.</summary>
/// <param name="Id"><c>app_…</c></param>
/// <param name="Name">For people; 1 to 200 characters.</param>
/// <param name="Account">The app's own account, in which its keys act when they name no other.</param>
/// <param name="Created">Unix seconds.</param>
internal sealed record App(string Id, string Name, string Account, long Created)
{
    public const int LongestName = 200;
    public const int MostOrigins = 20;

    private const byte DisabledTag = 1, QuotaTag = 2, OriginTag = 3, SigningTag = 4, GenerationTag = 16;

    /// <summary>While it is true every key of the app is refused.</summary>
    public bool IsDisabled { get; init; }

    /// <summary>How many secrets a scope may hold; null is the server's own quota.</summary>
    public int? SecretsPerScope { get; init; }

    /// <summary>The web origins from which browsers may use the app's keys; empty is any.</summary>
    public IReadOnlyList<string> Origins { get; init; } = [];

    /// <summary>What signs that a browser is a user: the newest, and the one before it while its grace period lasts.</summary>
    public IReadOnlyList<SigningSecret> SigningSecrets { get; init; } = [];

    /// <summary>The number of the commit that ended all that its keys had minted; 0 if none did.</summary>
    public long Generation { get; init; }

    /// <summary>An app with an account of its own and a first signing secret.</summary>
    public static (App App, string SigningSecret) Create(string name, long now)
    {
        var (secret, text) = SigningSecret.Generate();
        return (new App(NewId("app_"), name, NewId("acct_"), now) { SigningSecrets = [secret] }, text);
    }

    /// <summary>Whether what it is set to was changed outside Coffer: then its keys are refused, and nothing of it is known but its id and name.</summary>
    public bool IsDamaged { get; private init; }

    public IEnumerable<SigningSecret> SigningSecretsAt(long now) => SigningSecrets.Where(secret => !(secret.ExpiresAt <= now));

    public AppRow ToRow(Instance instance)
    {
        var fields = new List<(byte Tag, ReadOnlyMemory<byte> Value)>();
        if (IsDisabled)
            fields.Add((DisabledTag, default));
        if (SecretsPerScope is { } quota)
        {
            var value = new byte[sizeof(int)];
            BinaryPrimitives.WriteInt32BigEndian(value, quota);
            fields.Add((QuotaTag, value));
        }

        fields.AddRange(Origins.Select(origin => (OriginTag, (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(origin))));
        fields.AddRange(SigningSecrets.Select(secret => (SigningTag, secret.Stored)));

        if (Generation > 0)
        {
            var value = new byte[sizeof(long)];
            BinaryPrimitives.WriteInt64BigEndian(value, Generation);
            fields.Add((GenerationTag, value));
        }

        using var plaintext = SecretBytes.Rent(fields.Sum(field => Tlv.SizeOf(field.Value.Span)));
        var rest = plaintext.Span;
        foreach (var (tag, value) in fields)
            rest = Tlv.Write(rest, tag, value.Span);
        using var bound = Bind(instance, Id, Account, Created);
        return new AppRow(Id, Name, Account, Created, instance.Roots.Seal(plaintext.Span, bound.Span));
    }

    /// <exception cref="ApiError">The row was changed outside Coffer.</exception>
    public static App From(AppRow row, Instance instance) => Seen(row, instance) is { IsDamaged: false } app ? app : throw ApiError.RecordDamaged("app");

    /// <summary>The app as it stands there, damaged or not: to be shown, or deleted.</summary>
    public static App Seen(AppRow row, Instance instance)
    {
        var app = new App(row.Id, row.Name, row.Account, row.Created);
        if (row.Sealed is null)
            return app;
        using var bound = Bind(instance, row.Id, row.Account, row.Created);
        using var settings = instance.Roots.Open(row.Sealed, bound.Span);
        if (settings is null)
            return app with { IsDamaged = true };
        var fields = settings.Memory;
        return app with
        {
            IsDisabled = Tlv.Find(fields.Span, DisabledTag) is not null,
            SecretsPerScope = Tlv.Find(fields.Span, QuotaTag) is { } quota ? BinaryPrimitives.ReadInt32BigEndian(fields.Span[quota]) : null,
            Origins = [.. Tlv.All(fields.Span, OriginTag).Select(origin => Encoding.UTF8.GetString(fields.Span[origin]))],
            SigningSecrets = [.. Tlv.All(fields.Span, SigningTag).Select(secret => SigningSecret.From(fields.Span[secret]))],
            Generation = Tlv.Find(fields.Span, GenerationTag) is { } generation ? BinaryPrimitives.ReadInt64BigEndian(fields.Span[generation]) : 0,
        };
    }

    private static AssociatedData Bind(Instance instance, string id, string account, long created)
    {
        var bound = new AssociatedData("coffer v1 app"u8);
        bound.Add(instance.Id);
        bound.Add(id);
        bound.Add(account);
        bound.Add(created);
        return bound;
    }

    private static string NewId(string prefix) => prefix + RandomNumberGenerator.GetString(Base62.Alphabet, 16);
}

/// <summary>
/// A key that an app's backend shares with this store, <c>absec_…</c>: what is signed with it comes from here. Its text is
/// the key, as with Stripe's. Stored as expiry (8 bytes, big-endian, 0 for none) and text.
/// </summary>
internal sealed class SigningSecret
{
    private readonly SecretBytes stored;

    private SigningSecret(ReadOnlySpan<byte> stored) => this.stored = SecretBytes.ForKey(stored);

    /// <summary>From this Unix second on it signs no more; null is never.</summary>
    public long? ExpiresAt => BinaryPrimitives.ReadInt64BigEndian(stored.Span) is var at and > 0 ? at : null;

    public ReadOnlyMemory<byte> Stored => stored.Memory;

    public static (SigningSecret Secret, string Text) Generate()
    {
        var text = Tokens.Generate("absec_");
        return (From([0, 0, 0, 0, 0, 0, 0, 0, .. Encoding.ASCII.GetBytes(text)]), text);
    }

    public static SigningSecret From(ReadOnlySpan<byte> stored) => new(stored);

    public SigningSecret Until(long expiresAt)
    {
        var until = new SigningSecret(stored.Span);
        BinaryPrimitives.WriteInt64BigEndian(until.stored.Span, expiresAt);
        return until;
    }

    /// <summary>HMAC-SHA256 of a message.</summary>
    public byte[] Sign(ReadOnlySpan<byte> message)
    {
        var signature = HMACSHA256.HashData(stored.Span[sizeof(long)..], message);
        GC.KeepAlive(stored);
        return signature;
    }

    public override string ToString() => "[redacted]";
}
