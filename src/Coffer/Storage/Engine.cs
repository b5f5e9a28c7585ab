// Storage: rows in, rows out. This room sees ciphertext and blind indexes only and never meets Crypto.

namespace Coffer.Storage;

/// <summary>
/// The seam between Coffer and a database. Reads may come from any thread at any time. <see cref="Write"/> is the
/// committer's alone. Failures of the medium surface as <see cref="ApiError.StorageUnavailable"/>, translated by the driver's code.
/// </summary>
internal abstract class Engine : IDisposable
{
    /// <summary>
    /// Thrown by <see cref="Write"/> when something else held a lock for too long: nothing was stored, and the same
    /// changes may be written later.
    /// </summary>
    public sealed class LockedException(Exception inner) : Exception("a lock was not free in time", inner);

    /// <summary>
    /// Called, on any thread, when what nodes keep in memory was changed by whichever node: by this one before the
    /// change
    /// completes, by another within the bound. It may be called again for the same change.
    /// </summary>
    public Action<News> Changed { get; set; } = static _ => { };

    /// <summary>Where this process answers, for other nodes to see; null is not said.</summary>
    public string? Address { get; set; }

    /// <summary>
    /// Whether nodes of the release before run on the store: what they do not understand is not to be written yet.
    /// </summary>
    public virtual bool HasOlderNodes => false;

    /// <summary>The kind of database: <c>sqlite</c> or <c>postgresql</c>.</summary>
    public abstract string Name { get; }

    /// <summary>The release of the database such as 3.53.4; of the server, where there is one.</summary>
    public abstract ValueTask<string> FindReleaseAsync(CancellationToken ct);

    /// <summary>What other nodes tell has not been heard for a while: what was cached in the belief that it would be is to be read anew.</summary>
    public virtual bool IsDeaf => false;

    /// <summary>Whose audit chain this process writes: distinct among the processes on a store, but for moments in which the storage refuses one of two.</summary>
    public virtual string Node => "node_1";

    /// <summary>
    /// Another number after each time that what writes had to connect anew, to another server maybe: what was read before may be older than
    /// what that one holds.
    /// </summary>
    public virtual long Session => 0;

    /// <summary>Becomes a node of the store: takes a name, and hears of changes from now on.</summary>
    public virtual Task JoinAsync(CancellationToken ct) => Task.CompletedTask;

    /// <summary>Waits until no other node is starting, and keeps others from it until disposed of. An embedded store is held by its data directory.</summary>
    public virtual ValueTask<IAsyncDisposable?> HoldStartAsync(CancellationToken ct) => ValueTask.FromResult<IAsyncDisposable?>(null);

    /// <summary>What <c>meta</c> holds under a key, or null.</summary>
    public abstract ValueTask<byte[]?> FindMetaAsync(string key, CancellationToken ct);

    /// <summary>What <c>meta</c> holds under all keys that begin with a prefix.</summary>
    public abstract ValueTask<IReadOnlyList<(string Key, byte[] Value)>> ListMetaAsync(string prefix, CancellationToken ct);

    /// <summary>All root keys, oldest first.</summary>
    public abstract ValueTask<IReadOnlyList<RootKeyRow>> ListRootKeysAsync(CancellationToken ct);

    public abstract ValueTask<AppRow?> FindAppAsync(string id, CancellationToken ct);

    /// <summary>A page of all apps, newest first.</summary>
    /// <param name="bound">The id of the app that it begins after, or null.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<AppRow>> ListAppsAsync(string? bound, int limit, CancellationToken ct);

    /// <summary>Apps whose settings are not sealed, in the order of their ids.</summary>
    /// <param name="bound">The id that they begin after; empty for the first.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<AppRow>> ListUnsealedAsync(string bound, int limit, CancellationToken ct);

    public abstract ValueTask<ApiKeyRow?> FindApiKeyAsync(byte[] mac, CancellationToken ct);

    public abstract ValueTask<ApiKeyRow?> FindApiKeyAsync(string id, CancellationToken ct);

    /// <summary>A page of the keys of an app, or of all keys, newest first.</summary>
    /// <param name="app">The app, or null for all keys.</param>
    /// <param name="bound">The id of the key that it begins after, or null.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<ApiKeyRow>> ListApiKeysAsync(string? app, string? bound, int limit, CancellationToken ct);

    /// <summary>By what all keys are found.</summary>
    public abstract ValueTask<IReadOnlyList<byte[]>> ListApiKeyMacsAsync(CancellationToken ct);

