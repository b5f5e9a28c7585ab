namespace Coffer.Storage;

/// <summary>
/// The text of a statement in each dialect. Parameters are <c>$1</c>, <c>$2</c>, … numbered in the order in which
/// they first occur, so that every driver binds them alike. Texts are kept by their identity: make each once.
/// </summary>
/// <param name="Sqlite">For SQLite.</param>
/// <param name="Postgres">For PostgreSQL.</param>
internal readonly record struct SqlText(string Sqlite, string Postgres)
{
    public static implicit operator SqlText(string both) => new(both, both);
}

/// <summary>A question to the database.</summary>
/// <param name="Text">What is asked.</param>
/// <param name="Map">What a row of the answer becomes.</param>
internal sealed record Query<T>(SqlText Text, Func<IRow, T> Map);

/// <summary>A statement that writes, with its parameters.</summary>
/// <param name="Text">What is written.</param>
/// <param name="Values">$1, $2, …</param>
internal sealed record Statement(SqlText Text, params SqlValue[] Values)
{
    /// <summary>
    /// How many rows it is to change, asked just before it, with its own parameters; null where its text says it
    /// (<see cref="WriteProof"/>).
    /// </summary>
    public (Query<long> Query, SqlValue[] Values)? Count { get; init; }
}

/// <summary>The row that a query stands at, whichever driver it came from. It is gone with the next one.</summary>
internal interface IRow
{
    long Number(int column);

    long? NumberOrNull(int column);

    string Text(int column);

    string? TextOrNull(int column);

    byte[] Bytes(int column);

    byte[]? BytesOrNull(int column);

    /// <summary>
    /// Whether the columns hold what their types say: SQLite keeps what it is given, and reads it as what is asked for.
    /// Each is a character: <c>n</c> a number, <c>t</c> text, <c>b</c> bytes; a capital may be null.
    /// </summary>
    bool Has(string types);
}
