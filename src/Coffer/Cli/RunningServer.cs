using System.CommandLine;
using System.Text.Json.Nodes;

namespace Coffer.Cli;

/// <summary>What <c>dev</c> and <c>serve</c> share: their common options, the ready file, and running until told to stop.</summary>
internal static class RunningServer
{
    public static Option<string> ListenOption() => new("--listen")
    {
        Description = "Address and port to listen at; port 0 takes a free one.",
        HelpName = "URL",
        DefaultValueFactory = _ => CofferOptions.DefaultListen,
    };

    public static Option<string?> ReadyFileOption() => new("--ready-file")
    {
        Description = "Write this JSON file (mode 0600) once requests are answered: url, pid, and the keys if they were just made.",
        HelpName = "FILE",
    };

    public static async Task<int> RunAsync(CofferOptions options, Action<Server> announce, CancellationToken ct)
    {
        // A file of an earlier run would make a script believe in a server that is not there yet.
        if (options.ReadyFile is { } stale)
            File.Delete(stale);
        await using var server = await Server.StartAsync(options, TimeProvider.System, ct);
        // First what is shown once, then what can fail.
        announce(server);
        if (options.ReadyFile is { } path)
            WriteReadyFile(path, server);
        await server.WaitForStopAsync(ct);
        return ExitCode.Ok;
    }

    private static void WriteReadyFile(string path, Server server)
    {
        var ready = new JsonObject { ["url"] = server.Url.ToString().TrimEnd('/'), ["pid"] = Environment.ProcessId };
        foreach (var (name, key) in ((string, string?)[])[
            ("test_secret_key", server.FirstKeys?.TestSecretKey), ("live_secret_key", server.FirstKeys?.LiveSecretKey), ("admin_key", server.FirstKeys?.AdminKey)])
        {
            if (key is not null)
                ready[name] = key;
        }

        // Whole or not there: it appears under its name only once it is written.
        var written = $"{path}.{Environment.ProcessId}";
        var create = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            create.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using (var writer = new StreamWriter(written, create))
            writer.WriteLine(ready.ToJsonString());
        File.Move(written, path, overwrite: true);
    }
}
