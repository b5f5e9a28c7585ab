using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Coffer.EndToEnd;

/// <summary>Real PostgreSQL: a primary, and beside it, if asked for, a standby that every commit waits for. Disposing of it ends both.</summary>
public sealed class PostgresCluster : IAsyncDisposable
{
    private const int SigKill = 9, SigStop = 19;

    private readonly string directory = Directory.CreateTempSubdirectory("coffer-cluster-").FullName;
    private readonly string binaries = Needs.PostgresFolder();

    private PostgresCluster()
    {
    }

    public PostgresMember Primary { get; } = new("primary", FreePort());

    public PostgresMember Standby { get; } = new("standby", FreePort());

    /// <summary>What a node is given as its store.</summary>
    /// <param name="ports">Where the servers are reached, if not at their own ports.</param>
    public string Store(params int[] ports) =>
        $"Host={string.Join(',', (ports.Length > 0 ? ports : [Primary.Port, Standby.Port]).Select(port => $"127.0.0.1:{port}"))};Username=postgres;Database=coffer";

    public static async Task<PostgresCluster> StartAsync(bool hasStandby)
    {
        var cluster = new PostgresCluster();
        try
        {
            if (Environment.IsPrivilegedProcess)
                (await Ran.ProgramAsync("chown", ["postgres", cluster.directory])).EndedWith(0);
            await cluster.AsPostgresAsync("initdb", "-D", cluster.Folder(cluster.Primary), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync");
            await cluster.StartAsync(cluster.Primary);
            if (hasStandby)
                await cluster.AddStandbyAsync();
            await cluster.AskAsync(cluster.Primary, "CREATE DATABASE coffer", "postgres");
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    // Nothing here survives the machine, so nothing is synced to its disk: what is tested is the death of processes.
    public Task StartAsync(PostgresMember member) => AsPostgresAsync("pg_ctl", "-D", Folder(member), "-w", "-s", "-l", Path.Combine(directory, $"{member.Name}.log"), "-o",
        $"-p {member.Port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} -c fsync=off -c dynamic_shared_memory_type=mmap", "start");

    /// <summary>Stops it as an operator does: connections are ended, and what was committed is kept.</summary>
    public Task StopAsync(PostgresMember member) => AsPostgresAsync("pg_ctl", "-D", Folder(member), "-w", "-s", "-m", "fast", "stop");

    /// <summary>Makes the standby the primary, and returns once it takes writes.</summary>
    public Task PromoteAsync() => AsPostgresAsync("pg_ctl", "-D", Folder(Standby), "-w", "-s", "promote");

    /// <summary>Ends every process of the server with SIGKILL, as if its machine were gone.</summary>
    public void Crash(PostgresMember member)
    {
        var postmaster = int.Parse(File.ReadLines(PidFile(member)).First());
        Assert.Equal(0, Kill(postmaster, SigStop)); // so that it starts no more while they are counted
        var children = File.ReadAllText($"/proc/{postmaster}/task/{postmaster}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        foreach (var process in (int[])[postmaster, .. children.Select(int.Parse)])
            _ = Kill(process, SigKill);
    }

    /// <summary>The first column of what a statement gives, a row a line.</summary>
    public async Task<string> AskAsync(PostgresMember member, string sql, string database = "coffer") => (await Ran.ProgramAsync(Path.Combine(binaries, "psql"),
        ["-h", "127.0.0.1", "-p", $"{member.Port}", "-U", "postgres", "-d", database, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])).EndedWith(0).Stdout.Trim();

    public async ValueTask DisposeAsync()
    {
        foreach (var member in (PostgresMember[])[Standby, Primary])
        {
            if (!File.Exists(PidFile(member)))
                continue;
            var lines = File.ReadAllLines(PidFile(member));
            if (Directory.Exists($"/proc/{lines[0]}"))
                await AsPostgresAsync("pg_ctl", "-D", Folder(member), "-w", "-s", "-m", "immediate", "stop");
            else if (lines.Length > 6)
                await Ran.ShellAsync($"ipcrm -m {lines[6].Split(' ', StringSplitOptions.RemoveEmptyEntries)[^1]} 2>/dev/null || true"); // what a killed server could not give back
        }

        Directory.Delete(directory, recursive: true);
    }

    private async Task AddStandbyAsync()
    {
        await AsPostgresAsync("pg_basebackup", "-h", "127.0.0.1", "-p", $"{Primary.Port}", "-U", "postgres", "-D", Folder(Standby), "-R", "-c", "fast", "--no-sync");
        await StartAsync(Standby);
        await AskAsync(Primary, "ALTER SYSTEM SET synchronous_standby_names = '*'", "postgres");
        await AskAsync(Primary, "ALTER SYSTEM SET synchronous_commit = 'on'", "postgres");
        await AskAsync(Primary, "SELECT pg_reload_conf()", "postgres");
        for (var waited = Stopwatch.StartNew(); await AskAsync(Primary, "SELECT sync_state FROM pg_stat_replication", "postgres") != "sync"; await Task.Delay(50, TestContext.Current.CancellationToken))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(20), "the standby is not synchronous");
    }

    // PostgreSQL refuses to run as root. Neither its output nor its errors are pipes: a server that it leaves running would hold them open.
    private async Task AsPostgresAsync(string program, params string[] arguments)
    {
        var log = Path.Combine(directory, "commands.log");
        string[] line = [Path.Combine(binaries, program), .. arguments];
        if (Environment.IsPrivilegedProcess)
            line = ["runuser", "-u", "postgres", "--", .. line];
        using var process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"exec \"$0\" \"$@\" >>{log} 2>&1 </dev/null", .. line]) { WorkingDirectory = "/" })!;
        await process.WaitForExitAsync(CancellationToken.None);
        Assert.True(process.ExitCode == 0, $"{string.Join(' ', line)} ended with {process.ExitCode}: {await File.ReadAllTextAsync(log)}");
    }

    private string Folder(PostgresMember member) => Path.Combine(directory, member.Name);

    private string PidFile(PostgresMember member) => Path.Combine(Folder(member), "postmaster.pid");

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Kill(int pid, int signal);
}

/// <summary>One server of a cluster.</summary>
/// <param name="Name">What its directory is called; a role that it may lose.</param>
/// <param name="Port">Where it listens, on loopback.</param>
public sealed record PostgresMember(string Name, int Port);
