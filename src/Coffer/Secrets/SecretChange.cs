
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// A write to one secret, decided in the committer's loop against what is stored at that moment. It may be claimed by
/// an idempotency key: then its outcome is kept with it, or an earlier outcome is replayed in its stead.
/// </summary>
internal abstract class SecretChange : Change
{
    private readonly long? ifVersion;
    private IReadOnlyList<TenantSeed>? seeds;
    private IReadOnlyList<OlderPlace>? older;

    private SecretChange(Terms terms, Secret request, long? ifVersion)
    {
        (Given, Request, this.ifVersion) = (terms, request, ifVersion);
        SecretAt = SealedSecret.KeyOf(terms.Tenant, terms.Tenant.Keys.Seed, request.Scope, request.Name);
        Payer = terms.Caller.Payer;
    }

    /// <summary>What a change decides by.</summary>
    /// <param name="Instance">Whose store it is.</param>
    /// <param name="Tenant">Whose secret it is.</param>
    /// <param name="Caller">Who asks for it.</param>
    /// <param name="Ids">Where a new secret's id comes from.</param>
    /// <param name="Time">For created, and for what has expired.</param>
    /// <param name="Ahead">How far that is ahead of the database's, as last measured.</param>
    /// <param name="Quota">How many secrets the scope may hold.</param>
    public sealed record Terms(Instance Instance, Tenant Tenant, Caller Caller, SecretId Ids, TimeProvider Time,
        TimeSpan Ahead, int Quota);

    public Idempotency? Claim { get; set; }

    /// <summary>What became of the write; set once it is committed.</summary>
    public WriteOutcome? Outcome { get; private set; }

    /// <summary>How many bytes are kept under the idempotency key.</summary>
    public int Kept { get; private set; }

    public override Payer? Payer { get; }

    public override int Size => UsualSize + Request.Name.Utf8.Length + (Request.Payload?.Length ?? 0);

    /// <summary>What is committed with a new id, if anything.</summary>
    public RowWrite.PutMeta? Mark { get; private set; }

    public override SecretKey? SecretAt { get; }

    public override IdempotencyKey? IdempotencyAt => Claim?.Row;

    public sealed override IReadOnlyList<OlderPlace> OlderAt =>
        older ??= OlderSeeds.Count == 0 ? [] : [.. OlderSeeds.Select(PlaceUnder)];

    // Those that are retired, and under which the secret or what is kept under the claim may stand.
    private IReadOnlyList<TenantSeed> OlderSeeds => seeds ??= Given.Tenant.Keys.Retired.Count == 0 ? [] :
    [
        .. Given.Tenant.Keys.Retired.Where(
            seed => seed.HasNames || (Claim is not null && seed.HasRecordsAt(Now(Given.Ahead)))),
    ];

    protected Terms Given { get; }

    /// <summary>
    /// The secret as the request names it: what only the store knows (id, created, version) is empty.
    /// </summary>
    protected Secret Request { get; }

    public sealed override IReadOnlyList<RowWrite> Decide(Found found)
    {
        Tenants.RequireCurrent(Given.Tenant, found);
        // By the database's clock: a node whose own is wrong replaces nothing that is still there (S33).
        var now = Now(found.Ahead);
        Mark = null; // of an earlier try
        Outcome = Claim?.Replay(found.Idempotency, Given.Tenant.Keys.Seed, Request, now);
        for (var i = 0; i < found.Older.Count; i++)
            Outcome ??= Claim?.Replay(found.Older[i].Idempotency, OlderSeeds[i], Request, now);
        if (Outcome is not null)
            return [];

        List<SecretRow> old = [.. found.Older.Select(static rows => rows.Secret).OfType<SecretRow>()];
        // Of a damaged row nothing is known, nor whether it has expired: it is refused below, and not replaced.
        var live = (found.Secret ?? old.LastOrDefault()) is { } row && (!row.IsSound || row.IsLiveAt(now)) ? row : null;
        if (ifVersion is { } wanted && wanted != (live?.Version ?? 0) && (live is not null || !IsNothingWithoutSecret))
            throw ApiError.VersionMismatch(wanted, live?.Version ?? 0);
        (Outcome, var write) = Execute(live, found, now);
        var outcome = Claim?.Keep(Outcome, now);
        Kept = outcome?.Row.Sealed.Length ?? 0;
        // What is written stands under the seed that is in use, and nowhere else.
        List<RowWrite> rows = [];
        if (write is not null)
        {
            rows.AddRange(old.Where(each => write is RowWrite.PutSecret || each != live)
                .Select(each => new RowWrite.DeleteSecret(each.Key)));
            rows.Add(write);
            if (Given.Caller.App is { HasEvents: true })
                rows.AddRange(EventsOf(write, found, now));
        }

        rows.AddRange(((RowWrite?[])[outcome, Mark]).OfType<RowWrite>());
        return rows;
    }

    public sealed override IReadOnlyList<Note> NotesOn(Exception? refusal) => refusal is Tenants.MovedException ? [] :
    [
        Given.Caller.Entry(Verb, Word(refusal), Request.Scope.Word, SecretAt!.Value.Name, Outcome?.Secret?.Version),
    ];

    protected abstract string Verb { get; }

    /// <summary>Whether an absent secret is this change's own refusal, whatever version was asked for.</summary>
    protected abstract bool IsNothingWithoutSecret { get; }

