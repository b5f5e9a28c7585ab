using System.Diagnostics;
using System.Text;

namespace Coffer.EndToEnd;

/// <summary>
/// A program that runs beside the test. Disposing of it ends it with the programs that it has started, and no other.
/// What it prints is read all the time, so that it never waits for a reader.
/// </summary>
internal sealed class Beside : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Process process;
    private readonly StringBuilder output = new();
    private readonly StringBuilder errors = new();
    private bool isDisposed;

    private Beside(Process process) => this.process = process;

    public int Pid => process.Id;

    public bool HasEnded => process.HasExited;

    public string Stdout => Text(output);

    public string Stderr => Text(errors);

    /// <summary>Starts it as <see cref="Ran.Start"/> says, with nothing on its standard input.</summary>
    /// <param name="program">The program.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="environment">Variables beside those of the tests.</param>
    /// <param name="folder">The working directory; null is that of the tests.</param>
    public static Beside Start(string program, IEnumerable<string> arguments,
        IReadOnlyDictionary<string, string>? environment = null, string? folder = null)
    {
        var started = new Process { StartInfo = Ran.Start(program, arguments, environment, folder) };
        var beside = new Beside(started);
        started.OutputDataReceived += (_, line) => Append(beside.output, line.Data);
        started.ErrorDataReceived += (_, line) => Append(beside.errors, line.Data);
        started.Start();
        started.BeginOutputReadLine();
        started.BeginErrorReadLine();
        started.StandardInput.Close();
        return beside;
    }

    /// <summary>Returns once it has printed a text to standard output.</summary>
    public Task PrintedAsync(string text) => Shared.Until.SoAsync($"'{text}' is printed",
        () => Stdout.Contains(text, StringComparison.Ordinal), Patience, () => Stdout + Stderr);

    /// <summary>Sends a signal, unless it has ended, and does not wait.</summary>
    public void Signal(int signal)
    {
        if (!process.HasExited)
            Assert.Equal(0, Signals.Send(process.Id, signal));
    }

    /// <summary>Ends it alone with SIGKILL, which no program sees coming.</summary>
    public Task<int> KillAsync()
    {
        process.Kill();
        return ExitAsync();
    }

    /// <summary>Its exit code, once it has ended and all that it printed is read.</summary>
    public async Task<int> ExitAsync()
    {
        using var deadline = new CancellationTokenSource(Patience);
        await process.WaitForExitAsync(deadline.Token);
        return process.ExitCode;
    }

    /// <remarks>A second time does nothing.</remarks>
    public async ValueTask DisposeAsync()
    {
        if (isDisposed)
            return;
        isDisposed = true;
        if (!process.HasExited)
        {
            process.Kill(entireProcessTree: true);
            await ExitAsync();
        }

        process.Dispose();
    }

    private static void Append(StringBuilder text, string? line)
    {
        if (line is null)
            return;
        lock (text)
            text.Append(line).Append('\n');
    }

    private static string Text(StringBuilder text)
    {
        lock (text)
            return text.ToString();
    }
}
