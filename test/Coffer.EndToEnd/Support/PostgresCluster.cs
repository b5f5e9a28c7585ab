using Coffer.Shared;
using Npgsql;

namespace Coffer.EndToEnd;

/// <summary>
/// Real PostgreSQL: a primary, and beside it, if asked for, a standby that every commit waits for. Disposing of it ends
/// both.
/// </summary>
public sealed class PostgresCluster : IAsyncDisposable
{
    private readonly string directory;

    private PostgresCluster(string directory) => this.directory = directory;

    public PostgresMember Primary { get; } = new("primary", PostgresPrograms.FreePort());

    public PostgresMember Standby { get; } = new("standby", PostgresPrograms.FreePort());

    /// <summary>What a node is given as its store.</summary>
    /// <param name="ports">Where the servers are reached, if not at their own ports.</param>
    public string Store(params int[] ports) =>
        "Host="
            + string.Join(',', (ports.Length > 0 ? ports : [Primary.Port, Standby.Port])
                .Select(port => $"127.0.0.1:{port}"))
            + ";Username=postgres;Database=postgres";

    /// <param name="hasStandby">Whether there is a standby.</param>
    /// <param name="settings">Lines of both servers' postgresql.conf.</param>
    public static Task<PostgresCluster> StartAsync(bool hasStandby, params string[] settings) =>
        StartAsync(hasStandby, isSynchronous: true, settings);

