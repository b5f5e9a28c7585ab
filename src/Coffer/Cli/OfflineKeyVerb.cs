using System.CommandLine;
using System.Text.Json;
using Coffer.Hosting;

namespace Coffer.Cli;

/// <summary>
/// What <c>coffer keys create --offline</c> takes besides: where the server has its store and root keys.
/// </summary>
internal static class OfflineKeyVerb
{
    public static readonly Option<bool> Offline = new("--offline")
    {
        Description = "Create an owner's key beside the server, with the root key, when all admin keys are lost. It "
            + "ends in 24 hours unless --expires-at is given. Give --data and the other settings as the server has "
            + "them.",
    };

    private static readonly ServeSettings Settings = ServeSettings.OfStore("audit-checkpoints");

    public static void AddTo(Command command, params Option[] unused)
    {
        command.Add(Offline);
        Settings.AddTo(command);
        command.Validators.Add(parsed =>
        {
            if (!parsed.GetValue(Offline))
            {
                if (Settings.All.FirstOrDefault(flag => parsed.GetResult(flag) is not null) is { } flag)
                    parsed.AddError($"Give {flag.Name} with --offline only");
            }
            else if (unused.FirstOrDefault(option => parsed.GetResult(option) is { Implicit: false }) is { } option)
            {
                parsed.AddError($"{option.Name} cannot be used with --offline, which creates an owner's key");
            }
        });
    }

    public static Task<JsonElement> CreateAsync(ParseResult parsed, DateTimeOffset? expires, CancellationToken ct) =>
        OfflineKey.CreateAsync(Settings.Read(parsed), expires, TimeProvider.System, ct);
}
