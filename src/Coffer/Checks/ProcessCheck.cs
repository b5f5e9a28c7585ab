using System.Globalization;
using Coffer.Hosting;

namespace Coffer.Checks;

/// <summary>
/// What the system lets a server have: of the one that runs, or of one that would be started from here.
/// </summary>
internal static class ProcessCheck
{
    public static Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var who = at.Holder is { } process ? $"the server (process {process})" : "a server that is started from here";
        if (Product.TroubleOf(Environment.Version) is not null)
        {
            found.Warn($"the .NET runtime is {Environment.Version}; the oldest that is fit is {Product.OldestRuntime}",
                "Update the runtime.");
        }

        var files = at.Holder is { } holder ? LimitOf(holder, "Max open files") : ProcessLimits.OpenFiles;
        var connections = Listeners.ConnectionsOf(at.Options, files ?? int.MaxValue);
        if (connections < at.Options.Connections)
        {
            found.Warn(
                $"{who} may open {files} files, enough for {connections} connections at each address and not for the "
                    + $"{at.Options.Connections} of {at.Options.Written("connections")}",
                "Raise the limit of the service (LimitNOFILE of systemd), or lower --connections.");
        }

        var mayDump = at.Holder is { } server
            ? LimitOf(server, "Max core file size") is not (null or 0)
            : ProcessPrivacy.IsTurnedOff;
        if (mayDump)
        {
            found.Warn($"{who} may leave a core dump, which holds keys and payloads",
                "Start it without DOTNET_EnableDiagnostics and DOTNET_DbgEnableMiniDump.");
        }

        if (found.AreOk)
        {
            found.Ok(at.Holder is null
                ? "no server runs on this data directory; one that is started from here may open enough files"
                : $"{who} runs on this data directory, may open enough files and leaves no core dump");
        }

        return Task.CompletedTask;
    }

    // Max open files            1024                 524288               files
    private static long? LimitOf(int process, string name)
    {
        var file = $"/proc/{process}/limits";
        if (!File.Exists(file))
            return null; // it runs in another container
        var line = File.ReadLines(file).FirstOrDefault(limit => limit.StartsWith(name, StringComparison.Ordinal));
        var value = line?[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0];
        if (value == "unlimited")
            return int.MaxValue;
        return long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var limit) ? limit : null;
    }
}
