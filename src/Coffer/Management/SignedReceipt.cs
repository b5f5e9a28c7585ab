using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Management;

/// <summary>
/// A receipt as somebody holds it: a JSON Web Signature (RFC 7515, compact, ES256) of a store (docs/management.md,
/// "Receipts"). It is believed by the keys that sign of that store, and by each that one of them has signed.
/// </summary>
/// <param name="Id"><c>rcpt_…</c></param>
/// <param name="App">The app.</param>
/// <param name="Account">The account.</param>
/// <param name="ForgottenAt">When it was forgotten, or taken out of the back-up, in Unix seconds.</param>
/// <param name="Statement">What was signed, as JSON.</param>
internal sealed record SignedReceipt(string Id, string App, string Account, long ForgottenAt, string Statement)
{
    /// <summary>What a file with a receipt ends in.</summary>
    public const string Suffix = ".jws";

    /// <summary>The <c>object</c> of a receipt for an account that the store has forgotten.</summary>
    public const string Forgotten = "account.forgotten";

    /// <summary>The same for one that an app was uninstalled from, in one mode.</summary>
    public const string Uninstalled = "account.uninstalled";

    /// <summary>The same for one that was taken out of a back-up.</summary>
    public const string TakenOut = "backup.account_forgotten";

    private const int MostBytes = 1 << 20;

    private static readonly string Header = Encode("""{"alg":"ES256","typ":"JWT"}""");

    /// <summary>The back-up that the account was taken out of, and which part of it has its keys no more.</summary>
    public (string Backup, long Part)? BackUp { get; private init; }

    /// <summary>The mode that the app was uninstalled in; null is of both.</summary>
    public bool? Livemode { get; private init; }

    public static string NewId() => "rcpt_" + RandomNumberGenerator.GetString(Base62.Alphabet, 24);

    /// <summary>Signs a statement with the newest key of a store, which is named in it.</summary>
    public static string Sign(Instance instance, JsonObject statement)
    {
        statement["generation"] = instance.Facts?.Generation.ToString();
        statement["instance"] = Convert.ToHexStringLower(instance.Id);
        var signing = instance.Signing;
        statement["signing_key"] = signing.Number;
        if (signing.Public.Later is { Count: > 0 } successors)
            statement["signing_keys"] = new JsonArray([.. successors.Select(key => key.ToJson())]);
        var signed = $"{Header}.{Encode(statement.ToJsonString())}";
        var signature = signing.Newest.SignData(
            Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256,
            DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        return $"{signed}.{Base64Url.EncodeToString(signature)}";
    }

    /// <summary>Reads the file of a receipt.</summary>
    /// <param name="file">The file.</param>
    /// <param name="store">The store that it must be of; null is whichever the keys are of.</param>
    /// <param name="signers">The keys that are believed.</param>
    /// <exception cref="InvalidDataException">It is none, or of another store; the end of a sentence.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static SignedReceipt ReadFile(string file, byte[]? store, PublicKeys signers) =>
        new FileInfo(file).Length > MostBytes
            ? throw new InvalidDataException("it is too long for a receipt")
            : Read(File.ReadAllText(file).Trim(), store, signers);

    /// <inheritdoc cref="ReadFile"/>
    public static SignedReceipt Read(string text, byte[]? store, PublicKeys signers)
    {
        try
        {
            if (text.Split('.') is not [var header, var payload, var signature] || header != Header)
                throw new FormatException();
            var statement = Encoding.UTF8.GetString(Base64Url.DecodeFromChars(payload));
            var json = JsonNode.Parse(statement);
            var its = Convert.FromHexString((string)json.Part("instance")!);
            if (store is not null && !its.AsSpan().SequenceEqual(store))
                throw new InvalidDataException($"it is of another store, {Convert.ToHexStringLower(its)}");
            if (!IsSigned(json, its, signers, $"{header}.{payload}", Base64Url.DecodeFromChars(signature)))
                throw new InvalidDataException("it was not signed by this store, or was edited");
            return Stated(json, statement);
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or ArgumentException or OverflowException or CryptographicException)
        {
            throw new InvalidDataException("it is not a receipt", e);
        }
    }

    // A key of a later time is believed if one that is believed has signed it, and only for this receipt.
    private static bool IsSigned(
        JsonNode? json, byte[] store, PublicKeys signers, string signed, ReadOnlySpan<byte> signature)
    {
        var believed = new PublicKeys(signers.All);
        if (json!["signing_keys"] is { } later)
            believed.Learn(store, PublicKeys.Parse(later));
        var number = json["signing_key"] is { } key ? (uint)key : 1; // earlier releases named none, and had one
        return believed.Verify(number, Encoding.ASCII.GetBytes(signed), signature);
    }

    private static SignedReceipt Stated(JsonNode? json, string statement)
    {
        var receipt = new SignedReceipt((string)json.Part("id")!, (string)json.Part("app")!,
            (string)json.Part("account")!, (long)json.Part("forgotten_at"), statement);
        return (string?)json.Part("object") switch
        {
            Forgotten => receipt,
            Uninstalled => receipt with { Livemode = (bool)json.Part("livemode")! },
            TakenOut => receipt with
            {
                BackUp = ((string)json.Part("backup")!, (long)json.Part("part")),
            },
            _ => throw new InvalidDataException("it states what this program does not know: use a newer one"),
        };
    }

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
