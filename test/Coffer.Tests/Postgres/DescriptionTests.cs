using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// The description of the schema that a start on PostgreSQL is held against. After a migration was added,
/// TEST_WRITE_SCHEMA=1 writes it again.
/// </summary>
public sealed class DescriptionTests(PostgresServer server)
{
    private const string File = "src/Coffer/Storage/Postgres/postgres-schema.txt";

    [Fact]
    [Trait("Firm ground", "11")]
    public async Task The_description_says_what_the_migrations_make()
    {
        var store = await server.NewDatabaseAsync();
        await using var connection = new NpgsqlConnection(store + ";Pooling=false");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken);
        foreach (var sql in (string[])["CREATE TABLE coffer_schema (version BIGINT NOT NULL)",
            .. Coffer.Storage.Migrations.Of("postgres")])
        {
            await using var command = new NpgsqlCommand(sql, connection);
            await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        }

        var made = await PostgresFacts.DescribeAsync(connection, TestContext.Current.CancellationToken);
        if (Environment.GetEnvironmentVariable("TEST_WRITE_SCHEMA") == "1")
            await System.IO.File.WriteAllTextAsync(Repository.File(File), made, TestContext.Current.CancellationToken);
        Assert.True(await System.IO.File
            .ReadAllTextAsync(Repository.File(File), TestContext.Current.CancellationToken) == made,
            $"{File} is not what the migrations make: run this test with TEST_WRITE_SCHEMA=1, and see its diff.");
    }
}
