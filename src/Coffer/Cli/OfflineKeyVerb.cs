using System.CommandLine;
using System.Text.Json;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// What <c>coffer keys create --offline</c> takes besides: where the server has its store and root keys.
/// </summary>
internal static class OfflineKeyVerb
{
    private static readonly string[] Settings = ["data", "store", "root-key", "checkpoints"];

    public static readonly Option<bool> Offline = new("--offline")
    {
        Description = "Create an owner's key beside the server, with the root key, when all admin keys are lost. It "
            + "ends in 24 hours unless --expires-at is given. Give --data and the other settings as the server has "
            + "them.",
    };

    private static readonly IReadOnlyList<Option<string?>> Flags =
        RunningServer.Flags(SettingsTable.All.Where(setting => Settings.Contains(setting.Name)));

    private static readonly Option<string?> Config = new("--config")
    {
        Description = "With --offline, read settings from this file too; the default is COFFER_CONFIG.",
        HelpName = "FILE",
    };

    public static void AddTo(Command command, params Option[] unused)
    {
        command.Add(Offline);
        command.Add(Config);
        foreach (var flag in Flags)
            command.Add(flag);
        command.Validators.Add(parsed =>
        {
            if (!parsed.GetValue(Offline))
            {
                if (Flags.Append(Config).FirstOrDefault(flag => parsed.GetResult(flag) is not null) is { } flag)
                    parsed.AddError($"Give {flag.Name} with --offline only");
            }
            else if (unused.FirstOrDefault(option => parsed.GetResult(option) is { Implicit: false }) is { } option)
            {
                parsed.AddError($"{option.Name} cannot be used with --offline, which creates an owner's key");
            }
        });
    }

    public static Task<JsonElement> CreateAsync(ParseResult parsed, DateTimeOffset? expires, CancellationToken ct)
    {
        var options = Configuration.ForServe(RunningServer.Given(parsed, Flags), parsed.GetValue(Config),
            Environment.GetEnvironmentVariables());
        return OfflineKey.CreateAsync(options, expires, TimeProvider.System, ct);
    }
}
