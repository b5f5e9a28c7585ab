using System.Collections;
using System.Text.RegularExpressions;

namespace Coffer.Settings;

/// <summary>
/// What the operator wrote, in flags, environment and one file, made into options. A flag goes before the environment,
/// that before the file, that before the default. Nothing that is wrong or unknown is skipped, and all of it is
/// reported at once.
/// </summary>
/// <remarks>
/// The framework's reader of INI files is not used: it stops at the first fault, and forgets the lines.
/// </remarks>
internal sealed partial class Configuration
{
    private const string ConfigVariable = "COFFER_CONFIG";

    /// <summary>Variables of the command line's clients, which may well be set where a server is started.</summary>
    private static readonly string[] NoSettings =
    [
        "COFFER_URL", "COFFER_API_KEY", "COFFER_ADMIN_URL", "COFFER_ADMIN_KEY", "COFFER_SIGNING_SECRET", "COFFER_PROXY",
        "COFFER_CA", ConfigVariable,
    ];

    private readonly List<string> problems = [];
    private readonly Dictionary<string, SettingInForce> written = [];

    private Configuration()
    {
    }

    /// <summary>The options of <c>coffer serve</c>.</summary>
    /// <param name="flags">Values by the settings' names.</param>
    /// <param name="config">The file of <c>--config</c>; null is that of COFFER_CONFIG, if there is one.</param>
    /// <param name="environment">The variables of the process.</param>
    /// <returns>Options that are still to be validated, which tells all that is wrong.</returns>
    public static CofferOptions ForServe(IReadOnlyDictionary<string, string> flags, string? config,
        IDictionary environment)
    {
        var read = new Configuration();
        if (config is not null)
            read.AddFile(config, "--config");
        else if (environment[ConfigVariable] is string path)
            read.AddFile(path, ConfigVariable);
        read.AddEnvironment(environment);
        read.AddFlags(flags);
        if (!read.written.ContainsKey("data"))
            read.problems.Add("no data directory is set: give --data, COFFER_DATA, or data in the file");
        return read.Options(new CofferOptions { Data = "" }, SettingsTable.All.Where(setting => setting.InServe));
    }

    /// <summary>
    /// The options of <c>coffer dev</c>, which reads flags only: what a laptop's shell has set for a server is not
    /// meant for it.
    /// </summary>
    /// <returns>
    /// Options that are still to be validated; <see cref="CofferOptions.Data"/> is empty if no directory was named.
    /// </returns>
    public static CofferOptions ForDev(IReadOnlyDictionary<string, string> flags)
    {
        var read = new Configuration();
        read.AddFlags(flags);
        return read.Options(new CofferOptions { Data = "", Dev = new(null, SeedFixtures: false) }, SettingsTable.All);
    }

    private void AddFlags(IReadOnlyDictionary<string, string> flags)
    {
        foreach (var (name, value) in flags)
            written[name] = new SettingInForce(name, value, "flag");
    }

    private void AddEnvironment(IDictionary environment)
    {
        foreach (var (variable, value) in environment.Cast<DictionaryEntry>().Select(
            each => ((string)each.Key, each.Value as string ?? "")).Order())
        {
            if (!variable.StartsWith(SettingsTable.EnvironmentPrefix, StringComparison.Ordinal)
                || NoSettings.Contains(variable) || IsServiceLink(variable, value))
                continue;
            if (SettingsTable.All.FirstOrDefault(
                setting => setting.InServe && setting.Environment == variable) is { } setting)
                written[setting.Name] = new SettingInForce(setting.Name, value, "environment") { Written = variable };
            else
            {
                var name = variable[SettingsTable.EnvironmentPrefix.Length..];
                problems.Add($"{variable} is an unknown setting{Suggestion(name, nearest => nearest.Environment)}");
            }
        }
    }

    private void AddFile(string path, string origin)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            problems.Add($"the file '{path}' of {origin} cannot be read: {e.Message.TrimEnd('.')}");
            return;
        }

        var seen = new Dictionary<string, int>();
        for (var number = 1; number <= lines.Length; number++)
        {
            var line = lines[number - 1].Trim();
            if (line.Length == 0 || line.StartsWith('#'))
                continue;
            if (Problem(line) is { } problem)
                problems.Add($"{path} line {number}: {problem}");

            string? Problem(string line)
            {
                if (line.StartsWith('['))
                    return "sections are not supported: write each setting as NAME = VALUE";
                if (line.Split('=', 2) is not [var left, var right])
                    return "is not of the form NAME = VALUE";
                var (name, value) = (left.TrimEnd(), right.TrimStart());
                if (!SettingsTable.All.Any(setting => setting.InServe && setting.Name == name))
                    return $"{name} is an unknown setting{Suggestion(name, nearest => nearest.Name)}";
                if (!seen.TryAdd(name, number))
                    return $"{name} is already set in line {seen[name]}";
                // It would be part of the value, which is not what was meant.
                if (value.StartsWith('#') || value.Contains(" #", StringComparison.Ordinal)
                    || value.Contains("\t#", StringComparison.Ordinal))
                    return $"{name} has a comment after its value: put the comment on a line of its own";
                written[name] = new SettingInForce(name, value, "file") { Written = $"{path} line {number}: {name}" };
                return null;
            }
        }
    }

    private CofferOptions Options(CofferOptions options, IEnumerable<Setting> settings)
    {
        var inForce = new List<SettingInForce>();
        foreach (var setting in settings)
        {
            if (!written.TryGetValue(setting.Name, out var value))
            {
                inForce.Add(new SettingInForce(setting.Name, setting.Default, "default"));
                continue;
            }

            inForce.Add(setting.IsPrivate ? value with { Value = SettingsTable.Redacted } : value);
            try
            {
                if (LiteralText.Problem(value.Value, setting.IsPrivate) is { } problem)
                    throw new FormatException(problem);
                options = setting.Apply(options, value.Value);
            }
            catch (FormatException e)
            {
                problems.Add(
                    setting.IsPrivate
                        ? $"{value.Written} {e.Message}"
                        : $"{value.Written} '{value.Value}' {e.Message}");
            }
        }

        return options with { InForce = inForce, Misread = problems };
    }

    // Kubernetes tells every container about every service: one that is named coffer makes variables like ours.
    private static bool IsServiceLink(string variable, string value) =>
        ServiceLink().IsMatch(variable)
            || (variable.EndsWith("_PORT", StringComparison.Ordinal)
                && value.Contains("://", StringComparison.Ordinal));

    [GeneratedRegex("_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$",
        RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex ServiceLink();

    private static string Suggestion(string name, Func<Setting, string> shown)
    {
        var text = name.ToLowerInvariant().Replace('_', '-');
        var nearest = SettingsTable.All.Where(setting => setting.InServe).MinBy(
            setting => Distance(text, setting.Name))!;
        return Distance(text, nearest.Name) <= Math.Max(1, nearest.Name.Length / 3)
            ? $" (did you mean {shown(nearest)}?)"
            : "";
    }

    /// <summary>How many letters have to be put in, left out or changed (Levenshtein).</summary>
    private static int Distance(string from, string to)
    {
        var row = Enumerable.Range(0, to.Length + 1).ToArray();
        for (var i = 1; i <= from.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= to.Length; j++)
            {
                var changed = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(changed, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[to.Length];
    }
}
