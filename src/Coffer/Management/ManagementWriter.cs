using System.Collections.Frozen;
using System.Security.Cryptography;
using System.Text.Unicode;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>A reply as it was given, or as it was kept by the first request with the same idempotency key.</summary>
/// <param name="Body">The JSON; the receiver disposes of it.</param>
/// <param name="OriginalRequest">For a replay the id of the request that was carried out, or null.</param>
internal sealed record Reply(SecretBytes Body, string? OriginalRequest = null);

/// <summary>
/// Writes to the management plane: what is decided against what is stored, its audit entry and what its idempotency key
/// keeps are one transaction; what was cached before it is read again, for the engine says what was changed.
/// </summary>
/// <param name="committer">Where writes are handed in.</param>
/// <param name="tenants">Under whose keys a mint's reply is kept, and whose store it is.</param>
/// <param name="time">For what is kept.</param>
/// <param name="order">The order in which apps and keys were made; null keeps none.</param>
/// <param name="budgets">How much apps may write; null bounds nothing.</param>
internal sealed class ManagementWriter(
    Committer committer, Tenants tenants, TimeProvider time, CreationOrder? order = null, Budgets? budgets = null)
{
    /// <summary>How long a reply is kept; afterwards the idempotency key is as new.</summary>
    public static readonly TimeSpan KeptFor = TimeSpan.FromHours(24);

    private const byte RequestTag = 1, BodyTag = 2, GenerationTag = 3;

    /// <summary>How often a tenant may be given other keys while a reply is kept under them.</summary>
    private const int MostTries = 100;

    // What takes rights away, sets what an app may do, or changes root keys: such acts wait for no flood.
    private static readonly FrozenSet<string> Urgent = FrozenSet.Create(StringComparer.Ordinal,
        "revoke_key", "roll_key", "disable_app", "enable_app", "change_app", "roll_signing_secret", "delete_app",
        "forget_account", "rotate_root_key", "remove_root_key", "rewrap_root_keys", "add_root_key_wrapper",
        "remove_root_key_wrapper", "create_recovery_shares", "rotate_tenant_keys", "change_settings", "renew_store",
        "confirm_renewal", "uninstall", "change_webhook_endpoint", "delete_webhook_endpoint", "roll_webhook_secret");

    private readonly Tenants tenants = tenants;
    private readonly Instance instance = tenants.Instance;
    private readonly TimeProvider time = time;

    /// <summary>A write as it was asked for.</summary>
    /// <param name="Caller">Who asks.</param>
    /// <param name="Key">The idempotency key, or null.</param>
    /// <param name="Canonical">All that the request says, in a canonical form.</param>
    /// <param name="Body">The JSON of an outcome.</param>
    public sealed record Request<T>(Caller Caller, string? Key, byte[] Canonical, Func<T, SecretBytes> Body)
    {
        /// <summary>Whether what is kept is under the store's key: it outlives the tenant.</summary>
        public bool IsKeptByStore { get; init; }
    }

    /// <summary>What was decided.</summary>
    /// <param name="Outcome">What is answered.</param>
    /// <param name="Rows">What is written.</param>
    /// <param name="Entry">What is recorded.</param>
    public readonly record struct Decision<T>(T Outcome, IReadOnlyList<RowWrite> Rows, AuditEntry Entry)
    {
        /// <summary>Whose what is kept by the store is: it goes when that is forgotten.</summary>
        public TenantId? Owner { get; init; }
    }

    /// <summary>Carries out a write once for each idempotency key.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="at">What is read before <paramref name="decide"/>.</param>
    /// <param name="about">
    /// The entry of a refusal, which is an <see cref="ApiError"/> that <paramref name="decide"/> throws.
    /// </param>
    /// <param name="decide">
    /// Decides at a Unix second of the database's clock; runs in the committer's loop, and may run again.
    /// </param>
    /// <exception cref="ApiError">The refusal; or the idempotency key was used for another request.</exception>
    public async Task<Reply> WriteAsync<T>(Request<T> request, Change.ManagementKey at, AuditEntry about,
        Func<Change.ManagementFound, long, Decision<T>> decide)
    {
        var payer = request.Caller.Payer;
        if (LaneOf(about) != Lane.Urgent)
        {
            budgets?.RequireAudit(payer);
            if (request.Key is not null)
                budgets?.RequireKept(payer);
        }

        budgets?.ChargeAudit(payer, about.Size);
        for (var tries = 0; tries < MostTries; tries++)
        {
            var tenant = await KeeperAsync(request);
            var write = new Write<T>(this, request, at, about, decide, tenant);
            try
            {
                await committer.CommitAsync(write);
                budgets?.ChargeKept(payer, write.Kept);
                return write.Reply!;
            }
            catch (Tenants.MovedException)
            {
                tenants.Forget(tenant!.Id);
            }
        }

        throw ApiError.Contradictory("a tenant that was found is another one, again and again");
    }

    /// <summary>The clock's Unix second.</summary>
    public long Now => DatabaseNow(TimeSpan.Zero);

    /// <summary>When something counts as made that is decided at a Unix second; for a change that decides.</summary>
    public long CreatedAt(long now) => order?.At(now) ?? now;

    /// <summary>Writes what is never refused and keeps no reply.</summary>
    public Task WriteAsync(
        Change.ManagementKey at, Func<Change.ManagementFound, long, RowWrite[]> decide, AuditEntry entry)
    {
        budgets?.ChargeAudit(entry.Payer, entry.Size);
        return committer.CommitAsync(
            new Unasked(at, found => decide(found.Management!, DatabaseNow(found.Ahead)), entry));
    }

    /// <summary>Has tenants be found by the ids of their installs; it is not recorded.</summary>
    public Task GiveAsync(IEnumerable<RowWrite> rows) => committer.CommitAsync(new Change.Plain([.. rows]));

    // What is decided goes by the database's clock: a node whose own is wrong forgets no reply that is kept (S33).
    private long DatabaseNow(TimeSpan ahead) => (time.GetUtcNow() - ahead).ToUnixTimeSeconds();

    /// <summary>Which queue a write waits in, by its audit entry.</summary>
    public static Lane LaneOf(AuditEntry entry) => Urgent.Contains(entry.Verb) ? Lane.Urgent : Lane.Ordinary;

    /// <summary>What removes the replies about an account, by whichever pepper's index they are kept.</summary>
    public static IEnumerable<RowWrite> DeleteReplies(Instance instance, string app, string account) =>
        instance.Peppers.All.Select(pepper => new RowWrite.DeleteReplies(OwnerOf(pepper.Proof, app, account)))
            .Concat(((bool[])[false, true])
                .SelectMany(livemode => DeleteReplies(instance, new TenantId(app, livemode, account))));

    /// <summary>The same of one mode: what the store keeps of an account's install.</summary>
    public static IEnumerable<RowWrite> DeleteReplies(Instance instance, TenantId of) =>
        instance.Peppers.All.Select(pepper => new RowWrite.DeleteReplies(OwnerOf(pepper.Proof, of)));

    private static byte[] OwnerOf(MacKey key, string app, string account) =>
        Index(key, "reply owner", app, account);

    private static byte[] OwnerOf(MacKey key, TenantId of) =>
        Index(key, "install reply owner", of.App, Mode(of), of.Account);

    private static string Mode(TenantId of) => of.Livemode ? "live" : "test";

    private static byte[] Index(MacKey key, params ReadOnlySpan<string> fields)
    {
        using var canonical = new AssociatedData("coffer v1 reply"u8);
        foreach (var field in fields)
            canonical.Add(field);
        return key.Compute(canonical.Span);
    }

    /// <summary>What is kept of a mint, sealed again under the tenant's newest key; null if it does not open.</summary>
    public static byte[]? Reseal(Instance instance, Tenant tenant, ReplyRow row)
    {
        using var bound = Bind(instance, tenant.Id, row.Key, row.Fingerprint, row.Created);
        return row.IsSound ? tenant.Keys.Reseal(SealedKind.Reply, row.Sealed, bound.Span) : null;
    }

    // What is an account's is kept under its keys. What is not is looked for there too: under the same idempotency key
    // something else may be kept.
    private async ValueTask<Tenant?> KeeperAsync<T>(Request<T> request)
    {
        var caller = request.Caller;
        if (request.Key is null || caller.Tenant is not { } id)
            return null;
        return request.IsKeptByStore
            ? await tenants.FindAsync(id, CancellationToken.None)
            : await tenants.FindOrAddAsync(id, caller.App, CancellationToken.None) ?? throw ApiError.NotInstalled();
    }

    private static AssociatedData Bind(
        Instance instance, TenantId? tenant, byte[] key, byte[] canonical, long created)
    {
        var bound = tenant is null
            ? SealedKind.OperatorReply.Bind()
            : Tenants.Bound(SealedKind.Reply, instance, tenant);
        if (tenant is null)
            bound.Add(instance.Id);
        bound.Add(key);
        bound.Add(canonical);
        bound.Add(created);
        return bound;
    }

    private sealed class Unasked(
        Change.ManagementKey at, Func<Change.Found, RowWrite[]> decide, AuditEntry entry) : Change
    {
        public override ManagementKey ManagementAt => at;

        public override Lane Lane => LaneOf(entry);

        public override Payer? Payer => entry.Payer;

        public override IReadOnlyList<RowWrite> Decide(Found found) => decide(found);

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => [entry];
    }

    private sealed class Write<T> : Change
    {
        private readonly ManagementWriter own;
        private readonly Request<T> request;
        private readonly AuditEntry about;
        private readonly Func<ManagementFound, long, Decision<T>> decide;
        private readonly byte[] fingerprint;
        private readonly Tenant? tenant;
        private AuditEntry? entry;

        public Write(ManagementWriter own, Request<T> request, ManagementKey at, AuditEntry about,
            Func<ManagementFound, long, Decision<T>> decide, Tenant? tenant)
        {
            (this.own, this.request, this.about, this.decide, this.tenant) = (own, request, about, decide, tenant);
            var caller = request.Caller;
            // An app's keys share what they keep, as they do for secrets; an admin key's is its own.
            ManagementAt = request.Key is not { } key ? at : at with
            {
                Reply = caller.Tenant is { } id
                    ? Index(own.instance.ProofKey, "reply", id.App, Mode(id), id.Account, key)
                    : Index(own.instance.ProofKey, "reply of", caller.KeyId, key),
            };
            fingerprint = own.instance.ProofKey.Compute([.. "coffer v1 reply to "u8, .. request.Canonical]);
        }

        public override ManagementKey ManagementAt { get; }

        public override long? TenantAt => tenant?.Number;

        public override Lane Lane => LaneOf(about);

        public override Payer? Payer => request.Caller.Payer;

        public override int Size => 2 * UsualSize;

        /// <summary>How many bytes are kept for a repetition.</summary>
        public int Kept { get; private set; }

        public Reply? Reply { get; private set; }

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            if (tenant is not null)
                Tenants.RequireCurrent(tenant, found);
            var now = own.DatabaseNow(found.Ahead);
            if (found.Management!.Reply is { } kept
                && (!kept.IsSound || kept.Created + (long)KeptFor.TotalSeconds > now)
                && Replay(kept) is { } replayed)
            {
                Reply = replayed;
                entry = about with { Outcome = "replayed" };
                return [];
            }

            var decision = decide(found.Management, now);
            entry = decision.Entry;
            Reply = new Reply(request.Body(decision.Outcome));
            if (ManagementAt.Reply is not { } key)
                return decision.Rows;
            var reply = Keep(key, Reply.Body, decision.Owner, now);
            Kept = reply.Row.Sealed.Length;
            return [.. decision.Rows, reply];
        }

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) =>
            refusal is Tenants.MovedException ? []
                : [refusal is null ? entry! : about with { Outcome = Word(refusal) }];

        private static string Word(Exception refusal) => refusal switch
        {
            ApiError { Code: { } code } => code,
            ApiError { Damage: not null } => "damaged",
            _ => "refused",
        };

        private RowWrite.PutReply Keep(byte[] key, SecretBytes body, TenantId? ownedBy, long now)
        {
            var id = System.Text.Encoding.UTF8.GetBytes(request.Caller.Origin.RequestId);
            var generation = Generation;
            using var plaintext = SecretBytes.Rent(Tlv.SizeOf(id) + Tlv.SizeOf(body.Span)
                + (generation is null ? 0 : Tlv.SizeOf(generation)));
            var rest = Tlv.Write(Tlv.Write(plaintext.Span, RequestTag, id), BodyTag, body.Span);
            if (generation is not null)
                Tlv.Write(rest, GenerationTag, generation);
            // Older nodes know those under the store's own key alone.
            var by = own.tenants.HasNodesOfFormatOne || request.IsKeptByStore ? null : tenant;
            using var bound = Bind(own.instance, by?.Id, key, fingerprint, now);
            if (by is not null)
            {
                var under = by.Keys.Seal(SealedKind.Reply, plaintext.Span, bound.Span);
                return new RowWrite.PutReply(new ReplyRow(key, null, fingerprint, now, under)
                {
                    Tenant = by.Number,
                });
            }

            var reply = Envelope.Seal(
                SealedKind.OperatorReply, own.instance.ReplyKey, plaintext.Span, bound.Span);
            return new RowWrite.PutReply(new ReplyRow(key, Owner(ownedBy), fingerprint, now, reply));
        }

        private byte[]? Owner(TenantId? ownedBy)
        {
            if (request.IsKeptByStore)
                return ownedBy is null ? null : OwnerOf(own.instance.ProofKey, ownedBy);
            return request.Caller.Tenant is { } of ? OwnerOf(own.instance.ProofKey, of.App, of.Account) : null;
        }

        // What a mint gives is good in one generation of the store; everything else that is kept is as stored.
        private byte[]? Generation =>
            ManagementAt.Mint is null ? null : own.instance.Facts?.Generation.ToBytes();

        /// <returns>Null if it is of another generation of the store: it is as if nothing were kept.</returns>
        private Reply? Replay(ReplyRow kept)
        {
            // Of before, or by an older node: under the store's own key.
            var by = kept.Tenant is null ? null : tenant;
            using var bound = Bind(own.instance, by?.Id, kept.Key, kept.Fingerprint, kept.Created);
            using var plaintext = Open(kept, by, bound.Span);
            if (plaintext is null || !Tlv.AreSound(plaintext.Span, [RequestTag, BodyTag, GenerationTag])
                || Tlv.Text(plaintext.Span, RequestTag) is not { } original
                || Tlv.Find(plaintext.Span, BodyTag) is not { } body
                || !Utf8.IsValid(plaintext.Span[body]))
                throw ApiError.RecordDamaged("idempotency record", Damage(kept));
            if (!CryptographicOperations.FixedTimeEquals(kept.Fingerprint, fingerprint))
                throw ApiError.IdempotencyMismatch(request.Key!);
            if (Tlv.Find(plaintext.Span, GenerationTag) is { } named
                && !plaintext.Span[named].SequenceEqual(Generation))
                return null;
            return new Reply(SecretBytes.Copy(plaintext.Span[body]), original);
        }

        private SecretBytes? Open(ReplyRow kept, Tenant? by, ReadOnlySpan<byte> bound)
        {
            if (!kept.IsSound || kept.Tenant != by?.Number)
                return null;
            return by is null
                ? Envelope.Open(own.instance.ReplyKey, kept.Sealed, bound)
                : by.Keys.Open(kept.Sealed, bound);
        }

        private static DamagedRow Damage(ReplyRow kept) =>
            new("replies", $"key {Convert.ToHexStringLower(kept.Key)}", "its proof");
    }
}
