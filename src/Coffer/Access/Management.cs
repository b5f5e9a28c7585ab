using System.Security.Cryptography;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>A reply as it was given, or as it was kept by the first request with the same idempotency key.</summary>
/// <param name="Body">The JSON; the receiver disposes of it.</param>
/// <param name="OriginalRequest">For a replay the id of the request that was carried out, or null.</param>
internal sealed record Reply(SecretBytes Body, string? OriginalRequest = null);

/// <summary>
/// Writes to the management plane: what is decided against what is stored, its audit entry and what its idempotency key keeps
/// are one transaction; what was cached before it is read again, for the engine says what was changed.
/// </summary>
internal sealed class Management(Committer committer, Instance instance, TimeProvider time)
{
    /// <summary>How long a reply is kept; afterwards the idempotency key is as new.</summary>
    public static readonly TimeSpan KeptFor = TimeSpan.FromHours(24);

    private const byte RequestTag = 1, BodyTag = 2;

    private readonly Instance instance = instance;
    private readonly TimeProvider time = time;

    /// <summary>A write as it was asked for.</summary>
    /// <param name="Caller">Who asks.</param>
    /// <param name="Key">The idempotency key, or null.</param>
    /// <param name="Said">All that the request says, in a canonical form.</param>
    /// <param name="Body">The JSON of an outcome.</param>
    public sealed record Request<T>(Caller Caller, string? Key, byte[] Said, Func<T, SecretBytes> Body);

    /// <summary>What was decided.</summary>
    /// <param name="Outcome">What is answered.</param>
    /// <param name="Rows">What is written.</param>
    /// <param name="Entry">What goes on record.</param>
    public readonly record struct Decision<T>(T Outcome, IReadOnlyList<RowWrite> Rows, AuditEntry Entry);

    /// <summary>Carries out a write once for each idempotency key.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="at">What is read before <paramref name="decide"/>.</param>
    /// <param name="about">The entry of a refusal, which is an <see cref="ApiError"/> that <paramref name="decide"/> throws.</param>
    /// <param name="decide">Decides at a Unix second; runs in the committer's loop, and may run again.</param>
    /// <exception cref="ApiError">The refusal; or the idempotency key was used for another request.</exception>
    public async Task<Reply> WriteAsync<T>(Request<T> request, Change.ManagementKey at, AuditEntry about, Func<Change.ManagementFound, long, Decision<T>> decide)
    {
        var write = new Write<T>(this, request, at, about, decide);
        await committer.CommitAsync(write);
        return write.Reply!;
    }

    /// <summary>Writes what is never refused and keeps no reply.</summary>
    public Task WriteAsync(Change.ManagementKey at, Func<Change.ManagementFound, long, RowWrite[]> decide, AuditEntry entry) =>
        committer.CommitAsync(new Unasked(at, found => decide(found, time.GetUtcNow().ToUnixTimeSeconds()), entry));

    /// <summary>The blind index of an account, under which the replies about it are found and removed.</summary>
    public static byte[] OwnerOf(Instance instance, string app, string account) => Index(instance, "reply owner", app, account);

    private static byte[] Index(Instance instance, params ReadOnlySpan<string> fields)
    {
        using var said = new AssociatedData("coffer v1 reply"u8);
        foreach (var field in fields)
            said.Add(field);
        return instance.ProofKey.Compute(said.Span);
    }

    private sealed class Unasked(Change.ManagementKey at, Func<Change.ManagementFound, RowWrite[]> decide, AuditEntry entry) : Change
    {
        public override ManagementKey ManagementAt => at;

        public override IReadOnlyList<RowWrite> Decide(Found found) => decide(found.Management!);

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => [entry];
    }

    private sealed class Write<T> : Change
    {
        private readonly Management own;
        private readonly Request<T> request;
        private readonly AuditEntry about;
        private readonly Func<ManagementFound, long, Decision<T>> decide;
        private readonly byte[] fingerprint;
        private AuditEntry? entry;

        public Write(Management own, Request<T> request, ManagementKey at, AuditEntry about, Func<ManagementFound, long, Decision<T>> decide)
        {
            (this.own, this.request, this.about, this.decide) = (own, request, about, decide);
            var caller = request.Caller;
            // An app's keys share what they keep, as they do for secrets; an admin key's is its own.
            ManagementAt = request.Key is not { } key ? at : at with
            {
                Reply = caller.Tenant is { } tenant
                    ? Index(own.instance, "reply", tenant.App, tenant.Livemode ? "live" : "test", tenant.Account, key)
                    : Index(own.instance, "reply of", caller.KeyId, key),
            };
            fingerprint = own.instance.ProofKey.Compute([.. "coffer v1 reply to "u8, .. request.Said]);
        }

        public override ManagementKey ManagementAt { get; }

        public Reply? Reply { get; private set; }

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            var now = own.time.GetUtcNow().ToUnixTimeSeconds();
            if (found.Management!.Reply is { } kept && kept.Created + (long)KeptFor.TotalSeconds > now)
            {
                Reply = Replay(kept);
                entry = about with { Outcome = "replayed" };
                return [];
            }

            var decision = decide(found.Management, now);
            entry = decision.Entry;
            Reply = new Reply(request.Body(decision.Outcome));
            return ManagementAt.Reply is { } key ? [.. decision.Rows, Keep(key, Reply.Body, now)] : decision.Rows;
        }

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) =>
            [refusal is null ? entry! : about with { Outcome = refusal is ApiError { Code: { } code } ? code : "refused" }];

        private RowWrite.PutReply Keep(byte[] key, SecretBytes body, long now)
        {
            var id = System.Text.Encoding.UTF8.GetBytes(request.Caller.Origin.RequestId);
            using var plaintext = SecretBytes.Rent(Tlv.SizeOf(id) + Tlv.SizeOf(body.Span));
            Tlv.Write(Tlv.Write(plaintext.Span, RequestTag, id), BodyTag, body.Span);
            using var bound = Bind(key, fingerprint, now);
            var owner = request.Caller.Tenant is { } tenant ? OwnerOf(own.instance, tenant.App, tenant.Account) : null;
            return new RowWrite.PutReply(new ReplyRow(key, owner, fingerprint, now, Envelope.Seal(own.instance.ReplyKey, plaintext.Span, bound.Span)));
        }

        private Reply Replay(ReplyRow kept)
        {
            using var bound = Bind(kept.Key, kept.Fingerprint, kept.Created);
            using var plaintext = Envelope.Open(own.instance.ReplyKey, kept.Sealed, bound.Span) ?? throw ApiError.RecordDamaged("idempotency record");
            if (!CryptographicOperations.FixedTimeEquals(kept.Fingerprint, fingerprint))
                throw ApiError.IdempotencyMismatch(request.Key!);
            return new Reply(
                SecretBytes.Copy(plaintext.Span[Tlv.Find(plaintext.Span, BodyTag)!.Value]),
                System.Text.Encoding.UTF8.GetString(plaintext.Span[Tlv.Find(plaintext.Span, RequestTag)!.Value]));
        }

        private AssociatedData Bind(byte[] key, byte[] said, long created)
        {
            var bound = new AssociatedData("coffer v1 kept reply"u8);
            bound.Add(own.instance.Id);
            bound.Add(key);
            bound.Add(said);
            bound.Add(created);
            return bound;
        }
    }
}
