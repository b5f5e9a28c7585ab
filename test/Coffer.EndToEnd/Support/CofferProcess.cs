using System.Text.Json;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The real program as a server of its own, on a free port. Disposing of it ends that process, and no other but those
/// that it has started.
/// </summary>
public sealed class CofferProcess : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly TemporaryDirectory own = new();
    private Beside program = null!;

    private CofferProcess()
    {
    }

    /// <summary>Where it writes, by its own account, what it is ready with.</summary>
    public string ReadyFile => own.File("ready.json");

    /// <summary>The ready file's content.</summary>
    public JsonElement Ready { get; private set; }

    public Uri Url => new(Ready.GetProperty("url").GetString()!);

    public string TestKey => Ready.GetProperty("test_secret_key").GetString()!;

    public string LiveKey => Ready.GetProperty("live_secret_key").GetString()!;

    public string AdminKey => Ready.GetProperty("admin_key").GetString()!;

    public int Pid => program.Pid;

    /// <summary>The temporary stores that there are of it: it has a temporary directory of its own.</summary>
    public IEnumerable<string> TemporaryStores => Directory.EnumerateDirectories(own.Path, "coffer-dev-*");

    public string Stdout => program.Stdout;

    public string Stderr => program.Stderr;

    /// <summary>What its log has beside the one line of each start.</summary>
    public string Complaints => Ran.Complaints(Stderr);

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
    /// <param name="asOther">Whether another user runs it, who must be able to write what it is ready with.</param>
    /// <exception cref="EndedException">It ended before it was ready.</exception>
    public static async Task<CofferProcess> StartAsync(
        string[] arguments, string? folder = null, string[]? under = null,
        IReadOnlyDictionary<string, string>? environment = null, string? program = null, bool asOther = false)
    {
        var coffer = new CofferProcess();
        try
        {
            if (asOther)
                File.SetUnixFileMode(coffer.own.Path, (UnixFileMode)0b111_111_111);
            string[] listen = arguments.Contains("--listen") ? [] : ["--listen", "http://127.0.0.1:0"];
            // Nobody is in front of it who would have to turn to another; older releases know no such setting.
            string[] drain = program is null && arguments[0] == "serve" && !arguments.Contains("--drain")
                ? ["--drain", "0"]
                : [];
            string[] line = [.. under ?? [], program ?? Needs.Program, .. arguments, .. listen, .. drain];
            coffer.program = Beside.Start(line[0], [.. line[1..], "--ready-file", coffer.ReadyFile],
                new Dictionary<string, string>(environment ?? new Dictionary<string, string>())
                { ["TMPDIR"] = coffer.own.Path }, folder);
            await Until.SoAsync("it is ready", () => File.Exists(coffer.ReadyFile) || coffer.program.HasEnded,
                Patience, () => coffer.Stderr);
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
        await program.PrintedAsync(text);
        return Stdout;
    }

    /// <summary>Asks it to stop (SIGTERM) and returns its exit code.</summary>
    public Task<int> StopAsync()
    {
        Signal();
        return ExitAsync();
    }

    /// <summary>Sends a signal, SIGTERM if no other, unless it has ended, and does not wait.</summary>
    public void Signal(int signal = Signals.Term) => program.Signal(signal);

    /// <summary>Has it stand still (SIGSTOP) until it is resumed.</summary>
    public void Suspend() => Assert.Equal(0, Signals.Send(Pid, Signals.Stop));

    /// <summary>Has it continue (SIGCONT), unless it has ended.</summary>
    public void Resume() => program.Signal(Signals.Cont);

    /// <summary>Ends it as a crash does: SIGKILL, which no program sees coming.</summary>
    public Task<int> CrashAsync() => program.KillAsync();

    /// <summary>Its exit code, once it has ended and all that it printed is read.</summary>
    public Task<int> ExitAsync() => program.ExitAsync();

    /// <remarks>A second time does nothing.</remarks>
    public async ValueTask DisposeAsync()
    {
        await (program?.DisposeAsync() ?? default);
        own.Dispose();
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
