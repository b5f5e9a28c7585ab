using System.Data.Common;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>The tables of a store in a database.</summary>
internal sealed class PostgresTables : StoredTables
{
    private readonly NpgsqlDataSource source;
    private PostgresHold? held;

    private PostgresTables(NpgsqlConnection connection, NpgsqlDataSource source) : base(connection) =>
        this.source = source;

    // A statement costs a round trip.
    protected override int RowsAStatement => MostRows;

    /// <summary>Opens the store in a database; beside running nodes, if there are any.</summary>
    /// <param name="store">An Npgsql connection string.</param>
    /// <param name="isNew">Whether it may be empty: then it is given its schema.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="upTo">The schema to stop at, if it may be empty; null is the newest.</param>
    /// <exception cref="ConfigurationException">
    /// It cannot be reached, holds no store, is not Coffer's, or was written by a newer Coffer.
    /// </exception>
    public static async Task<PostgresTables> OpenAsync(
        string store, bool isNew, CancellationToken ct, int? upTo = null)
    {
        NpgsqlDataSource lasting;
        using (var engine = await (isNew
            ? PostgresEngine.OpenAsync(store, ct, upTo)
            : PostgresEngine.OpenSnapshotAsync(store, ct)))
            lasting = engine.Way.Lasting();
        try
        {
            return new PostgresTables(await PostgresCall.OpenAsync(lasting, ct), lasting);
        }
        catch (NpgsqlException e)
        {
            await lasting.DisposeAsync();
            throw ApiError.StorageUnavailable(e);
        }
    }

    public override bool TryHold() => Guarded(() =>
    {
        held = PostgresHold.TryTakeAsync(source, PostgresLocks.Start, default).GetAwaiter().GetResult();
        if (held is not null && Number(PostgresNames.CountRunning) == 0)
            return true;
        held?.Dispose();
        held = null;
        return false;
    });

    public override void Dispose()
    {
        base.Dispose();
        held?.Dispose();
        source.Dispose();
    }

    protected override void Begin(bool still)
    {
        Execute($"{(still ? PostgresSettings.ToCopy : PostgresSettings.ToRead)}; {PostgresSettings.Long}");
        if (!still)
            return;
        var tables = string.Join(", ", Tables.All.Select(table => table.Name));
        Execute($"SELECT set_config('lock_timeout', '10s', true); LOCK TABLE {tables} IN SHARE MODE");
    }

    protected override void BeginOne() => Execute($"{PostgresSettings.ToWrite}; {PostgresSettings.Long}");

    protected override bool SetsEach => true;

    protected override long Remembered(Table table) =>
        Number($"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {table.Name}_{table.Numbered}_seq");

    protected override void Remember(Table table, long position) =>
        Number($"SELECT setval('{table.Name}_{table.Numbered}_seq', greatest($1, 1), $1 > 0)", position);

    protected override bool IsOfMedium(Exception e) => e is NpgsqlException;

    // The database holds text to its encoding.
    protected override bool IsText(DbDataReader reader, int column, string text) => true;

    protected override string? NameOf(int parameter) => null;
}
