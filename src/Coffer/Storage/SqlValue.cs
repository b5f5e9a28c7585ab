namespace Coffer.Storage;

/// <summary>
/// A parameter: a number, a text, bytes, null, or an array of one of them where the database knows arrays.
/// </summary>
internal readonly struct SqlValue
{
    private SqlValue(SqlType type, object? reference, long number = 0) =>
        (Type, Reference, Number) = (type, reference, number);

    /// <summary>Of a number, which holds no reference, when it is not null.</summary>
    private static readonly object IsNumber = new();

    public SqlType Type { get; }

    /// <summary>Whether it is null.</summary>
    public bool IsNull => Reference is null;

    /// <summary>The number, where it is one.</summary>
    public long Number { get; }

    /// <summary>The text, the bytes or the array.</summary>
    public object? Reference { get; }

    public static implicit operator SqlValue(long value) => new(SqlType.Number, IsNumber, value);

    public static implicit operator SqlValue(long? value) =>
        value is { } number ? number : new SqlValue(SqlType.Number, null);

    public static implicit operator SqlValue(bool value) => value ? 1L : 0L;

    public static implicit operator SqlValue(bool? value) =>
        value is { } flag ? flag : new SqlValue(SqlType.Number, null);

    public static implicit operator SqlValue(string? value) => new(SqlType.Text, value);

    public static implicit operator SqlValue(byte[]? value) => new(SqlType.Bytes, value);

    public static implicit operator SqlValue(long[] values) => new(SqlType.Number, values);

    public static implicit operator SqlValue(string[] values) => new(SqlType.Text, values);

    public static implicit operator SqlValue(byte[][] values) => new(SqlType.Bytes, values);

    /// <summary>One parameter of several that are of one type: an array of their values.</summary>
    public static SqlValue Array(SqlType type, IReadOnlyList<SqlValue> values) => new(type, type switch
    {
        SqlType.Number => values.Select(value => value.IsNull ? null : (long?)value.Number).ToArray(),
        SqlType.Text => values.Select(value => (string?)value.Reference).ToArray(),
        _ => (object)values.Select(value => (byte[]?)value.Reference).ToArray(),
    });
}

/// <summary>What a column or a parameter holds.</summary>
internal enum SqlType
{
    /// <summary>64 bits with a sign.</summary>
    Number,

    /// <summary>UTF-8.</summary>
    Text,

    /// <summary>Any bytes.</summary>
    Bytes,
}
