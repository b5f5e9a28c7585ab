using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Transfer;
using Microsoft.Data.Sqlite;

namespace Coffer.Tests.Support;

/// <summary>
/// Logs, verified with public keys and nothing else; and what somebody could be shown who has no more.
/// </summary>
internal static class PublicProofs
{
    /// <summary>Keeps the public keys of a store in a file.</summary>
    public static async Task<string> KeepAsync(StoreLocation store, string name = "audit-key.pem")
    {
        var file = Path.Combine(store.Data, name);
        await File.WriteAllTextAsync(file, await AuditArchive.PublicKeyAsync(store, default));
        return file;
    }

    /// <summary>Verifies a store with them, where its key file is away.</summary>
    public static async Task<AuditArchive.AuditReport> VerifyAsync(
        StoreLocation store, string publicKeys, string? checkpoints = null)
    {
        var key = Path.Combine(store.Data, "coffer.key");
        File.Move(key, key + ".away");
        try
        {
            return await AuditArchive.VerifyStoreAsync(store, checkpoints, default, publicKeys);
        }
        finally
        {
            File.Move(key + ".away", key);
        }
    }

    public static async Task<string> ExportAsync(StoreLocation store, string name = "export.jsonl")
    {
        var to = Path.Combine(store.Data, name);
        await using var file = new StreamWriter(to);
        await AuditArchive.ExportAsync(store, file, default);
        return to;
    }

    /// <summary>
    /// What whoever writes the database can do to a public chain, which has no key: all of it is hashed again over what
    /// stands there now, with the generations that stand there.
    /// </summary>
    public static void HashAgain(string storeFile)
    {
        using var connection = StoreEdits.Connect(storeFile);
        var store = (byte[])Command("SELECT value FROM meta WHERE key = 'store id'").ExecuteScalar()!;
        var rows = new List<(long Number, byte[] Mac, byte[] Entries, byte[]? Public)>();
        using (var reader = Command("SELECT row, mac, entries, public FROM audit ORDER BY row").ExecuteReader())
        {
            while (reader.Read())
                rows.Add((reader.GetInt64(0), Bytes(reader, 1)!, Bytes(reader, 2)!, Bytes(reader, 3)));
        }

        var at = new ChainPosition(0, []);
        foreach (var (number, mac, entries, known) in rows)
        {
            var row = new AuditRow("node_1", 0, 0, mac, entries);
            var lines = Verification.Lines(row).ToList();
            if (PublicPlace.Read(known) is not var (salt, place))
            {
                at = new ChainPosition(at.Sequence + lines.Count, mac);
                continue;
            }

            var hash = place.Generation.Is(at.Public?.Generation)
                ? at.Public!.Hash.ToArray()
                : PublicChain.Begin(store, "node_1", place.Generation, at);
            PublicChain.AddRow(hash, salt);
            foreach (var line in lines)
                PublicChain.AddEntry(hash, line.Span);
            place = new PublicPlace(hash, place.Generation);
            at = new ChainPosition(at.Sequence + lines.Count, mac) { Public = place };
            var update = Command("UPDATE audit SET public = $public WHERE row = $row");
            update.Parameters.AddWithValue("$public", place.ToRow(salt));
            update.Parameters.AddWithValue("$row", number);
            Assert.Equal(1, update.ExecuteNonQuery());
        }

        // What SQL has put together may be text.
        static byte[]? Bytes(SqliteDataReader reader, int at) =>
            reader.IsDBNull(at) ? null : reader.GetFieldValue<byte[]>(at);

        SqliteCommand Command(string sql)
        {
            var command = connection.CreateCommand();
            command.CommandText = sql;
            return command;
        }
    }

    /// <summary>Turns a bit of what <c>meta</c> holds under a key; again turns it back.</summary>
    public static void Edit(string storeFile, string key, int at)
    {
        using var connection = StoreEdits.Connect(storeFile);
        using var read = connection.CreateCommand();
        read.CommandText = $"SELECT value FROM meta WHERE key = '{key}'";
        var value = (byte[])read.ExecuteScalar()!;
        value[at] ^= 1;
        using var write = connection.CreateCommand();
        write.CommandText = $"UPDATE meta SET value = $value WHERE key = '{key}'";
        write.Parameters.AddWithValue("$value", value);
        Assert.Equal(1, write.ExecuteNonQuery());
    }

    public static void Execute(string storeFile, string sql)
    {
        using var connection = StoreEdits.Connect(storeFile);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        Assert.NotEqual(0, command.ExecuteNonQuery());
    }
}
