using System.CommandLine;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// Where a server has its store and root keys, for what is done beside it: flags, environment and file, read as the
/// server reads them.
/// </summary>
internal sealed class StoreSettings
{
    private static readonly string[] Names = ["data", "store", "audit-checkpoints"];

    private readonly IReadOnlyList<Option<string?>> flags = RunningServer.Flags(SettingsTable.All.Where(setting =>
        Names.Contains(setting.Name) || setting.Name.StartsWith("root-key", StringComparison.Ordinal)));

    private readonly Option<string?> config = RunningServer.Config();

    public IEnumerable<Option> All => flags.Append(config);

    public void AddTo(Command command)
    {
        foreach (var option in All)
            command.Add(option);
    }

    public CofferOptions Read(ParseResult parsed) => Configuration.ForServe(
        RunningServer.Given(parsed, flags), parsed.GetValue(config), Environment.GetEnvironmentVariables());
}
