namespace Coffer.Storage;

/// <summary>
/// One row written or removed; the committer's vocabulary. Each is declared beside the row that it writes
/// (<c>AppRow.cs</c> and so on), with its statements.
/// </summary>
internal abstract partial record RowWrite
{
    /// <summary>What writes it, in this order. Each proves what it did (<see cref="WriteProof"/>).</summary>
    public abstract IReadOnlyList<Statement> Statements { get; }

    /// <summary>
    /// What writes it for less where nobody else writes the store, if it is the usual case: it changes one row then,
    /// and none if it is not. Null is that there is nothing cheaper.
    /// </summary>
    public virtual Statement? Usual => null;

    /// <summary>
    /// Names the row that it writes, if it is one and nothing else of a transaction depends on when: such rows are
    /// written at the end in the order of these names, so that nodes do not wait for each other in circles. Null is
    /// written in the order of the changes.
    /// </summary>
    public virtual string? Single => null;

    /// <summary>Whether it holds the number of its transaction (<see cref="CommitOrder"/>).</summary>
    public virtual bool IsNumbered => false;

    /// <summary>
    /// Whether it has something that is sealed under a root key: it is not written in the transaction that changes the
    /// control row, which may be about that key (<see cref="Engine.KnownControl"/>).
    /// </summary>
    public virtual bool IsUnderRoot => false;

    /// <summary>What it changes of what changes of the management plane are decided by.</summary>
    public virtual Sources Writes => Sources.None;
}

/// <summary>What changes of the management plane are decided by.</summary>
[Flags]
internal enum Sources
{
    None = 0,
    Apps = 1,
    ApiKeys = 2,
    Tenants = 4,
    Secrets = 8,
    Audit = 16,
    Generations = 32,
    Meta = 64,
    Uninstalls = 128,
    Endpoints = 256,
}
