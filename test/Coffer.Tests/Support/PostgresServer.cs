using System.Diagnostics;
using Coffer.Shared;
using Coffer.Tests.Support;
using Npgsql;

[assembly: AssemblyFixture(typeof(PostgresServer))]

namespace Coffer.Tests.Support;

/// <summary>
/// A real PostgreSQL in a temporary directory, started by the first test that asks for a database, and gone after the
/// last.
/// </summary>
public sealed class PostgresServer : IAsyncDisposable
{
    private readonly SemaphoreSlim starting = new(1);
    private readonly int port = PostgresPrograms.FreePort();
    private string? directory;
    private PgBouncer? bouncer;
    private SharedSessions? shared;
    private int databases;

    /// <summary>
    /// By which way tests of the whole server are to reach a PostgreSQL, if TEST_STORE says that they are to run on
    /// one: <c>postgres</c>, <c>pgbouncer</c> or <c>sharedsessions</c>.
    /// </summary>
    public static Way? Chosen { get; } = Environment.GetEnvironmentVariable("TEST_STORE") switch
    {
        null or "" or "sqlite" => null,
        "postgres" => Way.Direct,
        var way => Enum.Parse<Way>(way, ignoreCase: true),
    };

    public static bool IsChosen => Chosen is not null;

    /// <summary>The role that the server was made with.</summary>
    public string Admin => $"Host=127.0.0.1;Port={port};Username=postgres;Database=postgres;Pooling=false";

    /// <summary>A new database with nothing in it, as a connection string.</summary>
    public Task<string> NewDatabaseAsync() => CreateAsync("template1");

    /// <summary>The same by another way to it.</summary>
    public async Task<string> NewDatabaseAsync(Way way)
    {
        var database = await NewDatabaseAsync();
        return At(database, await PortAsync(way));
    }

    /// <summary>A database as tests of the whole server are to reach it.</summary>
    public static async Task<string?> ByChosenWayAsync(string? database) => database is null || Chosen is not { } way
        ? database
        : At(database, await (await ForTestServersAsync()).PortAsync(way));

    /// <summary>A database as it is reached without anything in between.</summary>
    public string Directly(string database) => At(database, port);

    /// <summary>Where the server is reached by a way.</summary>
    public async Task<int> PortAsync(Way way)
    {
        await StartAsync();
        await starting.WaitAsync();
        try
        {
            return way switch
            {
                Way.PgBouncer => (bouncer ??= await PgBouncer.StartAsync(port)).Port,
                Way.SharedSessions => (shared ??= new SharedSessions(port)).Port,
                _ => port,
            };
        }
        finally
        {
            starting.Release();
        }
    }

    /// <summary>A new database with all that is in another, which nobody may be connected to.</summary>
    public Task<string> CopyAsync(string database) =>
        CreateAsync(new NpgsqlConnectionStringBuilder(database).Database!);

    public static async Task<PostgresServer> ForTestServersAsync() =>
        (await TestContext.Current.GetFixture<PostgresServer>())!;

    public static async Task ExecuteAsync(string database, string sql) => await ScalarAsync(database, sql);

    /// <summary>Ends all sessions of a database but its own.</summary>
    public static Task EndOthersAsync(string database) => ExecuteAsync(database, """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        """);

    public static async Task<object?> ScalarAsync(string database, string sql)
    {
        await using var connection = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(database) { Pooling = false }.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync();
    }

    /// <summary>Whether it has on the disk what it acknowledges.</summary>
    public bool IsSynced { get; init; }

    /// <summary>A server of a test's own, which it may stop.</summary>
    public static async Task<PostgresServer> OwnAsync()
    {
        var server = new PostgresServer();
        await server.StartAsync();
        return server;
    }

    public async Task StartAsync()
    {
        await starting.WaitAsync();
        try
        {
            if (directory is not null)
                return;
            _ = PostgresPrograms.Folder();
            var made = directory = await PostgresPrograms.NewDirectoryAsync("coffer-postgres-");
            try
            {
                await PostgresPrograms.RunAsync(made, "initdb", "-D", Data(made), "-U", "postgres", "-A", "trust",
                    "-E", "UTF8", "--locale=C", "--no-sync");
                await StartAgainAsync();
            }
            catch
            {
                Directory.Delete(made, recursive: true);
                directory = null;
                throw;
            }

            // Should this process be killed, the server ends too.
            var stop = string.Join(' ',
                PostgresPrograms.Line("pg_ctl", "-D", Data(made), "-s", "-m", "immediate", "stop"));
            Process.Start("/bin/sh", ["-c",
                $"while [ -d {made} ] && kill -0 {Environment.ProcessId} 2>/dev/null; do sleep 1; done; [ ! -d "
                    + $"{made} ] || {{ {stop}; rm -rf {made}; }} >/dev/null 2>&1"]).Dispose();
        }
        finally
        {
            starting.Release();
        }
    }

    // With hundreds of databases a worker of autovacuum would be started each tenth of a second.
    public Task StartAgainAsync() =>
        PostgresPrograms.RunAsync(directory!, "pg_ctl", "-D", Data(directory!), "-w", "-s", "-l",
            Path.Combine(directory!, "log"), "-o",
        $"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} "
            + $"-c fsync={(IsSynced ? "on" : "off")} -c autovacuum=off -c max_connections=400 "
            + "-c wal_level=logical", "start");

    public async Task StopAsync()
    {
        await PostgresPrograms.RunAsync(directory!, "pg_ctl", "-D", Data(directory!), "-w", "-s", "-m", "immediate",
            "stop");
        await using var maker = Maker();
        NpgsqlConnection.ClearPool(maker); // it is of no use after a start
    }

    public async ValueTask DisposeAsync()
    {
        starting.Dispose();
        if (directory is null)
            return;
        NpgsqlConnection.ClearAllPools();
        await (bouncer?.DisposeAsync() ?? default);
        await (shared?.DisposeAsync() ?? default);
        await StopAsync();
        // Some hundred databases are a hundred thousand files: who watches removes them, and nobody waits for it.
    }

    private async Task<string> CreateAsync(string template)
    {
        await StartAsync();
        var name = $"coffer_{Interlocked.Increment(ref databases)}";
        await using var maker = Maker();
        await maker.OpenAsync();
        // Files are copied faster than they are logged, as they would be; servers before 15 do nothing else.
        var strategy = maker.PostgreSqlVersion.Major < 15 ? "" : "STRATEGY file_copy";
        await using var create = new NpgsqlCommand($"CREATE DATABASE {name} TEMPLATE {template} {strategy}", maker);
        await create.ExecuteNonQueryAsync();
        return $"Host=127.0.0.1;Port={port};Username=postgres;Database={name}";
    }

    // The one session that makes databases.
    private NpgsqlConnection Maker() => new(new NpgsqlConnectionStringBuilder(Admin)
    {
        Pooling = true,
        MaxPoolSize = 1,
        Timeout = 120,
        CommandTimeout = 120,
    }.ConnectionString);

    private static string At(string database, int port) =>
        new NpgsqlConnectionStringBuilder(database) { Port = port }.ConnectionString;

    private static string Data(string directory) => Path.Combine(directory, "data");
}

/// <summary>How a node reaches the database.</summary>
public enum Way
{
    Direct,

    /// <summary>Behind a real PgBouncer in transaction mode.</summary>
    PgBouncer,

    /// <summary>Behind one that gives each transaction another session.</summary>
    SharedSessions,
}
