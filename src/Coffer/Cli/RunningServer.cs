using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// What <c>dev</c> and <c>serve</c> share: their common options, the ready file, and running until told to stop.
/// </summary>
internal static class RunningServer
{
    /// <summary>
    /// A flag for each of the settings. Their values are text: flags, environment and file are read alike.
    /// </summary>
    public static IReadOnlyList<Option<string?>> Flags(IEnumerable<Setting> settings) =>
        [.. settings.Select(setting => new Option<string?>($"--{setting.Name}")
    {
        Description = $"{setting.Help} Default: {setting.Default}.",
        HelpName = setting.Value,
        Arity = setting.IsSwitch ? ArgumentArity.ZeroOrOne : ArgumentArity.ExactlyOne,
    })];

    /// <summary>The values of the flags that were given, by the settings' names.</summary>
    public static IReadOnlyDictionary<string, string> Given(ParseResult parsed, IEnumerable<Option<string?>> flags) =>
        flags.Where(flag => parsed.GetResult(flag) is not null)
            .ToDictionary(flag => flag.Name.TrimStart('-'),
                flag => parsed.GetResult(flag)!.Tokens is [var value] ? value.Value : "true");

    /// <summary>What this start accepts as lost; given as often as there are nodes that a refusal names.</summary>
    public static Option<AcceptedRollback[]> AcceptRollback() => new(AcceptedRollback.Flag)
    {
        Description = "Accept, for this start only, that the audit log of a node ends at an entry and that what came " +
            "after it is lost. A refused start prints the value. The audit log records it; it is not a setting.",
        HelpName = "NODE:SEQUENCE",
        Arity = ArgumentArity.OneOrMore,
        CustomParser = result =>
        {
            var pairs = result.Tokens.Select(token => AcceptedRollback.Parse(token.Value)).ToArray();
            if (pairs.Any(pair => pair is null))
                result.AddError($"{AcceptedRollback.Flag} needs NODE:SEQUENCE, as the refused start printed it.");
            return [.. pairs.OfType<AcceptedRollback>()];
        },
        DefaultValueFactory = static _ => [],
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
        var ready = new JsonObject { ["url"] = server.Url.ToString().TrimEnd('/') };
        if (server.AdminUrl is { } admin)
            ready["admin_url"] = admin.ToString().TrimEnd('/');
        ready["pid"] = Environment.ProcessId;
        foreach (var (name, key) in ((string, string?)[])[
            ("test_secret_key", server.FirstKeys?.TestSecretKey), ("live_secret_key", server.FirstKeys?.LiveSecretKey),
                ("admin_key", server.FirstKeys?.AdminKey),
            ("signing_secret_test", server.FirstKeys?.SigningSecretTest),
            ("signing_secret_live", server.FirstKeys?.SigningSecretLive)])
        {
            if (key is not null)
                ready[name] = key;
        }

        // Whole or not there: it appears under its name only once it is written.
        DurableFile.Write(path, Encoding.UTF8.GetBytes(ready.ToJsonString() + "\n"), overwrite: true);
    }
}
