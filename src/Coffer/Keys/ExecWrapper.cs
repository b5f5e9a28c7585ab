using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>
/// A wrapper that is a program: a line of JSON in, a line of JSON out (docs/keys.md, "A program of your own"). The key
/// goes through its standard streams and nowhere else.
/// </summary>
/// <param name="path">The program: absolute, and writable by root and this user only, as all above it.</param>
/// <param name="arguments">Its arguments.</param>
/// <param name="environment">The names of variables that it is given besides PATH and HOME.</param>
internal sealed class ExecWrapper(
    string path, IReadOnlyList<string> arguments, IReadOnlyList<string> environment) : KeyWrapper
{
    private const int LargestAnswer = 64 * 1024, LongestComplaint = 500;
    private const UnixFileMode OfOthers = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

    /// <summary>How long a program may take.</summary>
    public TimeSpan Patience { get; set; } = TimeSpan.FromSeconds(30);

    public override string Id => WrapperUrl.Exec + path;

    public override async Task<byte[]> WrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct)
    {
        using var wrapped = await AskAsync("wrap", name, text.Memory, ct);
        return wrapped.Span.ToArray();
    }

    public override async Task<SecretBytes?> UnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct) =>
        await AskAsync("unwrap", name, wrapped, ct);

    private async Task<SecretBytes> AskAsync(
        string operation, RootKeyName name, ReadOnlyMemory<byte> data, CancellationToken ct)
    {
        RequireSafe();
        using var process = Start();
        using var answer = SecretBytes.Rent(LargestAnswer);
        var complaint = new byte[LongestComplaint];
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(Patience);
        try
        {
            var complained = ReadAsync(process.StandardError.BaseStream, complaint, limit.Token);
            var answered = ReadAsync(process.StandardOutput.BaseStream, answer.Memory, limit.Token);
            try
            {
                using var question = Question(operation, name, data);
                await process.StandardInput.BaseStream.WriteAsync(question.Memory, limit.Token);
                await process.StandardInput.BaseStream.WriteAsync("\n"u8.ToArray(), limit.Token);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It did not read what it was asked; what it has to say of that comes next.
            }

            var size = await answered;
            await process.WaitForExitAsync(limit.Token);
            answer.Shrink(Math.Min(size, answer.Length));
            return Read(answer, process.ExitCode, Shown(complaint.AsSpan(0, await complained)));
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new KeyServiceException(
                $"the program has not answered within {Patience.TotalSeconds:0} seconds", mayPass: true);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private Process Start()
    {
        var start = new ProcessStartInfo(path)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = "/",
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        // Coffer's own variables, keys among them, are none of its business even if somebody names them.
        string[] kept =
            ["PATH", "HOME", .. environment.Where(name => !name.StartsWith("COFFER_", StringComparison.Ordinal))];
        foreach (var name in start.Environment.Keys.Except(kept, StringComparer.Ordinal).ToList())
            start.Environment.Remove(name);
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new KeyServiceException($"the program cannot be started: {e.Message}", mayPass: false);
        }
    }

    // Whoever may write the program, or put another in its place, would have the root keys.
    private void RequireSafe()
    {
        if (OperatingSystem.IsWindows())
            return;
        for (var at = path; at is not null; at = Path.GetDirectoryName(at))
        {
            FileSystemInfo info = at == path ? new FileInfo(at) : new DirectoryInfo(at);
            if (!info.Exists)
                throw new KeyServiceException($"{at} does not exist", mayPass: false);
            if (info.ResolveLinkTarget(returnFinalTarget: true) is { } real && at == path)
                throw new KeyServiceException($"{at} is a link: give the program itself, {real.FullName}", false);
            var isSticky = at != path && (info.UnixFileMode & UnixFileMode.StickyBit) != UnixFileMode.None;
            if ((info.UnixFileMode & OfOthers) != UnixFileMode.None && !isSticky)
                throw new KeyServiceException($"{at} can be written by others than its owner", mayPass: false);
            if (!PrivateFiles.IsOfRootOrOwn(at))
                throw new KeyServiceException($"{at} belongs neither to root nor to the user that runs Coffer", false);
        }
    }

    private static SecretBytes Question(string operation, RootKeyName name, ReadOnlyMemory<byte> data) =>
        KeyServiceText.Json(json =>
        {
            json.WriteNumber("v"u8, 1);
            json.WriteString("op"u8, operation);
            json.WriteString("store"u8, Convert.ToHexStringLower(name.Store));
            json.WriteNumber("version"u8, name.Version);
            json.WriteBase64String("data"u8, data.Span);
        });

    private static SecretBytes Read(SecretBytes answer, int code, string complaint)
    {
        var reader = new Utf8JsonReader(answer.Span);
        var (data, error, mayPass) = ((SecretBytes?)null, (string?)null, false);
        try
        {
            using var json = JsonDocument.ParseValue(ref reader);
            var root = json.RootElement;
            mayPass = root.TryGetProperty("retry", out var retry) && retry.ValueKind == JsonValueKind.True;
            error = root.TryGetProperty("error", out var wrong) ? wrong.ToString() : null;
            if (error is null && code == 0 && root.TryGetProperty("data", out var found)
                && found.TryGetBytesFromBase64(out var bytes))
                data = SecretBytes.Take(bytes);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // said below
        }

        if (data is not null)
            return data;
        var what = error is not null ? $"the program says: {KeyServiceText.Shown(error)}"
            : $"the program has given no answer and ended with {code}";
        throw new KeyServiceException(complaint.Length > 0 ? $"{what} ({complaint})" : what, mayPass);
    }

    private static async Task<int> ReadAsync(Stream stream, Memory<byte> into, CancellationToken ct)
    {
        var read = 0;
        while (read < into.Length && await stream.ReadAsync(into[read..], ct) is > 0 and var more)
            read += more;
        // What is more than that is not looked at, but taken, or the program would wait for it.
        var rest = new byte[4096];
        while (read == into.Length && await stream.ReadAsync(rest, ct) > 0)
            continue;
        return read;
    }

    private static string Shown(ReadOnlySpan<byte> bytes) => KeyServiceText.Shown(Encoding.UTF8.GetString(bytes));
}
