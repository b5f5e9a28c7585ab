using System.Diagnostics;

namespace Coffer.Storage;

/// <summary>
/// One change to the store, written whole or not at all. The committer reads what the change asks for, under the
/// write lock, lets it decide, and commits its rows together with those of the other changes that wait.
/// </summary>
internal abstract class Change
{
    /// <summary>What a row and its audit entry take, about, in bytes; and what the entry does alone.</summary>
    public const int UsualSize = 1_000, EntrySize = 350;

    // Continuations run elsewhere: the committer's loop must never run a request's code.
    private readonly TaskCompletionSource committed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The secret that is read before <see cref="Decide"/>, or null.</summary>
    public virtual SecretKey? SecretAt => null;

    /// <summary>The tenant whose keys may be used: its row is held until the change is durable. Or null.</summary>
    public virtual long? TenantAt => SecretAt?.Tenant;

    /// <summary>
    /// The version of a key of that tenant, as it stands in an envelope, if the rows that are not under it are counted;
    /// or null.
    /// </summary>
    public virtual byte[]? CountsNotUnder => null;

    /// <summary>The scope in which the change may count, or null.</summary>
    public virtual ScopeKey? ScopeAt => null;

    /// <summary>The idempotency record that is read before <see cref="Decide"/>, or null.</summary>
    public virtual IdempotencyKey? IdempotencyAt => null;

    /// <summary>
    /// Where the same secret, scope and record may stand from before, oldest first: they are read, and the scopes
    /// counted, like those above. All are of <see cref="TenantAt"/>.
    /// </summary>
    public virtual IReadOnlyList<OlderPlace> OlderAt => [];

    /// <summary>What of the management plane is read before <see cref="Decide"/>, or null.</summary>
    public virtual ManagementKey? ManagementAt => null;

    /// <summary>Which queue it waits in.</summary>
    public virtual Lane Lane => Lane.Ordinary;

    /// <summary>Whose turn it takes; null is the server's own, or an operator's.</summary>
    public virtual Payer? Payer => null;

    /// <summary>About how many bytes it may write or remove, by which batches are bounded.</summary>
    public virtual int Size => UsualSize;

    /// <summary>How often it was written in vain because something else held a lock. The committer's alone.</summary>
    public int Tries { get; set; }

    /// <summary>When it was handed in, and in which span of a request. The committer's alone.</summary>
    public (long At, ActivityContext Span) Arrival { get; set; }

    /// <summary>Completes when the change is durable; fails when it was refused or could not be stored.</summary>
    public Task Committed => committed.Task;

    /// <summary>
    /// Decides what to write, given what is stored now. Runs in the committer's loop: no waiting, no I/O. An exception
    /// refuses this change alone. It may run again when the storage asks for the transaction to be repeated.
    /// </summary>
    public abstract IReadOnlyList<RowWrite> Decide(Found found);

    /// <summary>
    /// What is recorded about the decision, in the same transaction; asked after <see cref="Decide"/>.
    /// </summary>
    /// <param name="refusal">What <see cref="Decide"/> threw, or null.</param>
    public virtual IReadOnlyList<Note> NotesOn(Exception? refusal) => [];

    /// <summary>Runs in the committer's loop once the change is durable, before who handed it in knows.</summary>
    public virtual void Durable()
    {
    }

    public void Complete() => committed.TrySetResult();

    public void Fail(Exception reason) => committed.TrySetException(reason);

    /// <summary>A place of before; what is null is not asked for.</summary>
    public readonly record struct OlderPlace(SecretKey? Secret, ScopeKey? Scope, IdempotencyKey? Idempotency);

    /// <summary>What stands in one.</summary>
    public readonly record struct OlderRows(SecretRow? Secret, IdempotencyRow? Idempotency);

    /// <summary>What is stored when a change decides.</summary>
    /// <param name="Counter">
    /// That of the keys of <see cref="TenantAt"/>, or null: it may have been shredded since it was looked up.
    /// </param>
    /// <param name="Secret">The row that <see cref="SecretAt"/> names, expired or not, or null.</param>
    /// <param name="Idempotency">The record that <see cref="IdempotencyAt"/> names, however old, or null.</param>
    /// <param name="Count">What <see cref="LiveInScope"/> counts by.</param>
    /// <param name="Management">What <see cref="ManagementAt"/> names, or null.</param>
    public readonly record struct Found(
        long? Counter, SecretRow? Secret, IdempotencyRow? Idempotency, Func<long, int> Count,
        ManagementFound? Management = null)
    {
        /// <summary>
        /// How many rows were not under the key of <see cref="CountsNotUnder"/>. Those that were sealed again in the
        /// same transaction may be among them.
        /// </summary>
        public long NotUnder { get; init; }

        /// <summary>
        /// How far this machine's clock is ahead of the database's in this transaction, as far as that is certain; zero
        /// of an embedded store.
        /// </summary>
        public TimeSpan Ahead { get; init; }

        /// <summary>What stands in <see cref="OlderAt"/>, in its order.</summary>
        public IReadOnlyList<OlderRows> Older { get; init; } = [];

        /// <summary>
        /// Counts the secrets in <see cref="ScopeAt"/>, and where it was before, that are not expired at a Unix second:
        /// for a change that may add one. Where the secret is there and never expires, the others are not read.
        /// </summary>
        public int LiveInScope(long now) => MayAdd(Secret)
            ? Count(now)
            : throw new InvalidOperationException("a change counts only if its secret is not there, or expires");

        /// <summary>Whether a change that finds this may add a secret to its scope.</summary>
        public static bool MayAdd(SecretRow? secret) => secret is not { ExpiresAt: null };
    }

