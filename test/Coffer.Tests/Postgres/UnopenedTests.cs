using Coffer.Hosting;
using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Tests.Support;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// A file that the driver needs for a new connection is missing or half written for a while, as where passwords are
/// rotated: requests are refused with 503 and no other, and all that runs beside them is there again after it.
/// </summary>
[Trait("Firm edges", "16")]
public sealed class UnopenedTests
{
    [Fact]
    public async Task Loops_come_back_when_the_password_file_does()
    {
        await using var own = await PostgresServer.OwnAsync();
        var store = await WithPasswordAsync(own);
        using var directory = new TemporaryDirectory();
        var file = directory.File("pgpass");
        var whole = $"*:*:*:{Role}:first\n";
        await WriteAsync(file, whole);
        using var engine = await PostgresEngine.OpenAsync($"{store};Passfile={file}", default);
        using var committer = new Committer(engine, 10, new Committer.Chain(_ => null, () => { }));
        await engine.JoinAsync(default);
        Assert.Null(engine.Loop!.Trouble);

        foreach (var spoil in (Func<Task>[])[
            () => { File.Delete(file); return Task.CompletedTask; },
            () => WriteAsync(file, "*:*:*"), // half of it
            () => WriteAsync(file, "\0\xff\n:::::\\"),
            () => { File.Delete(file); Directory.CreateDirectory(file); return Task.CompletedTask; }])
        {
            await spoil();
            await EndAllAsync(own, store);
            var refused = await Assert.ThrowsAsync<ApiError>(() => engine.FindMetaAsync("k", default).AsTask());
            Assert.True(refused.IsFault);
            await Assert.ThrowsAsync<ApiError>(
                () => committer.CommitAsync(new Change.Plain(new RowWrite.PutMeta("k", [1]))));
            await Until.SoAsync("the loop is in trouble", () => engine.Loop.Trouble is not null);
            if (Directory.Exists(file))
                Directory.Delete(file);
            await WriteAsync(file, whole);
            await Until.SoAsync("the loop is well again", () => engine.Loop.Trouble is null);
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutMeta("k", [1])));
            Assert.Equal([1], (await engine.FindMetaAsync("k", default))!);
            Assert.Equal("node_1", Assert.Single(await engine.ListNodesAsync(default)).Name);
        }
    }

    [Theory]
    [InlineData("Root Certificate=/nowhere/ca.pem;SSL Mode=VerifyCA")]
    [InlineData("SSL Certificate=/nowhere/client.pem;SSL Mode=Require")]
    [InlineData("Require Auth=ScramSHA256")]
    [InlineData("Kerberos Service Name=x;Require Auth=GSS")]
    public async Task A_start_that_opens_no_connection_says_so_in_a_sentence(string more)
    {
        var store = await (await PostgresServer.ForTestServersAsync()).NewDatabaseAsync();
        var refused = await Assert.ThrowsAsync<ConfigurationException>(
            () => PostgresEngine.OpenAsync($"{store};{more}", default));
        Assert.Contains("cannot be used", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("inner exception", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refused.Message);
    }

    [Fact]
    public async Task Readiness_names_what_is_behind_and_stays_ready()
    {
        using var directory = new TemporaryDirectory();
        var time = new ManualTime();
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        await server.OnStoreAsync(async (engine, committer, instance) =>
        {
            using var failing = new Loop("sweeps", _ => throw ApiError.StorageUnavailable(new IOException("no room")),
                TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
            using var idle = new Loop("others", _ => Task.FromResult(Timeout.InfiniteTimeSpan), TimeProvider.System,
                Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
            failing.Start();
            idle.Start();
            await Until.SoAsync("the loop is in trouble", () => failing.Trouble is not null);
            using var readiness = new Readiness(
                committer, instance, static () => (null, null), static () => null, time)
            {
                Loops = [failing, idle],
            };
            var checks = await readiness.ProveAsync(default);
            Assert.All(checks, check => Assert.Null(check.Trouble));
            Assert.Equal(("sweeps", "behind: no room"),
                Assert.Single(checks.Select(check => (check.Part, check.Warning)), check => check.Warning is not null));
            return true;
        });
    }

    private const string Role = "coffer";

    // The role gives its password; who made the server does not.
    private static async Task<string> WithPasswordAsync(PostgresServer own)
    {
        var store = new NpgsqlConnectionStringBuilder(await own.NewDatabaseAsync());
        await PostgresServer.ExecuteAsync(store.ConnectionString, $"""
            SET password_encryption = 'scram-sha-256';
            CREATE ROLE {Role} LOGIN PASSWORD 'first';
            GRANT ALL ON SCHEMA public TO {Role};
            DO $$ BEGIN EXECUTE format(
                'COPY (SELECT unnest(ARRAY[''host all postgres 127.0.0.1/32 trust'',
                    ''host all all 127.0.0.1/32 scram-sha-256''])) TO %L', current_setting('hba_file')); END $$;
            SELECT pg_reload_conf();
            """);
        store.Username = Role;
        // It is asked for once the server has read that.
        for (var tries = 0; ; tries++)
        {
            try
            {
                await PostgresServer.ScalarAsync(store.ConnectionString, "SELECT 1");
                Assert.True(tries < 200);
                await Task.Delay(50);
            }
            catch (NpgsqlException)
            {
                return store.ConnectionString;
            }
        }
    }

    private static Task EndAllAsync(PostgresServer own, string store) => PostgresServer.ExecuteAsync(own.Admin, $"""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = '{new NpgsqlConnectionStringBuilder(store).Database}'
        """);

    private static async Task WriteAsync(string file, string text)
    {
        await File.WriteAllTextAsync(file, text);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }
}
