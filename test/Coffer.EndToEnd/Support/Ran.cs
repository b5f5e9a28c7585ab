using System.Diagnostics;
using System.Text;

namespace Coffer.EndToEnd;

/// <summary>A program that was run to its end, and what it said.</summary>
/// <param name="Line">The command line, for messages.</param>
/// <param name="ExitCode">128 and the signal's number if a signal ended it.</param>
/// <param name="Output">What it wrote to standard output, to the last byte.</param>
/// <param name="Stderr">What it wrote to standard error.</param>
public sealed record Ran(string Line, int ExitCode, byte[] Output, string Stderr)
{
    /// <summary>Far beyond what anything here takes: who is not done by then never will be.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    public string Stdout => Encoding.UTF8.GetString(Output);

    /// <summary>Runs a program with nothing but the given arguments, variables and standard input.</summary>
    public static async Task<Ran> ProgramAsync(
        string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null,
        byte[]? input = null, TimeSpan? patience = null)
    {
        using var process = new Process { StartInfo = Start(program, arguments, environment) };
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        deadline.CancelAfter(patience ?? Patience);
        var line = $"{Path.GetFileName(program)} {string.Join(' ', process.StartInfo.ArgumentList)}";
        process.Start();
        try
        {
            using var output = new MemoryStream();
            var reading = process.StandardOutput.BaseStream.CopyToAsync(output, deadline.Token);
            var errors = process.StandardError.ReadToEndAsync(deadline.Token);
            await FeedAsync(process, input ?? []);
            await Task.WhenAll(reading, errors, process.WaitForExitAsync(deadline.Token));
            return new Ran(line, process.ExitCode, output.ToArray(), await errors);
        }
        catch (OperationCanceledException e) when (!TestContext.Current.CancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"still running after {patience ?? Patience}: {line}", e);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true); // of a shell, what it waits for too
        }
    }

    /// <summary>Runs the built Coffer to its end: for commands, and for servers that must refuse to start.</summary>
    public static Task<Ran> CofferAsync(params string[] arguments) => ProgramAsync(Needs.Program, arguments);

    /// <summary>Runs a pasted line, as a person would at a terminal.</summary>
    public static Task<Ran> ShellAsync(string line) => ProgramAsync("/bin/sh", ["-c", line]);

    /// <summary>Fails, showing all that the program said, unless it ended with <paramref name="code"/>.</summary>
    public Ran EndedWith(int code)
    {
        Assert.True(ExitCode == code,
            $"{Line}\nended with {ExitCode} where {code} was expected.\n--- stdout\n{Stdout}\n--- stderr\n{Stderr}");
        return this;
    }

    /// <summary>
    /// Checks that it ended as refusals do: one line that says what is wrong, and one that says what to do.
    /// </summary>
    public Ran Refused(int code, string error, string? hint = null)
    {
        EndedWith(code);
        var lines = Complaints(Stderr).TrimEnd('\n').Split('\n');
        Assert.StartsWith("coffer: error: ", lines[0], StringComparison.Ordinal);
        Assert.Contains(error, lines[0], StringComparison.Ordinal);
        Assert.Equal(2, lines.Length);
        Assert.StartsWith("coffer: hint: ", lines[1], StringComparison.Ordinal);
        Assert.Contains(hint ?? "", lines[1], StringComparison.Ordinal);
        Assert.Empty(Stdout);
        return this;
    }

    /// <summary>What standard error has beside the one line of each start of a server.</summary>
    internal static string Complaints(string stderr) => string.Concat(stderr.Split('\n').Where(line =>
        line.Length > 0 && !line.EndsWith(": Coffer starts", StringComparison.Ordinal)).Select(line => $"{line}\n"));

    /// <summary>
    /// How every program here is started: unaffected by settings and proxies of whoever runs the tests.
    /// </summary>
    internal static ProcessStartInfo Start(string program, IEnumerable<string> arguments,
        IReadOnlyDictionary<string, string>? environment, string? folder = null)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder ?? "",
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardErrorEncoding = Encoding.UTF8,
            StandardOutputEncoding = Encoding.UTF8,
        };
        foreach (var name in start.Environment.Keys.Where(
            name => name.StartsWith("COFFER_", StringComparison.Ordinal)).ToArray())
            start.Environment.Remove(name);
        // Of whoever runs the tests too: who is asked something there gets an answer here.
        start.Environment.Remove("CI");
        start.Environment["NO_PROXY"] = start.Environment["no_proxy"] = "127.0.0.1,localhost";
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        return start;
    }

    private static async Task FeedAsync(Process process, byte[] input)
    {
        try
        {
            await process.StandardInput.BaseStream.WriteAsync(input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading its input, as a command that is refused does: its exit code tells.
        }
    }
}
