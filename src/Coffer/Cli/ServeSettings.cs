using System.CommandLine;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// The settings of <c>coffer serve</c>, or some of them, for a server or for what is done beside it: flags,
/// environment and file, read alike.
/// </summary>
internal sealed class ServeSettings
{
    private readonly IReadOnlyList<Option<string?>> flags;
    private readonly Option<string?> config = new("--config")
    {
        Description = "Read settings from this file too; the default is COFFER_CONFIG.",
        HelpName = "FILE",
    };

    private ServeSettings(IEnumerable<Setting> settings) => flags = RunningServer.Flags(settings);

    public IEnumerable<Option> All => flags.Append(config);

    /// <summary>All of them.</summary>
    public static ServeSettings OfServer() => new(SettingsTable.All.Where(setting => setting.InServe));

    /// <summary>Where a server has its store and root keys, and others that are named.</summary>
    public static ServeSettings OfStore(params string[] others) => new(SettingsTable.All.Where(setting =>
        setting.InServe && (setting.Name is "data" or "store" || others.Contains(setting.Name)
            || setting.Name.StartsWith("root-key", StringComparison.Ordinal))));

    public void AddTo(Command command)
    {
        foreach (var option in All)
            command.Add(option);
    }

    public CofferOptions Read(ParseResult parsed) => Configuration.ForServe(
        RunningServer.Given(parsed, flags), parsed.GetValue(config), Environment.GetEnvironmentVariables());
}
