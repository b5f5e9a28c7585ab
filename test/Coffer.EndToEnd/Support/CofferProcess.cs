using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary>
/// The real program as a server of its own, on a free port. Disposing of it ends that process and no other.
/// </summary>
public sealed class CofferProcess : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    private readonly Process process;
    private readonly TemporaryDirectory own = new();
    private readonly StringBuilder output = new();
    private readonly StringBuilder errors = new();

    private CofferProcess(string[] line, string? folder, IReadOnlyDictionary<string, string>? environment)
    {
        ReadyFile = own.File("ready.json");
        if (line[0] == "setpriv") // another user writes there
            File.SetUnixFileMode(own.Path, (UnixFileMode)0b111_111_111);
        process = new Process
        {
            StartInfo = Ran.Start(line[0], [.. line[1..], "--ready-file", ReadyFile],
                new Dictionary<string, string>(environment ?? new Dictionary<string, string>())
                { ["TMPDIR"] = own.Path }, folder),
        };
        process.OutputDataReceived += (_, line) => Append(output, line.Data);
        process.ErrorDataReceived += (_, line) => Append(errors, line.Data);
    }

    /// <summary>Where it writes, by its own account, what it is ready with.</summary>
    public string ReadyFile { get; }

    /// <summary>The ready file's content.</summary>
    public JsonElement Ready { get; private set; }

    public Uri Url => new(Ready.GetProperty("url").GetString()!);

    public string TestKey => Ready.GetProperty("test_secret_key").GetString()!;

    public string LiveKey => Ready.GetProperty("live_secret_key").GetString()!;

    public string AdminKey => Ready.GetProperty("admin_key").GetString()!;

    public int Pid => process.Id;

    /// <summary>The temporary stores that there are of it: it has a temporary directory of its own.</summary>
    public IEnumerable<string> TemporaryStores => Directory.EnumerateDirectories(own.Path, "coffer-dev-*");

    public string Stdout => Text(output);

    public string Stderr => Text(errors);

    public static Task<CofferProcess> DevAsync(params string[] more) => StartAsync(["dev", .. more]);

    public static Task<CofferProcess> ServeAsync(TemporaryDirectory data, params string[] more) =>
        StartAsync(["serve", "--data", data.Path, .. more]);

    /// <summary>Starts it on a free port of loopback and returns once it says that it is ready.</summary>
    /// <param name="arguments">
    /// The command line without <c>--ready-file</c>, and without <c>--listen</c> if that is to be any free port.
    /// </param>
    /// <param name="folder">The working directory; null is that of the tests.</param>
    /// <param name="under">
    /// A program and its arguments that become this one, such as <see cref="Strace.Under"/>.
    /// </param>
    /// <param name="environment">Variables beside those of the tests.</param>
    /// <param name="program">The program; null is the built one.</param>
    /// <exception cref="EndedException">It ended before it was ready.</exception>
    public static async Task<CofferProcess> StartAsync(
        string[] arguments, string? folder = null, string[]? under = null,
        IReadOnlyDictionary<string, string>? environment = null, string? program = null)
    {
        string[] listen = arguments.Contains("--listen") ? [] : ["--listen", "http://127.0.0.1:0"];
        // Nobody is in front of it who would have to turn to another; older releases know no such setting.
        string[] drain = program is null && arguments[0] == "serve" && !arguments.Contains("--drain")
            ? ["--drain", "0"]
            : [];
        var coffer = new CofferProcess([.. under ?? [], program ?? Needs.Program, .. arguments, .. listen, .. drain],
            folder, environment);
        coffer.process.Start();
        coffer.process.StandardInput.Close();
        coffer.process.BeginOutputReadLine();
        coffer.process.BeginErrorReadLine();
        try
        {
            await UntilAsync(() => File.Exists(coffer.ReadyFile) || coffer.process.HasExited,
                () => $"not ready after {Patience}: {coffer.Stderr}");
            if (!File.Exists(coffer.ReadyFile))
                throw new EndedException(await coffer.ExitAsync(), $"coffer {string.Join(' ', arguments)}",
                    coffer.Stderr);
            coffer.Ready = JsonElement.Parse(await File.ReadAllTextAsync(coffer.ReadyFile));
            return coffer;
        }
        catch
        {
            await coffer.DisposeAsync();
            throw;
        }
    }

    /// <summary>What it has printed, once that contains <paramref name="text"/>: it prints after it is ready.</summary>
    public async Task<string> PrintedAsync(string text)
    {
        await UntilAsync(() => Stdout.Contains(text, StringComparison.Ordinal),
            () => $"'{text}' was not printed after {Patience}, but: {Stdout}");
        return Stdout;
    }

    /// <summary>Asks it to stop (SIGTERM) and returns its exit code.</summary>
    public Task<int> StopAsync()
    {
        Signal();
        return ExitAsync();
    }

    /// <summary>Sends a signal, SIGTERM if no other, and does not wait.</summary>
    public void Signal(int signal = Signals.Term)
    {
        if (!process.HasExited)
            Assert.Equal(0, Signals.Send(process.Id, signal));
    }

    /// <summary>Has it stand still (SIGSTOP) until it is resumed.</summary>
    public void Suspend() => Assert.Equal(0, Signals.Send(process.Id, Signals.Stop));

    /// <summary>Has it continue (SIGCONT), unless it has ended.</summary>
    public void Resume()
    {
        if (!process.HasExited)
            Assert.Equal(0, Signals.Send(process.Id, Signals.Cont));
    }

    /// <summary>Ends it as a crash does: SIGKILL, which no program sees coming.</summary>
    public Task<int> CrashAsync()
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

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
            await CrashAsync();
        process.Dispose();
        own.Dispose();
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

    private static async Task UntilAsync(Func<bool> isSo, Func<string> complaint)
    {
        for (var waited = Stopwatch.StartNew(); !isSo(); await Task.Delay(Pause, TestContext.Current.CancellationToken))
        {
            if (waited.Elapsed > Patience)
                throw new TimeoutException(complaint());
        }
    }
}

/// <summary>A server ended before it was ready.</summary>
public sealed class EndedException(int exit, string line, string stderr) : Exception(
    $"{line} ended with {exit}: {stderr}")
{
    public int Exit { get; } = exit;
}

/// <summary>One server for all tests of a class; each keeps to an account of its own.</summary>
public sealed class ServedStore : IAsyncLifetime
{
    private readonly TemporaryDirectory data = new();

    public CofferProcess Coffer { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Coffer = await CofferProcess.ServeAsync(data);

    public async ValueTask DisposeAsync()
    {
        await Coffer.DisposeAsync();
        data.Dispose();
    }
}
