using System.Data.Common;
using Npgsql;
using NpgsqlTypes;

namespace Coffer.Storage.Postgres;

/// <summary>Parameters in the types that columns have: BIGINT, TEXT, BYTEA, or an array of one of them.</summary>
internal static class PostgresParameters
{
    public static void Add(NpgsqlParameterCollection to, params ReadOnlySpan<SqlValue> values)
    {
        foreach (var value in values)
            to.Add(Of(value));
    }

    private static NpgsqlParameter Of(SqlValue value) => (value.Type, value.Reference) switch
    {
        (_, System.Array and not byte[]) => ArrayOf(value),
        (SqlType.Number, not null) => new NpgsqlParameter<long>
        {
            TypedValue = value.Number,
            NpgsqlDbType = NpgsqlDbType.Bigint,
        },
        (_, string text) => new NpgsqlParameter { Value = Storable(text), NpgsqlDbType = NpgsqlDbType.Text },
        _ => new NpgsqlParameter { Value = value.Reference ?? DBNull.Value, NpgsqlDbType = Type(value.Type) },
    };

    private static NpgsqlParameter ArrayOf(SqlValue value) => new()
    {
        Value = value.Reference is string?[] texts ? System.Array.ConvertAll(texts, Storable) : value.Reference,
        NpgsqlDbType = NpgsqlDbType.Array | Type(value.Type),
    };

    private static NpgsqlDbType Type(SqlType type) => type switch
    {
        SqlType.Number => NpgsqlDbType.Bigint,
        SqlType.Text => NpgsqlDbType.Text,
        _ => NpgsqlDbType.Bytea,
    };

    // PostgreSQL's TEXT has no NUL. No id holds one, so text from a request that does finds nothing, rather than being
    // an error.
    private static string? Storable(string? text) =>
        text is not null && text.Contains('\0', StringComparison.Ordinal) ? text.Replace('\0', '\uFFFD') : text;
}

/// <summary>The row that a reader stands at.</summary>
internal sealed class PostgresRow(DbDataReader reader) : IRow
{
    public long Number(int column) => reader.GetInt64(column);

    public long? NumberOrNull(int column) => reader.IsDBNull(column) ? null : reader.GetInt64(column);

    public string Text(int column) => reader.GetString(column);

    public string? TextOrNull(int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

    public byte[] Bytes(int column) => reader.GetFieldValue<byte[]>(column);

    public byte[]? BytesOrNull(int column) => reader.IsDBNull(column) ? null : reader.GetFieldValue<byte[]>(column);

    /// <summary>The database holds each column to its type.</summary>
    public bool Has(string types) => true;
}
