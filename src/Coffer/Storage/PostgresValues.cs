using System.Data.Common;
using Npgsql;
using NpgsqlTypes;

namespace Coffer.Storage;

/// <summary>A parameter, in the type that its column has: BIGINT, TEXT, BYTEA, or an array of one of them.</summary>
internal readonly struct PostgresValue
{
    private PostgresValue(NpgsqlParameter parameter) => Parameter = parameter;

    public NpgsqlParameter Parameter { get; }

    /// <summary>The same value, for another statement: a parameter is of one.</summary>
    public PostgresValue Again() => new(Parameter.Clone());

    public static implicit operator PostgresValue(long value) => new(new NpgsqlParameter<long> { TypedValue = value, NpgsqlDbType = NpgsqlDbType.Bigint });

    public static implicit operator PostgresValue(long? value) => Of(value, NpgsqlDbType.Bigint);

    public static implicit operator PostgresValue(bool value) => value ? 1L : 0L;

    public static implicit operator PostgresValue(bool? value) => value is { } given ? given : Of(null, NpgsqlDbType.Bigint);

    public static implicit operator PostgresValue(string? value) => Of(value is null ? null : Storable(value), NpgsqlDbType.Text);

    public static implicit operator PostgresValue(byte[]? value) => Of(value, NpgsqlDbType.Bytea);

    public static implicit operator PostgresValue(long[] values) => Of(values, NpgsqlDbType.Array | NpgsqlDbType.Bigint);

    public static implicit operator PostgresValue(long?[] values) => Of(values, NpgsqlDbType.Array | NpgsqlDbType.Bigint);

    public static implicit operator PostgresValue(string[] values) => Of(Array.ConvertAll(values, Storable), NpgsqlDbType.Array | NpgsqlDbType.Text);

    public static implicit operator PostgresValue(byte[][] values) => Of(values, NpgsqlDbType.Array | NpgsqlDbType.Bytea);

    private static PostgresValue Of(object? value, NpgsqlDbType type) => new(new NpgsqlParameter { Value = value ?? DBNull.Value, NpgsqlDbType = type });

    // PostgreSQL's TEXT has no NUL. No id holds one, so text from a request that does finds nothing, rather than being an error.
    private static string Storable(string text) => text.Contains('\0', StringComparison.Ordinal) ? text.Replace('\0', '\uFFFD') : text;
}

/// <summary>The row that a reader stands at.</summary>
internal readonly struct PostgresRow(DbDataReader reader) : IRow
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
