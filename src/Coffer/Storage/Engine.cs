// Storage: rows in, rows out. This room sees ciphertext and blind indexes only and never meets Crypto.

using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Storage;

/// <summary>
/// The seam between Coffer and a database. Reads may come from any thread at any time. <see cref="Write"/> is the
/// committer's alone. Failures of the medium surface as <see cref="ApiError.StorageUnavailable"/>, translated by the
/// driver's code.
/// </summary>
internal abstract partial class Engine : IDisposable
{
    /// <summary>
    /// Thrown by <see cref="Write"/> when something else held a lock for too long, or room was made on a full disk:
    /// nothing was stored, and the same changes may be written later.
    /// </summary>
    public sealed class LockedException(Exception inner) : Exception("a lock was not free in time", inner)
    {
        /// <summary>Whether nothing was waited for: another control row was stored, and is known by now.</summary>
        public bool IsOfControl { get; init; }
    }

    /// <summary>
    /// Called, on any thread, when what nodes keep in memory was changed by whichever node: by this one before the
    /// change completes, by another within the bound. It may be called again for the same change.
    /// </summary>
    public Action<News> Changed { get; set; } = static _ => { };

    /// <summary>
    /// The control row that this node goes by, as it is stored; null is not looked at. Nothing is written while another
    /// is stored: nearly all of it has something that a root key seals, or a pepper proves, or names the generation.
    /// </summary>
    public Func<byte[]?> KnownControl { get; set; } = static () => null;

    /// <summary>
    /// Called in the committer's loop when another one is stored: it is to be read before anything else. What it throws
    /// is what the changes that met it fail with; else they are decided again.
    /// </summary>
    public Action ControlMoved { get; set; } = static () => { };

    /// <summary>
    /// Whether requests are answered. What is written before is what a start needs, and is as urgent as what takes
    /// rights away.
    /// </summary>
    public virtual bool IsServing { get; set; }

    /// <summary>What is said of work beside requests.</summary>
    public ILogger Log { get; set; } = NullLogger.Instance;

    /// <summary>What tells this node of what others changed; null of an embedded store.</summary>
    public virtual Loop? Loop => null;

    /// <summary>
    /// Writes to each table that a set writes, by statements of the same kind, and undoes it: what a database refuses
    /// to some of them alone, a right or a lock for example, is found. Of an embedded store, one write is as good as
    /// another.
    /// </summary>
    /// <exception cref="ApiError">503: a set would be refused.</exception>
    public virtual ValueTask TryWritesAsync(CancellationToken ct) => ValueTask.CompletedTask;

    /// <summary>The newest level of stored forms that this program reads and writes.</summary>
    public const long KnownLevel = 9;

    /// <summary>The newest root key that this process has opened, for other nodes to see; 0 is not said.</summary>
    public long OpenedRoot { get; set; }

    /// <summary>The nodes that run, in the order of their names; none for an embedded store.</summary>
    public virtual ValueTask<IReadOnlyList<LiveNode>> ListNodesAsync(CancellationToken ct) => new([]);

    /// <summary>Where this process answers, for other nodes to see; null is not said.</summary>
    public string? Address { get; set; }

    /// <summary>
    /// Whether nodes of the release before run on the store: what they do not understand is not to be written yet.
    /// </summary>
    public virtual bool HasOlderNodes => false;

    /// <summary>
    /// By how much the clock of this machine is ahead of the database's, as last measured; null of an embedded store.
    /// </summary>
    public virtual TimeSpan? ClockOffset => null;

    /// <summary>
    /// The Unix second that reads go by: what has expired by this machine's clock or by the database's is absent (S33).
    /// </summary>
    public long SecondToRead(TimeProvider time)
    {
        var behind = ClockOffset is { } ahead && ahead < TimeSpan.Zero ? -ahead : TimeSpan.Zero;
        return (time.GetUtcNow() + behind).ToUnixTimeSeconds();
    }

    /// <summary>
    /// Whether nodes run on the store that do not read tenant keys of format 2, nor what is kept of a mint under them.
    /// </summary>
    public virtual bool HasNodesOfFormatOne => false;

    /// <summary>
    /// Whether this node is the one that does what one is enough for: the first of those that run. Two may think so for
    /// a moment.
    /// </summary>
    public async ValueTask<bool> LeadsAsync(CancellationToken ct) => Leads(await ListNodesAsync(ct));

