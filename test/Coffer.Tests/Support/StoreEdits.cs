using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;
using Microsoft.Data.Sqlite;

namespace Coffer.Tests.Support;

/// <summary>
/// What someone does to a store who can write its file; and, with the key, what another version would have written.
/// </summary>
internal static class StoreEdits
{
    public static int Execute(this TestServer server, string sql, params byte[][] bytes) =>
        Command(server, sql, bytes, command => command.ExecuteNonQuery());

    public static object? Scalar(this TestServer server, string sql) =>
        Command(server, sql, [], command => command.ExecuteScalar());

    /// <summary>Has the store no longer say that every app's settings are sealed, as in an earlier version.</summary>
    public static Task<bool> MakeEarlierAsync(this TestServer server) => server.OnStoreAsync(MakeEarlierAsync);

    private static async Task<bool> MakeEarlierAsync(Engine engine, Committer committer, Instance instance)
    {
        var row = new RowWrite.PutMeta("identity", Earlier(instance, await engine.FindMetaAsync("identity", default)));
        await committer.CommitAsync(new Change.Plain(row));
        return true;
    }

    private static byte[] Earlier(Instance instance, byte[]? stored)
    {
        using var now = new AssociatedData("coffer v2 identity"u8);
        using var earlier = new AssociatedData("coffer v1 identity"u8);
        using var identity = instance.Roots.Open(stored, now.Span)!;
        return instance.Roots.Seal(identity.Span, earlier.Span);
    }

    /// <summary>Seals the fields of an app's settings again as <paramref name="change"/> gives them.</summary>
    public static Task<bool> ResealAppAsync(this TestServer server, string id, Func<byte[], byte[]> change) =>
        server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var row = (await engine.FindAppAsync(id, default))!;
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutApp(Resealed(instance, row, change))));
            return true;
        });

    private static AppRow Resealed(Instance instance, AppRow row, Func<byte[], byte[]> change)
    {
        using var bound = Bind(instance, row);
        using var fields = instance.Roots.Open(row.Sealed, bound.Span)!;
        return row with { Sealed = instance.Roots.Seal(change(fields.Span.ToArray()), bound.Span) };
    }

    /// <summary>A field of tagged fields, as it is stored.</summary>
    public static byte[] Field(byte tag, params byte[] value)
    {
        var field = new byte[Tlv.SizeOf(value)];
        Tlv.Write(field, tag, value);
        return field;
    }

    /// <summary>The fields of these tags only, as a program keeps them that knows no others.</summary>
    public static byte[] Only(byte[] fields, params byte[] tags)
    {
        var kept = new List<byte>();
        for (var at = 0; at < fields.Length;)
        {
            var end = at + 5 + System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(fields.AsSpan(at + 1));
            if (tags.Contains(fields[at]))
                kept.AddRange(fields[at..end]);
            at = end;
        }

        return [.. kept];
    }

    private static AssociatedData Bind(Instance instance, AppRow row)
    {
        var bound = new AssociatedData("coffer v1 app"u8);
        bound.Add(instance.Id);
        bound.Add(row.Id);
        bound.Add(row.Account);
        bound.Add(row.Created);
        return bound;
    }

    private static T Command<T>(TestServer server, string sql, byte[][] bytes, Func<SqliteCommand, T> run)
    {
        using var connection = new SqliteConnection($"Data Source={server.StoreFile};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = $"PRAGMA foreign_keys = OFF; {sql}";
        for (var i = 0; i < bytes.Length; i++)
            command.Parameters.AddWithValue($"$b{i}", bytes[i]);
        return run(command);
    }
}
