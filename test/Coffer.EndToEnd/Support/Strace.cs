using System.Diagnostics;

namespace Coffer.EndToEnd;

/// <summary>
/// Faults in the system calls of the real program, put there by strace: exactly at a named point, every time.
/// </summary>
public sealed class Strace : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly Process tracer;

    private Strace(Process tracer) => this.tracer = tracer;

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
            Process.Start(
                Ran.Start(Needs.Strace(), [.. Options(calls, fault, files), "-p", $"{coffer.Pid}"],
                    environment: null))!);
        attached.tracer.StandardInput.Close();
        for (var waited = Stopwatch.StartNew(); !IsTraced(coffer.Pid); await Task.Delay(10,
            TestContext.Current.CancellationToken))
        {
            if (attached.tracer.HasExited)
                Assert.Skip(
                    "strace may not attach to a process here (ptrace is refused): "
                        + $"{await attached.tracer.StandardError.ReadToEndAsync()}");
            Assert.True(waited.Elapsed < Patience, $"strace is not attached after {Patience}");
        }

        return attached;
    }

    /// <summary>The beginning of a command line that has the fault from the program's first call on.</summary>
    public static string[] Under(string calls, string fault, params string[] files) =>
        // -D: the program stays our own child, with its exit code
        [Needs.Strace(), "-D", .. Options(calls, fault, files), "--"];

    /// <summary>Runs Coffer, which is killed in the nth of the calls on a file.</summary>
    public static async Task KillAsync(
        string calls, int nth, string file, string[] arguments, byte[]? input = null)
    {
        var under = Under(calls, $"signal=SIGKILL:when={nth}", file);
        var killed = await Ran.ProgramAsync(under[0], [.. under[1..], Needs.Program, .. arguments], input: input);
        Assert.SkipWhen(killed.Stderr.Contains("ptrace", StringComparison.Ordinal),
            $"strace may not trace here: {killed.Stderr}");
        killed.EndedWith(128 + Signals.Kill);
    }

    public async ValueTask DisposeAsync()
    {
        // SIGTERM makes it let go; after SIGKILL what it traces would be left stopped. It has ended by itself when what
        // it traces is dead.
        if (!tracer.HasExited)
            await Ran.ShellAsync($"kill -TERM {tracer.Id} 2>/dev/null || true");
        await tracer.WaitForExitAsync(CancellationToken.None).WaitAsync(Patience, CancellationToken.None);
        tracer.Dispose();
    }

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
