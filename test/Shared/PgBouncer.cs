using System.Diagnostics;

namespace Coffer.Shared;

/// <summary>
/// A real PgBouncer in transaction mode before a PostgreSQL: that of TEST_PGBOUNCER, else the one on the path. Where
/// there is none the tests that need it skip, or fail if this is CI.
/// </summary>
internal sealed class PgBouncer : IAsyncDisposable
{
    private readonly string directory;
    private readonly Process process;

    private PgBouncer(string directory, Process process, int port) =>
        (this.directory, this.process, Port) = (directory, process, port);

    public int Port { get; }

    /// <summary>Whether it carries prepared statements from session to session: from 1.21 on.</summary>
    public static bool CarriesStatements { get; private set; }

    /// <param name="target">The port of the PostgreSQL, whose role is <c>postgres</c> and needs no password.</param>
    /// <param name="settings">Further lines of its configuration.</param>
    public static async Task<PgBouncer> StartAsync(int target, params string[] settings)
    {
        var program = Program();
        using (var asked = Process.Start(new ProcessStartInfo(program, "--version")
        {
            RedirectStandardOutput = true,
            UseShellExecute = false,
        })!)
        {
            var said = await asked.StandardOutput.ReadToEndAsync();
            CarriesStatements = Version.Parse(said.Split('\n')[0].Split(' ')[1]) >= new Version(1, 21);
        }

        var made = await PostgresPrograms.NewDirectoryAsync("coffer-pgbouncer-");
        var port = PostgresPrograms.FreePort();
        var (file, roles) = (Path.Combine(made, "pgbouncer.ini"), Path.Combine(made, "roles"));
        await File.WriteAllTextAsync(roles, "\"postgres\" \"\"\n");
        await File.WriteAllLinesAsync(file, [
            "[databases]", $"* = host=127.0.0.1 port={target}",
            "[pgbouncer]", "listen_addr = 127.0.0.1", $"listen_port = {port}", "unix_socket_dir =",
            "auth_type = trust", $"auth_file = {roles}", "admin_users = postgres",
            "pool_mode = transaction", "default_pool_size = 20", "max_client_conn = 1000", "server_idle_timeout = 2",
            .. settings]);
        string[] line = Environment.IsPrivilegedProcess
            ? ["runuser", "-u", "postgres", "--", program, "-q", file]
            : [program, "-q", file];
        var bouncer = new PgBouncer(made, Process.Start(
            new ProcessStartInfo("/bin/sh", ["-c", $"exec \"$0\" \"$@\" >{made}/log 2>&1", .. line])
            { WorkingDirectory = "/" })!, port);
        try
        {
            await Until.ListensAsync(port, () => bouncer.process.HasExited, () => File.ReadAllText($"{made}/log"));
            return bouncer;
        }
        catch
        {
            await bouncer.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Leads to another server from now on, as a balancer does after a failover: what is lent to a transaction stays
    /// lent to its end.
    /// </summary>
    public async Task SwitchAsync(int target)
    {
        var file = Path.Combine(directory, "pgbouncer.ini");
        var lines = await File.ReadAllLinesAsync(file);
        lines[1] = $"* = host=127.0.0.1 port={target}";
        await File.WriteAllLinesAsync(file, lines);
        using var asked = Process.Start(new ProcessStartInfo("psql",
            ["-h", "127.0.0.1", "-p", $"{Port}", "-U", "postgres", "-q", "-c", "RELOAD", "pgbouncer"])
        {
            UseShellExecute = false,
        })!;
        await asked.WaitForExitAsync();
        Assert.Equal(0, asked.ExitCode);
    }

    public async ValueTask DisposeAsync()
    {
        process.Kill(entireProcessTree: true);
        await process.WaitForExitAsync();
        process.Dispose();
        Directory.Delete(directory, recursive: true);
    }

    private static string Program()
    {
        if (Environment.GetEnvironmentVariable("TEST_PGBOUNCER") is { Length: > 0 } named)
            return named;
        const string Missing = "PgBouncer is not there: 'make test' as root installs it.";
        var found = $"{Environment.GetEnvironmentVariable("PATH")}:/usr/sbin".Split(Path.PathSeparator)
            .Select(folder => Path.Combine(folder, "pgbouncer")).FirstOrDefault(File.Exists);
        if (found is null && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("CI")))
            Assert.Skip(Missing);
        if (found is null)
            Assert.Fail(Missing);
        return found;
    }
}
