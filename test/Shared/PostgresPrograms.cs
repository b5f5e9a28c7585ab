using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace Coffer.Shared;

/// <summary>
/// PostgreSQL's own programs: of the folder that TEST_POSTGRES names, else on the path, else where Debian keeps them,
/// the newest. Where there are none the tests that need them skip, or fail if this is CI.
/// </summary>
internal static class PostgresPrograms
{
    private const string Variable = "TEST_POSTGRES";

    // No client's: other people's packages of a server often come without, and Npgsql asks as well.
    private static readonly string[] Needed = ["initdb", "pg_ctl", "postgres"];

    /// <summary>Skips or fails the test unless they are there.</summary>
    public static string Folder()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named)
        {
            Assert.True(IsWhole(named), $"{Variable} names {named}, where {string.Join(", ", Needed)} are not.");
            return named;
        }

        const string Versions = "/usr/lib/postgresql";
        const string Missing = "PostgreSQL is not there: 'make test' as root installs it.";
        var installed = Directory.Exists(Versions) ? Directory.GetDirectories(Versions) : [];
        var found = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator,
            StringSplitOptions.RemoveEmptyEntries)
            .Concat(
                installed.OrderByDescending(
                    version =>
                        int.TryParse(Path.GetFileName(version), out var number) ? number : 0).Select(version =>
                            Path.Combine(version, "bin")))
            .FirstOrDefault(IsWhole);
        if (found is null && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("CI")))
            Assert.Skip(Missing);
        if (found is null)
            Assert.Fail(Missing);
        return found;
    }

    /// <summary>
    /// A temporary directory for servers. PostgreSQL refuses to run as root, so it may belong to somebody else.
    /// </summary>
    public static async Task<string> NewDirectoryAsync(string name)
    {
        var made = Directory.CreateTempSubdirectory(name).FullName;
        if (!Environment.IsPrivilegedProcess)
            return made;
        using var chown = Process.Start("chown", ["postgres", made]);
        await chown.WaitForExitAsync(CancellationToken.None);
        Assert.Equal(0, chown.ExitCode);
        return made;
    }

    /// <summary>
    /// Runs one of them, or another program by its whole path, and fails, showing what it said, unless it ends with 0.
    /// </summary>
    /// <param name="directory">Where what it says is kept.</param>
    /// <param name="program">Its name.</param>
    /// <param name="arguments">What it is given.</param>
    public static async Task RunAsync(string directory, string program, params string[] arguments)
    {
        // Neither its output nor its errors are pipes: a server that it leaves running would hold them open.
        var log = Path.Combine(directory, "commands.log");
        string[] line = Line(program, arguments);
        using var process = Process.Start(
            new ProcessStartInfo("/bin/sh",
                ["-c", $"exec \"$0\" \"$@\" >>{log} 2>&1 </dev/null", .. line])
            { WorkingDirectory = "/" })!;
        await process.WaitForExitAsync(CancellationToken.None);
        Assert.True(process.ExitCode == 0,
            $"{string.Join(' ', line)} ended with {process.ExitCode}: {await File.ReadAllTextAsync(log)}");
    }

    /// <summary>The command line that runs one of them, as a user that it accepts.</summary>
    public static string[] Line(string program, params string[] arguments)
    {
        string[] line = [Path.Combine(Folder(), program), .. arguments];
        return Environment.IsPrivilegedProcess ? ["runuser", "-u", "postgres", "--", .. line] : line;
    }

    /// <summary>
    /// A port that nobody listens on. It is below those that the system gives to connections (from 32,768): one of
    /// those may be a connection's own before the server that it is for has started.
    /// </summary>
    public static int FreePort()
    {
        while (true)
        {
            var port = RandomNumberGenerator.GetInt32(10_000, 32_000);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // another
            }
        }
    }

    private static bool IsWhole(string folder) => Needed.All(program => File.Exists(Path.Combine(folder, program)));
}