    /// <param name="hasStandby">Whether there is a standby.</param>
    /// <param name="isSynchronous">Whether commits wait for it.</param>
    /// <param name="settings">Lines of both servers' postgresql.conf.</param>
    public static async Task<PostgresCluster> StartAsync(bool hasStandby, bool isSynchronous, params string[] settings)
    {
        _ = PostgresPrograms.Folder();
        var cluster = new PostgresCluster(await PostgresPrograms.NewDirectoryAsync("coffer-cluster-"));
        try
        {
            await cluster.RunAsync("initdb", "-D", cluster.Folder(cluster.Primary), "-U", "postgres", "-A", "trust",
                "-E", "UTF8", "--locale=C", "--no-sync");
            await File.AppendAllLinesAsync(Path.Combine(cluster.Folder(cluster.Primary), "postgresql.conf"), settings);
            if (hasStandby)
                await cluster.AddStandbyAsync(isSynchronous);
            await cluster.StartAsync(cluster.Primary);
            if (hasStandby)
                await cluster.StartStandbyAsync(isSynchronous);
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    // Nothing here survives the machine, so nothing is synced to its disk: what is tested is the death of processes.
    public Task StartAsync(PostgresMember member) =>
        RunAsync("pg_ctl", "-D", Folder(member), "-w", "-s", "-l", Path.Combine(directory, $"{member.Name}.log"), "-o",
        $"-p {member.Port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} -c fsync=off -c "
            + "dynamic_shared_memory_type=mmap", "start");

    /// <summary>Stops it as an operator does: connections are ended, and what was committed is kept.</summary>
    public Task StopAsync(PostgresMember member) =>
        RunAsync("pg_ctl", "-D", Folder(member), "-w", "-s", "-m", "fast", "stop");

    /// <summary>Makes the standby the primary, and returns once it takes writes.</summary>
    public Task PromoteAsync() => RunAsync("pg_ctl", "-D", Folder(Standby), "-w", "-s", "promote");

    /// <summary>Ends every process of the server with SIGKILL, as if its machine were gone.</summary>
    public void Crash(PostgresMember member)
    {
        var postmaster = int.Parse(File.ReadLines(PidFile(member)).First());
        Assert.Equal(0, Signals.Send(postmaster, Signals.Stop)); // so that it starts no more while they are counted
        var children = File.ReadAllText($"/proc/{postmaster}/task/{postmaster}/children").Split(' ',
            StringSplitOptions.RemoveEmptyEntries);
        foreach (var process in (int[])[postmaster, .. children.Select(int.Parse)])
            _ = Signals.Send(process, Signals.Kill);
    }

    /// <summary>The first value of what a statement gives, as text.</summary>
    public async Task<string?> AskAsync(PostgresMember member, string sql)
    {
        await using var connection = new NpgsqlConnection($"{Store(member.Port)};Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return (await command.ExecuteScalarAsync())?.ToString();
    }

    /// <summary>Makes a role that may have tables and needs a password: all others are let in without one.</summary>
    public async Task AddRoleAsync(string role, string password)
    {
        var rules = Path.Combine(Folder(Primary), "pg_hba.conf");
        await File.WriteAllTextAsync(rules,
            $"host all {role} 127.0.0.1/32 scram-sha-256\n{await File.ReadAllTextAsync(rules)}");
        await AskAsync(Primary, "SELECT pg_reload_conf()");
        await AskAsync(Primary, $"CREATE ROLE {role} LOGIN PASSWORD '{password}'");
        await AskAsync(Primary, $"GRANT CREATE ON SCHEMA public TO {role}");
    }

    /// <summary>Gives a role another password, and ends its connections.</summary>
    public async Task ChangePasswordAsync(string role, string password)
    {
        await AskAsync(Primary, $"ALTER ROLE {role} PASSWORD '{password}'");
        await AskAsync(Primary,
            $"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'");
    }

    /// <summary>Returns once the standby has what the primary has written so far.</summary>
    public async Task ReceivedAsync()
    {
        var written = await AskAsync(Primary, "SELECT pg_current_wal_flush_lsn()");
        await Until.SoAsync("the standby follows",
            async () => await AskAsync(Standby, $"SELECT pg_last_wal_replay_lsn() >= '{written}'") == "True");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var member in (PostgresMember[])[Standby, Primary])
        {
            if (!File.Exists(PidFile(member)))
                continue;
            var lines = await File.ReadAllLinesAsync(PidFile(member));
            if (IsAlive(lines[0]))
                Crash(member);
            if (lines.Length > 6)
                // what a killed server cannot give back
                await Ran.ShellAsync(
                    $"ipcrm -m {lines[6].Split(' ', StringSplitOptions.RemoveEmptyEntries)[^1]} 2>/dev/null || true");
        }

        Directory.Delete(directory, recursive: true);
    }

    // A process that was killed is there until its parent has waited for it, which may take seconds.
    private static bool IsAlive(string process)
    {
        try
        {
            return !File.ReadAllText($"/proc/{process}/stat").Contains(") Z ", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    // Before the first start, when one is a copy of the other. If it is synchronous, each commit of the primary waits
    // until it has it.
    private Task AddStandbyAsync(bool isSynchronous) => RunAsync("/bin/sh", "-c", $"""
        cd {directory} && cp -a {Primary.Name} {Standby.Name} && touch {Standby.Name}/standby.signal &&
        echo "primary_conninfo = 'host=127.0.0.1 port={Primary.Port} user=postgres application_name={Standby.Name}'" \
            >>{Standby.Name}/postgresql.conf &&
        echo "synchronous_standby_names = '{(isSynchronous ? Standby.Name : "")}'" >>{Primary.Name}/postgresql.conf
        """);

    private async Task StartStandbyAsync(bool isSynchronous)
    {
        await StartAsync(Standby);
        var state = isSynchronous ? "sync" : "async";
        await Until.SoAsync("the standby follows",
            async () => await AskAsync(Primary, "SELECT sync_state FROM pg_stat_replication") == state);
    }

    private Task RunAsync(string program, params string[] arguments) =>
        PostgresPrograms.RunAsync(directory, program, arguments);

    private string Folder(PostgresMember member) => Path.Combine(directory, member.Name);

    private string PidFile(PostgresMember member) => Path.Combine(Folder(member), "postmaster.pid");
}

/// <summary>One server of a cluster.</summary>
/// <param name="Name">What its directory is called; a role that it may lose.</param>
/// <param name="Port">Where it listens, on loopback.</param>
public sealed record PostgresMember(string Name, int Port);
