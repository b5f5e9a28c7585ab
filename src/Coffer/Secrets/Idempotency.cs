using System.Globalization;
using System.Text;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>An idempotency key that came with a request.</summary>
/// <param name="Key">1 to 255 characters of the client's choice.</param>
/// <param name="RequestId">The id of this request, to be named by replays as their <c>Original-Request</c>.</param>
internal sealed record IdempotencyClaim(string Key, string RequestId);

/// <summary>What became of a write: the secret, or the refusal that is kept as its outcome.</summary>
/// <param name="Secret">The secret set or deleted.</param>
/// <param name="Error">Why not.</param>
/// <param name="OriginalRequest">
/// For a replay the id of the request that was carried out; null for that request itself.
/// </param>
internal sealed record WriteOutcome(Secret? Secret, ApiError? Error, string? OriginalRequest = null);

/// <summary>
/// The claim on an idempotency key by one write, and the outcome that is kept under it, sealed, in the same transaction
/// as the change. A kept secret leaves out what the repeated request, being the same, says again: name, scope, and the
/// payload of a set.
/// </summary>
/// <param name="instance">Whose store it is.</param>
/// <param name="tenant">For whom it is claimed.</param>
/// <param name="caller">Who claims it.</param>
/// <param name="claim">The key.</param>
/// <param name="fingerprintOf">Tells by a seed whether two requests are the same.</param>
internal sealed class Idempotency(Instance instance, Tenant tenant, Caller caller, IdempotencyClaim claim,
    Func<TenantSeed, byte[]> fingerprintOf)
{
    /// <summary>How long an outcome is kept; afterwards the key is as new.</summary>
    public static readonly TimeSpan KeptFor = TimeSpan.FromHours(24);

    /// <summary>
    /// The longest payload that is kept for an ephemeral key, in bytes. What a browser deletes with a longer one is
    /// refused: an outcome that is kept is kept whole, and browsers keep small ones only.
    /// </summary>
    public const int LargestPayload = 2_048;

    /// <summary>
    /// The longest message that is kept, in characters. One that is longer has the whole name in it, which a repetition
    /// says again.
    /// </summary>
    private const int LongestMessage = 500;

    private const byte RequestTag =
        1, StatusTag = 2, IdTag = 3, CreatedTag = 4, ExpiresTag = 5, VersionTag = 6, PayloadTag = 7,
        TypeTag = 8, CodeTag = 9, ParamTag = 10, MessageTag = 11;

    public string Key => claim.Key;

    public IdempotencyKey Row { get; } = new(tenant.Number, IndexOf(tenant.Keys.Seed, caller, claim.Key));

    /// <summary>Where an outcome of before stands that was kept under a seed which is retired.</summary>
    public IdempotencyKey OlderRow(TenantSeed seed) => new(tenant.Number, IndexOf(seed, caller, claim.Key));

    /// <summary>The row that keeps an outcome.</summary>
    public RowWrite.PutIdempotency Keep(WriteOutcome outcome, long now)
    {
        var fields = new List<(byte Tag, ReadOnlyMemory<byte> Value)> { (RequestTag, Utf8(claim.RequestId)) };
        if (outcome.Secret is { } secret)
        {
            Add(IdTag, secret.Id);
            Add(CreatedTag, Text(secret.Created));
            Add(ExpiresTag, secret.ExpiresAt is { } at ? Text(at) : null);
            Add(VersionTag, Text(secret.Version));
            // Only a deleted payload is kept: it is this secret's own, where a set's payload is the request's.
            if (secret is { Payload: { } payload, Owner: not null })
                fields.Add((PayloadTag, payload));
        }
        else if (outcome.Error is { } error)
        {
            Add(StatusTag, Text(error.Status));
            Add(TypeTag, error.Type);
            Add(CodeTag, error.Code);
            Add(ParamTag, error.Param);
            if (error.Message.Length <= LongestMessage || error.Code != "resource_missing")
                Add(MessageTag, error.Message);
        }

        using var plaintext = SecretBytes.Rent(fields.Sum(field => Tlv.SizeOf(field.Value.Span)));
        var rest = plaintext.Span;
        foreach (var (tag, value) in fields)
            rest = Tlv.Write(rest, tag, value.Span);
        var fingerprint = fingerprintOf(tenant.Keys.Seed);
        using var bound = Bind(instance, tenant.Id, Row.Key, fingerprint, now);
        var outcomeBytes = tenant.Keys.Seal(SealedKind.Outcome, plaintext.Span, bound.Span);
        return new RowWrite.PutIdempotency(new IdempotencyRow(Row, fingerprint, now, outcomeBytes));

        void Add(byte tag, string? value)
        {
            if (value is not null)
                fields.Add((tag, Utf8(value)));
        }
    }

    /// <summary>What is kept, sealed again under the tenant's newest key; null if it does not open.</summary>
    public static byte[]? Reseal(Instance instance, Tenant tenant, IdempotencyRow row)
    {
        using var bound = Bind(instance, tenant.Id, row.Key.Key, row.Fingerprint, row.Created);
        return row.IsSound ? tenant.Keys.Reseal(SealedKind.Outcome, row.Sealed, bound.Span) : null;
    }

    /// <summary>The outcome that is kept under the key, if it is of the same request and not yet too old.</summary>
    /// <param name="kept">What is stored under the key, or null.</param>
    /// <param name="seed">The seed that it stands under.</param>
    /// <param name="request">
    /// The secret as the repeated request names it: name, scope, mode, and for a set its payload.
    /// </param>
    /// <param name="now">Unix seconds.</param>
    /// <exception cref="ApiError">
    /// The key was first used for another request, or the record was changed outside Coffer.
    /// </exception>
    public WriteOutcome? Replay(IdempotencyRow? kept, TenantSeed seed, Secret request, long now)
    {
        if (kept is null || (kept.IsSound && kept.Created + (long)KeptFor.TotalSeconds <= now))
            return null;

        using var bound = Bind(instance, tenant.Id, kept.Key.Key, kept.Fingerprint, kept.Created);
        var plaintext = kept.IsSound ? tenant.Keys.Open(kept.Sealed, bound.Span) : null;
        if (plaintext is null)
            throw Damaged(kept.Key);

        var owner = plaintext;
        try
        {
            if (!kept.Fingerprint.AsSpan().SequenceEqual(fingerprintOf(seed)))
                throw ApiError.IdempotencyMismatch(claim.Key);

            if (Read(plaintext, request) is not { } outcome)
                throw Damaged(kept.Key);
            if (outcome.Secret?.Owner is not null)
                owner = null;
            return outcome;
        }
        finally
        {
            owner?.Dispose();
        }
    }

    // Null if it is not in the form in which Keep writes it: a refusal, or a secret, and nothing else.
    private static WriteOutcome? Read(SecretBytes plaintext, Secret request)
    {
        var fields = plaintext.Span;
        if (Tlv.Text(fields, RequestTag) is not { } original)
            return null;
        if (Tlv.AreSound(fields, [RequestTag, StatusTag, TypeTag, CodeTag, ParamTag, MessageTag]))
        {
            if (Number(fields, StatusTag) is not ({ } status and >= 400 and <= 599)
                || Tlv.Text(fields, TypeTag) is not { } type || !Tlv.IsTextOrNone(fields, MessageTag)
                || !Tlv.IsTextOrNone(fields, CodeTag) || !Tlv.IsTextOrNone(fields, ParamTag))
                return null;
            var (code, param) = (Tlv.Text(fields, CodeTag), Tlv.Text(fields, ParamTag));
            var message = Tlv.Text(fields, MessageTag);
            if (message is null && code != "resource_missing")
                return null;
            message ??= ApiError.NoSuchSecret(request.Name.Text).Message;
            return new WriteOutcome(null, ApiError.Kept((int)status, type, code, param, message), original);
        }

        if (!Tlv.AreSound(fields, [RequestTag, IdTag, CreatedTag, ExpiresTag, VersionTag, PayloadTag])
            || Tlv.Text(fields, IdTag) is not { } id
            || Number(fields, CreatedTag) is not { } created || !UnixTime.IsStorable(created)
            || Number(fields, VersionTag) is not { } version || version < 1 || !IsNumberOrNone(fields, ExpiresTag)
            || !UnixTime.IsStorable(Number(fields, ExpiresTag)) || !Tlv.IsTextOrNone(fields, PayloadTag))
            return null;
        var expires = Number(fields, ExpiresTag);
        var secret = request with { Id = id, Created = created, ExpiresAt = expires, Version = version };
        if (Tlv.Find(fields, PayloadTag) is { } payload)
            secret = secret with { Payload = plaintext.Memory[payload], Owner = plaintext };
        return new WriteOutcome(secret, null, original);
    }

    private static bool IsNumberOrNone(ReadOnlySpan<byte> fields, byte tag) =>
        Tlv.Find(fields, tag) is null || Number(fields, tag) is not null;

    // As Text writes it: digits, no zero before them.
    private static long? Number(ReadOnlySpan<byte> fields, byte tag) =>
        Tlv.Text(fields, tag) is { } text
        && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && Text(number) == text
            ? number
            : null;

    private ApiError Damaged(IdempotencyKey at) => ApiError.RecordDamaged("idempotency record",
        new DamagedRow("idempotency", $"tenant {at.Tenant}, key {Convert.ToHexStringLower(at.Key)}", "its proof")
        {
            App = tenant.Id.App,
            Account = tenant.Id.Account,
        });

    // Backends of an app share what their keys claim; what a browser claims is its user's.
    private static byte[] IndexOf(TenantSeed seed, Caller caller, string key)
    {
        if (caller.Kind != KeyKind.Ephemeral)
            return seed.BlindIndex(Encoding.UTF8.GetBytes("idempotency key " + key));
        using var bound = new AssociatedData("idempotency key of a user"u8);
        bound.Add(caller.User.Span);
        bound.Add(key);
        return seed.BlindIndex(bound.Span);
    }

    private static AssociatedData Bind(
        Instance instance, TenantId tenant, byte[] key, byte[] fingerprint, long created)
    {
        var bound = Tenants.Bound(SealedKind.Outcome, instance, tenant);
        bound.Add(key);
        bound.Add(fingerprint);
        bound.Add(created);
        return bound;
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
