using System.Data.Common;
using System.Text.Unicode;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>The tables of a store in a file.</summary>
internal sealed class SqliteTables : StoredTables
{
    private readonly SqliteCopy? copied;

    private SqliteTables(SqliteConnection connection, SqliteCopy? copy) : base(connection) => copied = copy;

    public override bool IsCopy => copied is not null;

    public override bool IsCurrent => copied?.IsCurrent ?? true;

    // SQLite looks for each parameter among all, and a statement costs it no more than a step.
    protected override int RowsAStatement => 1;

    /// <summary>
    /// Opens the store in a file, and brings its schema up to date; beside a running server, if there is one.
    /// </summary>
    /// <param name="file">The file.</param>
    /// <param name="upTo">The schema to stop at; null is the newest.</param>
    /// <exception cref="ConfigurationException">
    /// The file is not a Coffer store, or was written by a newer Coffer.
    /// </exception>
    public static SqliteTables Open(string file, int? upTo = null) => Open(file, upTo, copy: null);

    /// <summary>
    /// The same for a mere reader: a store that cannot be written where it is, is copied first, and stays as it is.
    /// </summary>
    /// <inheritdoc cref="Open(string, int?)"/>
    public static SqliteTables OpenAnywhere(string file) =>
        SqliteCopy.Open(file, static (at, copy) => Open(at, upTo: null, copy));

    public override void Dispose()
    {
        base.Dispose();
        copied?.Dispose();
    }

    private static SqliteTables Open(string file, int? upTo, SqliteCopy? copy)
    {
        SqliteEngine.Open(file, upTo).Dispose();
        try
        {
            return new SqliteTables(SqliteSession.Connect(file), copy);
        }
        catch (SqliteException e)
        {
            throw ApiError.StorageUnavailable(e);
        }
    }

    protected override void Begin(bool still) => Execute("BEGIN");

    protected override long Remembered(Table table) =>
        Number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = $1", table.Name);

    protected override void Remember(Table table, long position)
    {
        // Of the tables, two remember more than their greatest number.
        if (table != TenantRow.Table && table != EventRow.Table)
            return;
        Command("DELETE FROM sqlite_sequence WHERE name = $1", table.Name).ExecuteNonQuery();
        Command("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)", table.Name, position).ExecuteNonQuery();
    }

    protected override bool IsUnique(Table table) => table != AuditRow.Table;

    protected override bool IsOfMedium(Exception e) => e is SqliteException;

    protected override bool IsText(DbDataReader reader, int column, string text) =>
        !text.Contains('\uFFFD', StringComparison.Ordinal) || Utf8.IsValid(reader.GetFieldValue<byte[]>(column));

    protected override string NameOf(int parameter) => $"${parameter}";
}
