namespace Coffer.Storage;

/// <summary>The table <c>meta</c>: what there is one of.</summary>
internal static class MetaRow
{
    public static readonly Table Table = new("meta", "key:t value:b", "key");

    /// <summary>Under which <c>meta</c> has the control row: what nodes keep of root keys hangs on it.</summary>
    public const string Control = "control";

    /// <summary>A row if another control row is stored than one that is known.</summary>
    public const string OtherControl = $"SELECT 1 FROM meta WHERE value <> $1 AND key = '{Control}' LIMIT 1";

    public static readonly Query<byte[]> ByKey = new(
        "SELECT value FROM meta WHERE key = $1", static row => row.Bytes(0));

    public static readonly Query<(string Key, byte[] Value)> ByPrefix = new(
        "SELECT key, value FROM meta WHERE substr(key, 1, length($1)) = $1 ORDER BY key", ToMeta);

    public const string Put =
        "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";

    /// <summary>Sets it, unless it is gone or is another by now.</summary>
    public const string Replace = "UPDATE meta SET value = $1 WHERE key = $2 AND value = $3";

    public const string Delete = "DELETE FROM meta WHERE key = $1";

    public static (string Key, byte[] Value) ToMeta(IRow row) => (row.Text(0), row.Bytes(1));
}

internal abstract partial record RowWrite
{
    /// <summary>Sets what <c>meta</c> holds under a key.</summary>
    public sealed record PutMeta(string Key, byte[] Value) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(MetaRow.Put, Key, Value)];

        /// <summary>The same, if what it was is still there.</summary>
        public ReplaceMeta InPlaceOf(byte[] before) => new(Key, before, Value);

        public override string? Single => $"meta {Key}";

        public override Sources Writes => Sources.Meta;
    }

    /// <summary>Sets what <c>meta</c> holds under a key, if it is what it was.</summary>
    public sealed record ReplaceMeta(string Key, byte[] Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(MetaRow.Replace, After, Key, Before)];

        public override Sources Writes => Sources.Meta;
    }

    /// <summary>Removes what <c>meta</c> holds under a key.</summary>
    public sealed record DeleteMeta(string Key) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(MetaRow.Delete, Key)];

        public override Sources Writes => Sources.Meta;
    }
}
