namespace Coffer.Storage;

/// <summary>
/// A root key. In a store of level 1 it is wrapped here, by the key file; in later ones this is empty, and
/// <see cref="WrappingRow"/> has it.
/// </summary>
internal sealed record RootKeyRow(uint Version, long Created, byte[] Wrapped)
{
    public static readonly Table Table = new("root_keys", "version:n created:n wrapped:b", "version");

    /// <summary>All root keys, oldest first.</summary>
    public static readonly Query<RootKeyRow> All = new(
        "SELECT version, created, wrapped FROM root_keys ORDER BY version", From);

    public const string Delete = "DELETE FROM root_keys WHERE version = $1";

    public const string Put = "INSERT INTO root_keys (version, created, wrapped) VALUES ($1, $2, $3)";

    public const string Empty = "UPDATE root_keys SET wrapped = $1 WHERE version = $2";

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

    /// <summary>Leaves of a root key's row what one of a store with a control row has.</summary>
    public sealed record EmptyRootKey(uint Version) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(RootKeyRow.Empty, Array.Empty<byte>(), (long)Version)];
    }

    public sealed record DeleteRootKey(uint Version) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(RootKeyRow.Delete, (long)Version)];
    }
}
