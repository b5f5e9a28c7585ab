namespace Coffer.Storage;

/// <summary>A root key, wrapped by the key file.</summary>
internal sealed record RootKeyRow(uint Version, long Created, byte[] Wrapped)
{
    public static readonly Table Table = new("root_keys", "version:n created:n wrapped:b", "version");

    /// <summary>All root keys, oldest first.</summary>
    public static readonly Query<RootKeyRow> All = new(
        "SELECT version, created, wrapped FROM root_keys ORDER BY version", From);

    public const string Put = "INSERT INTO root_keys (version, created, wrapped) VALUES ($1, $2, $3)";

    // No root key has the version 0: what is not a version opens nothing.
    public static RootKeyRow From(IRow row)
    {
        var isVersion = row.Has("nnb") && row.Number(0) is > 0 and <= uint.MaxValue;
        return new RootKeyRow(isVersion ? (uint)row.Number(0) : 0, row.Number(1), row.Bytes(2));
    }
}

internal abstract partial record RowWrite
{
    public sealed record PutRootKey(RootKeyRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(RootKeyRow.Put, (long)Row.Version, Row.Created, Row.Wrapped)];
    }
}
