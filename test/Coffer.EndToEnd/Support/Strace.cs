using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// Faults in the system calls of the real program, put there by strace: exactly at a named point, every time.
/// </summary>
public sealed class Strace : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly Beside tracer;

    private Strace(Beside tracer) => this.tracer = tracer;

    /// <summary>
    /// Attaches to a server that runs and returns once all its threads are under the fault. Disposing ends the fault,
    /// not the server.
    /// </summary>
    /// <param name="coffer">The server.</param>
    /// <param name="calls">The system calls, with commas between them.</param>
    /// <param name="fault">
    /// What happens in them, as <c>strace -e inject</c> takes it: <c>signal=SIGKILL:when=2</c>.
    /// </param>
    /// <param name="files">The files that they must be on; none means all.</param>
    public static async Task<Strace> AttachAsync(CofferProcess coffer, string calls, string fault,
        params string[] files)
    {
        var attached = new Strace(
            Beside.Start(Needs.Strace(), [.. Options(calls, fault, files), "-p", $"{coffer.Pid}"]));
        try
        {
            await Until.SoAsync("strace is attached", () => attached.tracer.HasEnded || IsTraced(coffer.Pid), Patience);
            if (attached.tracer.HasEnded)
            {
                await attached.tracer.ExitAsync();
                Assert.Skip(
                    $"strace may not attach to a process here (ptrace is refused): {attached.tracer.Stderr}");
            }

            return attached;
        }
        catch
        {
            await attached.DisposeAsync();
            throw;
        }
    }

    /// <summary>The beginning of a command line that has the fault from the program's first call on.</summary>
    public static string[] Under(string calls, string fault, params string[] files) =>
        // -D: the program stays our own child, with its exit code
        [Needs.Strace(), "-D", .. Options(calls, fault, files), "--"];

    /// <summary>Runs Coffer to its end with the fault from its first call on.</summary>
    public static async Task<Ran> RunAsync(
        string calls, string fault, string? file, string[] arguments, byte[]? input = null)
    {
        var under = Under(calls, fault, file is null ? [] : [file]);
        var ran = await Ran.ProgramAsync(under[0], [.. under[1..], Needs.Program, .. arguments], input: input);
        SkipIfRefused(ran.Stderr);
        return ran;
    }

    /// <summary>Runs Coffer, which is killed in the nth of the calls on a file.</summary>
    public static async Task KillAsync(
        string calls, int nth, string file, string[] arguments, byte[]? input = null) =>
        (await RunAsync(calls, $"signal=SIGKILL:when={nth}", file, arguments, input)).EndedWith(128 + Signals.Kill);

    /// <summary>Starts a server, which the fault on a file ends before it is ready.</summary>
    public static async Task<EndedException> EndedAsync(string data, string calls, string fault, string file)
    {
        var ended = await Assert.ThrowsAsync<EndedException>(async () =>
        {
            await using var started = await CofferProcess.StartAsync(["serve", "--data", data],
                under: Under(calls, fault, file));
        });
        SkipIfRefused(ended.Message);
        return ended;
    }

    public async ValueTask DisposeAsync()
    {
        // SIGTERM makes it let go; after SIGKILL what it traces would be left stopped. It has ended by itself when what
        // it traces is dead.
        if (!tracer.HasEnded)
        {
            _ = Signals.Send(tracer.Pid, Signals.Term);
            await tracer.ExitAsync().WaitAsync(Patience, CancellationToken.None);
        }

        await tracer.DisposeAsync();
    }

    private static void SkipIfRefused(string said) =>
        Assert.SkipWhen(said.Contains("ptrace", StringComparison.Ordinal), $"strace may not trace here: {said}");

    private static IEnumerable<string> Options(string calls, string fault, string[] files) =>
        ["-f", "-qq", "-o", "/dev/null", .. files.SelectMany(
            file => (string[])["-P", file]), "-e", $"trace={calls}", "-e", $"inject={calls}:{fault}"];

    private static bool IsTraced(int pid)
    {
        try
        {
            return Directory.EnumerateDirectories($"/proc/{pid}/task")
                .All(thread => !File.ReadLines(Path.Combine(thread, "status")).Contains("TracerPid:\t0"));
        }
        catch (IOException)
        {
            return false; // a thread ended while it was looked at
        }
    }
}