    private string Word(Exception? refusal) => (refusal, Outcome) switch
    {
        (ApiError { Code: "resource_version_mismatch" }, _) => "version_mismatch",
        (ApiError { Type: "idempotency_error" }, _) => "idempotency_mismatch",
        (ApiError { Param: "expand" }, _) => "payload_too_large",
        (ApiError { IsFault: true }, _) => "damaged",
        (not null, _) => "failed",
        (_, { OriginalRequest: not null }) => "replayed",
        (_, { Error.Code: "resource_missing" }) => "absent",
        (_, { Error: not null }) => "quota_reached",
        _ => "ok",
    };

    // A row that has expired and was not removed yet is gone with the set that puts another in its stead.
    private IEnumerable<RowWrite.PutEvent> EventsOf(RowWrite write, Found found, long now)
    {
        var moment = Given.Time.GetUtcNow() - found.Ahead;
        if (write is RowWrite.PutSecret && found.Secret is { IsSound: true } row && !row.IsLiveAt(now)
            && Event.OfStored(Given.Instance, Given.Tenant, EventKinds.SecretExpired, row, moment) is { } expired)
            yield return expired;
        var kind = write is RowWrite.PutSecret ? EventKinds.SecretSet : EventKinds.SecretDeleted;
        yield return Event.OfSecret(
            Given.Instance, Given.Tenant, kind, Outcome!.Secret!, Given.Caller.Origin.RequestId, moment);
    }

    protected abstract (WriteOutcome Outcome, RowWrite? Write) Execute(SecretRow? live, Found found, long now);

    private OlderPlace PlaceUnder(TenantSeed seed) => new(
        seed.HasNames ? SealedSecret.KeyOf(Given.Tenant, seed, Request.Scope, Request.Name) : null,
        seed.HasNames && ScopeAt is { } at ? at with { Scope = SealedSecret.ScopeOf(seed, Request.Scope) } : null,
        Claim?.OlderRow(seed));

    private long Now(TimeSpan ahead) => (Given.Time.GetUtcNow() - ahead).ToUnixTimeSeconds();

    /// <summary>Creates or replaces.</summary>
    public sealed class Set(Terms terms, Secret request, long? ifVersion) : SecretChange(terms, request, ifVersion)
    {
        private ScopeKey? scope;

        public override ScopeKey? ScopeAt =>
            scope ??= new ScopeKey(Given.Tenant.Number,
                SealedSecret.ScopeOf(Given.Tenant.Keys.Seed, Request.Scope));

        protected override string Verb => "set";

        protected override bool IsNothingWithoutSecret => false;

        protected override (WriteOutcome Outcome, RowWrite? Write) Execute(SecretRow? live, Found found, long now)
        {
            SecretRow row;
            if (live is not null)
            {
                // What is carried over from the old row is proven first: a replacement must not launder an edit.
                SealedSecret.Prove(Given.Instance, Given.Tenant, live, Request.Scope, Request.Name);
                // Under the only seed that its tenant ever had it stands where it stood, which is proven with it.
                row = live with
                {
                    Key = SecretAt!.Value,
                    Scope = Given.Tenant.Keys.Retired.Count == 0 ? live.Scope : ScopeAt!.Value.Scope,
                    Version = live.Version + 1,
                    ExpiresAt = Request.ExpiresAt,
                };
            }
            else
            {
                if (found.LiveInScope(now) >= Given.Quota)
                    return (new WriteOutcome(null, ApiError.QuotaReached(Given.Quota)), null);
                var blind = ScopeAt!.Value.Scope;
                (var id, Mark) = Given.Ids.Next(Given.Tenant.Keys.Seed, blind);
                row = new SecretRow(SecretAt!.Value, blind, id, 1, now, Request.ExpiresAt, []);
            }

            var secret = Request with { Id = row.Id, Created = row.Created, Version = row.Version };
            return (new WriteOutcome(secret, null), new RowWrite.PutSecret(
                SealedSecret.Seal(Given.Instance, Given.Tenant, row, secret)));
        }
    }

    /// <summary>Removes.</summary>
    public sealed class Delete(Terms terms, Secret request, long? ifVersion, bool wantsPayload) : SecretChange(terms,
        request, ifVersion)
    {
        protected override string Verb => "delete";

        protected override bool IsNothingWithoutSecret => true;

        protected override (WriteOutcome Outcome, RowWrite? Write) Execute(SecretRow? live, Found found, long now)
        {
            if (live is null)
                return (new WriteOutcome(null, ApiError.NoSuchSecret(Request.Name.Text)), null);
            var secret = wantsPayload
                ? SealedSecret.Open(Given.Instance, Given.Tenant, live, Request.Scope, wantsPayload: true)
                : SealedSecret.Prove(Given.Instance, Given.Tenant, live, Request.Scope, Request.Name);
            var keepsLittle = Claim is not null && Given.Caller.Kind == KeyKind.Ephemeral;
            if (keepsLittle && secret.Payload?.Length > Idempotency.LargestPayload)
            {
                secret.Dispose();
                throw ApiError.PayloadTooLargeToKeep(Idempotency.LargestPayload);
            }

            return (new WriteOutcome(secret, null), new RowWrite.DeleteSecret(live.Key));
        }
    }
}
