namespace Coffer.Storage;

/// <summary>A root key, as a wrapper has wrapped it. What is true of it is in the control row.</summary>
internal sealed record WrappingRow(uint Version, string Wrapper, byte[] Wrapped, long Created)
{
    public static readonly Table Table = new(
        "root_key_wrappings", "version:n wrapper:t wrapped:b created:n", "version wrapper");

    public static readonly Query<WrappingRow> All = new(
        $"SELECT {Table.Names()} FROM root_key_wrappings ORDER BY version, wrapper", From);

    public const string Delete = "DELETE FROM root_key_wrappings WHERE version = $1 AND wrapper = $2";

    public static readonly string Put = Table.Upsert();

    // No root key has the version 0: what is not a version opens nothing.
    public static WrappingRow From(IRow row)
    {
        var isSound = row.Has("ntbn") && row.Number(0) is > 0 and <= uint.MaxValue;
        return isSound
            ? new WrappingRow((uint)row.Number(0), row.Text(1), row.Bytes(2), row.Number(3))
            : new WrappingRow(0, "", [], 0);
    }
}

internal abstract partial record RowWrite
{
    public sealed record PutWrapping(WrappingRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(WrappingRow.Put, (long)Row.Version, Row.Wrapper, Row.Wrapped, Row.Created)];
    }

    public sealed record DeleteWrapping(uint Version, string Wrapper) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(WrappingRow.Delete, (long)Version, Wrapper)];
    }
}
