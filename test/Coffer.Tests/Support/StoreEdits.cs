using System.Buffers.Text;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;
using Microsoft.Data.Sqlite;

namespace Coffer.Tests.Support;

/// <summary>
/// What someone does to a store who can write its file; and, with the key, what another version would have written.
/// </summary>
internal static class StoreEdits
{
    /// <summary>A connection to the file of a store, of no pool: what it holds open is closed with it.</summary>
    public static SqliteConnection Connect(string file)
    {
        var connection = new SqliteConnection($"Data Source={file};Pooling=False");
        connection.Open();
        return connection;
    }

    /// <summary>Somebody who has begun to read the file of a store, a back-up for example.</summary>
    public static SqliteConnection BeginToRead(string file)
    {
        var connection = Connect(file);
        using var command = connection.CreateCommand();
        command.CommandText = "BEGIN; SELECT count(*) FROM tenants";
        command.ExecuteScalar();
        return connection;
    }

    /// <summary>Takes a server's own steps by hand, while it is stopped.</summary>
    public static Task StepsAsync(this TestServer server, Func<Tenants, Committer, Engine, Task> steps) =>
        server.OnStoreAsync(async (engine, committer, instance) =>
        {
            await steps(new Tenants(engine, committer, instance, server.Time, kept: 10), committer, engine);
            return true;
        });

    public static int Execute(this TestServer server, string sql, params byte[][] bytes) =>
        Command(server, sql, bytes, command => command.ExecuteNonQuery());

    public static object? Scalar(this TestServer server, string sql) =>
        Command(server, sql, [], command => command.ExecuteScalar());

    /// <summary>The first column of each row, as text, with commas between; on whichever engine it is.</summary>
    public static async Task<string> OnTheSideAsync(this TestServer server, string sql)
    {
        await using System.Data.Common.DbConnection connection = server.Location.Store is { } store
            ? new Npgsql.NpgsqlConnection(store)
            : new SqliteConnection($"Data Source={server.StoreFile};Pooling=False");
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        await using var reader = await command.ExecuteReaderAsync();
        var rows = new List<string>();
        while (await reader.ReadAsync())
            rows.Add($"{reader.GetValue(0)}");
        return string.Join(", ", rows);
    }

    /// <summary>
    /// Makes the store one of level 1 that does not say that every app's settings are sealed, as in an earlier version.
    /// </summary>
    public static Task<bool> MakeEarlierAsync(this TestServer server, bool appsAreSealed = false)
    {
        File.Delete(Path.Combine(server.Data, "coffer.anchor"));
        return server.OnStoreAsync((engine, committer, instance) => MakeEarlierAsync(
            engine, committer, instance, Path.Combine(server.Data, "coffer.key"), appsAreSealed));
    }

    /// <summary>Makes the store one of level 1: no control row, one key file that wraps the one root key.</summary>
    public static async Task<bool> MakeEarlierAsync(
        Engine engine, Committer committer, Instance instance, string keyFile, bool appsAreSealed)
    {
        await MakeFormatOneAsync(engine, committer, instance);
        using var control = Control.Open(
            instance.Id, await engine.FindMetaAsync(Control.MetaKey, default), instance.Roots)!;
        var root = (await engine.ListRootKeysAsync(default)).Single();
        var wrappings = await engine.ListWrappingsAsync(default);
        using var key = instance.Roots.Find(root.Version)!.Copy();
        var line = File.ReadLines(keyFile).Last(text => text.StartsWith("coffer-key", StringComparison.Ordinal));
        using var wrapper = new SealingKey(1, Base64Url.DecodeFromChars(line.Split(' ')[3]));
        var keys = await engine.ListApiKeysAsync(null, null, newer: false, 1_000, default);
        await committer.CommitAsync(new Change.Plain(
        [
            .. keys.Select(row => new RowWrite.PutApiKey(InFirstForm(instance, row))),
            new RowWrite.PutMeta("identity", Sealed(instance.Roots,
                appsAreSealed ? "coffer v2 identity"u8 : "coffer v1 identity"u8,
                [.. instance.Id, .. control.Peppers.Single().Secret.Span])),
            new RowWrite.PutMeta("audit signing key", Sealed(instance.Roots, "coffer v1 audit signing key"u8,
                control.SigningKeys.Single().Secret.Span, instance.Id)),
            new RowWrite.DeleteRootKey(root.Version),
            new RowWrite.PutRootKey(root with { Wrapped = Wrapped(wrapper, root.Version, key.Span) }),
            .. wrappings.Select(row => new RowWrite.DeleteWrapping(row.Version, row.Wrapper)),
            new RowWrite.DeleteMeta(Control.MetaKey), new RowWrite.DeleteMeta(Control.StoreMetaKey),
        ]));
        return true;
    }

    /// <summary>A key's row as a program of before has written it, which knew neither roles nor who made it.</summary>
    public static ApiKeyRow InFirstForm(Instance instance, ApiKeyRow row)
    {
        row = row with { Role = null, CreatedBy = null };
        return row with { Proof = Coffer.Access.ApiKey.FirstProofOf(instance, row) };
    }

    /// <summary>Puts the keys of all tenants into format 1, as an earlier version made them.</summary>
    public static async Task<bool> MakeFormatOneAsync(Engine engine, Committer committer, Instance instance)
    {
        foreach (var (tenant, row) in await engine.ListAsync(TenantRow.NotUnder, default, new byte[4], 0L, 1_000))
        {
            var stored = FormatOne(instance, tenant, row);
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutTenantKeys(row.Id, tenant, stored, 0, 1)));
        }

        return true;
    }

    private static byte[] FormatOne(Instance instance, TenantId tenant, TenantRow row)
    {
        var bound = Coffer.Secrets.Tenants.Bound(SealedKind.TenantKeys, instance, tenant);
        bound.Add(row.Counter);
        bound.Add(row.Keys);
        using var keys = instance.Roots.Open(row.SealedKeys, bound.Span)!;
        using var before = Coffer.Secrets.Tenants.Bound(SealedKind.TenantKeysOne, instance, tenant);
        // Without the counter, and without the number of retired seeds.
        return instance.Roots.Seal(
            SealedKind.TenantKeysOne, [1, .. keys.Span[9..41], .. keys.Span[42..]], before.Span);
    }

    private static byte[] Sealed(
        RootKeys roots, ReadOnlySpan<byte> purpose, ReadOnlySpan<byte> plaintext, byte[]? boundTo = null)
    {
        using var bound = new AssociatedData(purpose);
        if (boundTo is not null)
            bound.Add(boundTo);
        return AnyRows.Seal(roots.Find(roots.Newest)!, plaintext, bound.Span);
    }

    private static byte[] Wrapped(SealingKey wrapper, uint version, ReadOnlySpan<byte> key)
    {
        using var bound = new AssociatedData("coffer v1 root key"u8);
        bound.Add(version);
        return AnyRows.Seal(wrapper, key, bound.Span);
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
        return row with { Sealed = instance.Roots.Seal(SealedKind.App, change(fields.Span.ToArray()), bound.Span) };
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
        var bound = SealedKind.App.Bind();
        bound.Add(instance.Id);
        bound.Add(row.Id);
        bound.Add(row.Account);
        bound.Add(row.Created);
        return bound;
    }

    private static T Command<T>(TestServer server, string sql, byte[][] bytes, Func<SqliteCommand, T> run)
    {
        using var connection = Connect(server.StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = $"PRAGMA foreign_keys = OFF; {sql}";
        for (var i = 0; i < bytes.Length; i++)
            command.Parameters.AddWithValue($"$b{i}", bytes[i]);
        return run(command);
    }
}