    /// <summary>
    /// A page of revocations in the order of the commits that wrote them last, and within one by subject; also those
    /// that are over.
    /// </summary>
    /// <param name="number">The number that it begins in; -1 begins at the first.</param>
    /// <param name="subject">The subject of that number that it begins after; empty begins with all of that
    /// number.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<RevocationRow>> ListRevocationsAsync(long number, string subject,
        int limit, CancellationToken ct);

    /// <summary>The subjects of revocations that need not be kept at a Unix second, longest ended first.</summary>
    public abstract ValueTask<IReadOnlyList<string>> ListEndedRevocationsAsync(long now, int limit,
        CancellationToken ct);

    /// <summary>The generations that are greater than a number, least first; -1 gives all.</summary>
    public abstract ValueTask<IReadOnlyList<GenerationRow>> ListGenerationsAsync(long number, CancellationToken ct);

    /// <summary>A page of the accounts of an app in the order of their ids, with their unexpired secrets counted.</summary>
    public abstract ValueTask<IReadOnlyList<AccountRow>> ListAccountsAsync(string app, string? bound, long now, int limit, CancellationToken ct);

    public abstract ValueTask<TenantRow?> FindTenantAsync(TenantId tenant, CancellationToken ct);

    /// <summary>The row, expired or not: whether it counts as there is for the caller to decide.</summary>
    public abstract ValueTask<SecretRow?> FindSecretAsync(SecretKey key, CancellationToken ct);

    /// <summary>A page of the scope's unexpired secrets, nearest to the bound first.</summary>
    /// <param name="tenant">The tenant's number.</param>
    /// <param name="scope">Blind index of the scope.</param>
    /// <param name="bound">An id that is not itself in the page, or null to begin at the newest.</param>
    /// <param name="newer">True walks from the bound to newer ids, false to older ones.</param>
    /// <param name="now">Unix seconds; a row with <c>expires_at</c> at or before it is absent.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<SecretRow>> ListSecretsAsync(
        long tenant, byte[] scope, string? bound, bool newer, long now, int limit, CancellationToken ct);

    /// <summary>A page of all unexpired secrets of a tenant, newest first.</summary>
    /// <param name="tenant">The tenant's number.</param>
    /// <param name="bound">An id that the page begins after, or null.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<SecretRow>> ListTenantSecretsAsync(long tenant, string? bound, long now, int limit, CancellationToken ct);

    /// <summary>An unexpired secret of a tenant by its id.</summary>
    public abstract ValueTask<SecretRow?> FindSecretAsync(long tenant, string id, long now, CancellationToken ct);

    /// <summary>A page of unexpired secrets across tenants: by expiry if the filter has one, or else by tenant; then by tenant and blind name.</summary>
    /// <param name="filter">Which secrets.</param>
    /// <param name="after">The last one of the page before, or null.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<FoundSecretRow>> SearchSecretsAsync(SecretFilter filter, (long? ExpiresAt, SecretKey Key)? after, long now, int limit, CancellationToken ct);

    /// <summary>Where secrets stand that have expired at <paramref name="now"/> (Unix seconds), longest first.</summary>
    public abstract ValueTask<IReadOnlyList<SecretKey>> ListExpiredAsync(long now, int limit, CancellationToken ct);

    /// <summary>When the oldest idempotency record was made (Unix seconds), or null if there is none.</summary>
    public abstract ValueTask<long?> FindOldestIdempotencyAsync(CancellationToken ct);

    /// <summary>When the oldest kept reply was made (Unix seconds), or null if there is none.</summary>
    public abstract ValueTask<long?> FindOldestReplyAsync(CancellationToken ct);

    public abstract ValueTask<ReceiptRow?> FindReceiptAsync(string id, CancellationToken ct);

    /// <summary>A page of the receipts that are not signed, oldest first.</summary>
    /// <param name="after">When the last of the page before was made, and its id; null begins with the oldest.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<ReceiptRow>> ListPendingReceiptsAsync(
        (long Created, string Id)? after, int limit, CancellationToken ct);

    /// <summary>How far the engine can see to it that what was shredded is gone.</summary>
    public abstract Reach Reach { get; }

    /// <summary>
    /// Has nothing left in the engine's files of what was shredded before the call, as far as <see cref="Reach"/>
    /// goes. Holds up no
    /// reader, and a writer for some milliseconds at most.
    /// </summary>
    /// <returns>False if that is not possible now, while somebody reads an old state for example.</returns>
    public abstract ValueTask<bool> EraseAsync(CancellationToken ct);

    /// <summary>
    /// Reads for, decides and writes all changes in one transaction, in their order, and returns once it is durable.
    /// A change whose decision throws is given its exception and leaves no row; the others go on. What they all have to put
    /// on record goes through <paramref name="chain"/>, whose row is part of the transaction.
    /// </summary>
    public abstract void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain);

    /// <summary>Audit rows in the order in which they were written, or the other way round, with their numbers.</summary>
    /// <param name="bound">A number that is not itself given; 0 begins at the first, <see cref="long.MaxValue"/> backwards at the last.</param>
    /// <param name="newestFirst">Which way.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public abstract ValueTask<IReadOnlyList<(long Number, AuditRow Row)>> ListAuditAsync(long bound, bool newestFirst, int limit, CancellationToken ct);

    /// <summary>The last audit row of a node, or null.</summary>
    public abstract ValueTask<AuditRow?> FindLastAuditAsync(string node, CancellationToken ct);

    /// <summary>
    /// The audit row of a node that holds an entry, or the newest before it; null if there is none. Read by what
    /// writes, from where it writes: only before the committer runs, or in its loop while it makes a transaction's
    /// audit row.
    /// </summary>
    public abstract AuditRow? FindAudit(string node, long atMost);

    /// <summary>What <c>meta</c> holds under a key, read in the same way.</summary>
    public abstract byte[]? FindMeta(string key);

    /// <summary>
    /// A page of the nodes whose rows are there, in the order of their names, each with how far its log has come.
    /// </summary>
    /// <param name="after">The node that it begins after; empty begins at the first.</param>
    /// <param name="limit">The most nodes to give.</param>
    /// <param name="metaPrefix">Before a node's name, what <c>meta</c> is asked for beside it, at the same
    /// moment.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Nothing for an embedded store: no other node writes it.</returns>
    public virtual ValueTask<IReadOnlyList<AuditHeadRow>> ListAuditHeadsAsync(
        string after, int limit, string metaPrefix, CancellationToken ct) => new([]);

    public abstract void Dispose();
}

/// <summary>What an engine can say of rows that were removed.</summary>
internal enum Reach
{
    /// <summary>
    /// They are removed for all who ask. Their bytes stay in files that the engine does not rule, for a time that it
    /// does not know.
    /// </summary>
    Rows,

    /// <summary>The log is emptied, and no copy of a tenant's keys is left in the store's file.</summary>
    Files,
}