    /// <summary>What of the management plane a change decides by.</summary>
    public sealed record ManagementKey
    {
        /// <summary>The id of an app.</summary>
        public string? App { get; init; }

        /// <summary>The id of a key.</summary>
        public string? ApiKey { get; init; }

        /// <summary>An account of the app, and the Unix second by which its unexpired secrets are counted.</summary>
        public (string Id, long Now)? Account { get; init; }

        /// <summary>Where a kept reply stands.</summary>
        public byte[]? Reply { get; init; }

        /// <summary>Whether the number of the oldest audit row is read.</summary>
        public bool AsksOldestAudit { get; init; }

        /// <summary>What <c>meta</c> holds under a key.</summary>
        public string? Meta { get; init; }

        /// <summary>The id of a webhook endpoint.</summary>
        public string? Endpoint { get; init; }

        /// <summary>
        /// Where it is noted that an account is closed. With nothing else of the management plane but a mint, none of
        /// that is held, but the app: nothing is noted of its accounts until the change is durable.
        /// </summary>
        public UninstallKey? Closed { get; init; }

        /// <summary>
        /// Whether it decides by the number of its own commit (<see cref="CommitOrder"/>), which is given out for it.
        /// </summary>
        public bool NeedsNumber { get; init; }

        /// <summary>
        /// For whom a key is minted, with which key, or null: what that depends on is read as it is, and nothing is
        /// held.
        /// </summary>
        public (string Key, TenantId Tenant)? Mint { get; init; }

        /// <summary>Whether what it asks for is held against other changes of the management plane.</summary>
        public bool Holds => Mint is null && this is not { Closed: not null, App: null };
    }

    /// <summary>What is stored of it.</summary>
    /// <param name="App">The app, or null.</param>
    /// <param name="AppHasTenants">Whether anything was ever stored for the app and not forgotten.</param>
    /// <param name="ApiKey">The key, or null.</param>
    /// <param name="OtherOwnerKeys">How many keys of an owner there are beside it, from anywhere and for ever.</param>
    /// <param name="Tenants">The tenants of the account.</param>
    /// <param name="Reply">The kept reply, however old, or null.</param>
    public sealed record ManagementFound(
        AppRow? App, bool AppHasTenants, ApiKeyRow? ApiKey, long OtherOwnerKeys,
        IReadOnlyList<CountedTenantRow> Tenants, ReplyRow? Reply)
    {
        /// <summary>The number of the oldest audit row; 0 if there is none.</summary>
        public long OldestAudit { get; init; }

        /// <summary>What <c>meta</c> holds under the key that was asked for, or null.</summary>
        public byte[]? Meta { get; init; }

        /// <summary>The webhook endpoint that was asked for, or null.</summary>
        public EndpointRow? Endpoint { get; init; }

        /// <summary>The number of this commit, if it was asked for.</summary>
        public long Number { get; init; }

        /// <summary>What a key is minted by, if it was asked for.</summary>
        public MintFound? Mint { get; init; }

        /// <summary>What is noted of the account that was asked for: it is closed, or null.</summary>
        public UninstallRow? Uninstalled { get; init; }
    }

    /// <summary>What a key is minted by.</summary>
    /// <param name="Key">The key that mints, or null: it was revoked.</param>
    /// <param name="App">The tenant's app, or null.</param>
    /// <param name="Generation">The tenant's generation, or null.</param>
    /// <param name="Last">The number of the last commit that is seen.</param>
    public sealed record MintFound(ApiKeyRow? Key, AppRow? App, GenerationRow? Generation, long Last);

    /// <summary>Nothing but something to record.</summary>
    public sealed class Noted(params Note[] notes) : Change
    {
        public override Payer? Payer { get; } = notes.Length > 0 ? notes[0].Payer : null;

        public override int Size { get; } = notes.Sum(note => note.Size);

        public override IReadOnlyList<RowWrite> Decide(Found found) => [];

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => notes;
    }

    /// <summary>
    /// A row that nobody waits for, made when it is decided: by the root key that seals then and the pepper that proves
    /// then. Null writes nothing.
    /// </summary>
    public sealed class Late(Func<RowWrite?> make) : Change
    {
        public override Lane Lane => Lane.Background;

        public override IReadOnlyList<RowWrite> Decide(Found found) => make() is { } row ? [row] : [];
    }

    /// <summary>Rows that need no decision.</summary>
    /// <param name="make">
    /// Makes them when it is decided, as what a pepper proves has to be: another node may have begun another one since
    /// the change was handed in. One row or <see cref="Rows"/>.
    /// </param>
    public sealed class Plain(Func<RowWrite[]> make) : Change
    {
        private readonly int count = 1;

        public Plain(params RowWrite[] rows) : this(() => rows) => count = rows.Length;

        public IReadOnlyList<Note> Notes { get; init; } = [];

        public Lane In { get; init; }

        public Payer? PaidBy { get; init; }

        /// <summary>How many rows a row of the request stands for, where it removes several.</summary>
        public int Rows { get; init; } = 1;

        public override Lane Lane => In;

        public override Payer? Payer => PaidBy;

        public override int Size => count * Rows * UsualSize;

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => Notes;

        public override IReadOnlyList<RowWrite> Decide(Found found) => make();
    }
}