    /// <summary>The same by the nodes that run.</summary>
    public bool Leads(IReadOnlyList<LiveNode> nodes) => nodes.Count == 0 || nodes[0].Name == Node;

    /// <summary>The kind of database: <c>sqlite</c> or <c>postgresql</c>.</summary>
    public abstract string Name { get; }

    /// <summary>How many bytes the database has, and its write-ahead log; null is not known here.</summary>
    public virtual ValueTask<(long? Database, long? Log)> FindSizesAsync(CancellationToken ct) => new((null, null));

    /// <summary>How long ago it was last read what other nodes changed; nothing of an embedded store.</summary>
    public virtual TimeSpan Silence => TimeSpan.Zero;

    /// <summary>Proves the schema as it is, and changes nothing.</summary>
    /// <returns>
    /// Its version, and the one that this program knows: an older one, which a start brings up to date, is not looked
    /// at further.
    /// </returns>
    /// <exception cref="ConfigurationException">
    /// It is not Coffer's, is a newer Coffer's, or was changed.
    /// </exception>
    public abstract ValueTask<(long Found, long Known)> ProveSchemaAsync(CancellationToken ct);

    /// <summary>The release of the database such as 3.53.4; of the server, where there is one.</summary>
    public abstract ValueTask<string> FindReleaseAsync(CancellationToken ct);

    /// <summary>
    /// What other nodes tell has not arrived for a while: what was cached in the belief that it would be is to be
    /// read again.
    /// </summary>
    public virtual bool IsBehind => false;

    /// <summary>
    /// Whose audit chain this process writes: distinct among the processes on a store, but for moments in which the
    /// storage refuses one of two.
    /// </summary>
    public virtual string Node => "node_1";

    /// <summary>
    /// Another number after each time that the database was found on another server, or on the same one started again,
    /// or what writes had to connect again: what was read before may be older than what is there now.
    /// </summary>
    public virtual long Failovers => 0;

    /// <summary>
    /// Another number after each commit of another process, where none may write: an embedded store. Null is not known.
    /// </summary>
    public virtual long? ForeignCommits => null;

    /// <summary>Of a store that is another process's now: from here on nothing of it is read or written.</summary>
    /// <param name="why">What is said to those who ask.</param>
    public virtual void GiveUp(string why)
    {
    }

    /// <summary>How the database is reached; null of an embedded store.</summary>
    public virtual Connections? Connections => null;

    /// <summary>Becomes a node of the store: takes a name, and is notified of changes from now on.</summary>
    public virtual Task JoinAsync(CancellationToken ct) => Task.CompletedTask;

    /// <summary>
    /// Waits until no other node is starting, and keeps others from it until disposed of. An embedded store is held by
    /// its data directory.
    /// </summary>
    public virtual ValueTask<IAsyncDisposable?> HoldStartAsync(CancellationToken ct) =>
        ValueTask.FromResult<IAsyncDisposable?>(null);

    /// <summary>How far the engine can see to it that what was shredded is gone.</summary>
    public abstract Reach Reach { get; }

    /// <summary>
    /// Has nothing left in the engine's files of what was shredded before the call, as far as <see cref="Reach"/> goes.
    /// Holds up no reader, and a writer for some milliseconds at most.
    /// </summary>
    /// <returns>False if that is not possible now, while somebody reads an old state for example.</returns>
    public abstract ValueTask<bool> EraseAsync(CancellationToken ct);

    /// <summary>
    /// Reads for, decides and writes all changes in one transaction, in their order, and returns once it is durable. A
    /// change whose decision throws is given its exception and leaves no row; the others
    /// continue. What they all have to record goes through <paramref name="chain"/>, whose row is part of the
    /// transaction.
    /// </summary>
    public abstract void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain);

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

/// <summary>A node that runs.</summary>
/// <param name="Name">Its name.</param>
/// <param name="OpenedRoot">The newest root key that it says it has opened; 0 says nothing.</param>
/// <param name="Level">The newest level of stored forms that it says it reads; 0 says nothing.</param>
/// <param name="ReadsFormatTwo">Whether it says that it reads tenant keys of format 2.</param>
internal sealed record LiveNode(string Name, long OpenedRoot, long Level = 0, bool ReadsFormatTwo = false);

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
