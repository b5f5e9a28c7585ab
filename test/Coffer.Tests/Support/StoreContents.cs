using System.Data.Common;
using System.Text;
using Coffer.Transfer;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace Coffer.Tests.Support;

/// <summary>What tests of copies put into a store, and how they compare two.</summary>
internal static class StoreContents
{
    /// <summary>Rows of every table, some of them more than a batch; gives an ephemeral key.</summary>
    public static async Task<string> FillAsync(TestServer server)
    {
        var app = await server.AppIdAsync();
        var one = server.Client(account: "acct_1");
        foreach (var some in Enumerable.Range(0, 620).Chunk(62))
            await Task.WhenAll(some.Select(async i => (await one.Set($"name {i}", $"payload {i}")).IsOk()));
        (await one.Set("of a user", "very secret", "usr_1")).IsOk();
        (await one.Set("expires", "soon", null, ("expires_at", $"{server.Time.Seconds + 1_000_000}"))).IsOk();
        (await one.Post("/v1/apps/secrets", [("scope[type]", "account"), ("name", "kept"), ("payload", "as it was")],
            "key 1")).IsOk();
        (await server.Client(account: "acct_2").Set("k", "of another account")).IsOk();
        (await server.Client(server.Keys.LiveSecretKey, "acct_1").Set("k", "live")).IsOk();
        (await server.Client(server.OtherAppKey, "acct_3").Set("k", "of another app")).IsOk();
        (await server.Client(account: "acct_gone").Set("k", "to be forgotten")).IsOk();
        (await server.Admin.Post($"/admin/v1/apps/{app}/accounts/acct_gone/forget", [])).IsOk();
        (await server.Admin.Post(
            "/admin/v1/api_keys",
            [("type", "restricted"), ("app", app), ("permissions[]", "secret_read"), ("account", "acct_1")],
            "reply 1")).IsOk();
        (await one.Delete("name 1")).IsOk();
        return await server.MintAsync("usr_1", "acct_1");
    }

    public static DbConnection Connect(StoreLocation place) => place.Store is null
        ? new SqliteConnection($"Data Source={Path.Combine(place.Data, "coffer.db")};Pooling=False")
        : new NpgsqlConnection(place.Store + ";Pooling=False");

    /// <summary>
    /// All rows of all tables as text, but for the control row and what it vouches for, which are a copy's own, and for
    /// the mark of a store that was migrated: read without the program's own lists.
    /// </summary>
    /// <param name="place">The store.</param>
    /// <param name="without">Tables that are left out.</param>
    public static async Task<string> DumpAsync(StoreLocation place, params string[] without)
    {
        var dump = new StringBuilder();
        await using var connection = Connect(place);
        await connection.OpenAsync();
        string[] tables = ["meta", "root_keys", "apps", "api_keys", "tenants", "secrets", "idempotency", "revocations",
            "generations", "epoch", "replies", "receipts", "uninstalls", "audit"];
        foreach (var table in tables.Except(without))
        {
            await using var command = connection.CreateCommand();
            command.CommandText = $"SELECT * FROM {table}"
                + (table == "meta" ? " WHERE key NOT IN ('control', 'moved')" : "");
            await using var reader = await command.ExecuteReaderAsync();
            var lines = new List<string>();
            while (await reader.ReadAsync())
            {
                lines.Add(string.Join(' ', Enumerable.Range(0, reader.FieldCount).Where(
                    i => reader.GetName(i) != "wrapped").OrderBy(reader.GetName, StringComparer.Ordinal)
                    .Select(i => $"{reader.GetName(i)}={Word(reader.GetValue(i))}")));
            }

            dump.AppendLine($"{table} {lines.Count}").AppendJoin('\n', lines.Order(StringComparer.Ordinal))
                .AppendLine();
        }

        return dump.ToString();

        static object Word(object value) => value is byte[] bytes ? Convert.ToHexString(bytes) : value;
    }
}
