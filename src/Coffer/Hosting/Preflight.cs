using Coffer.Settings;
using Coffer.Storage.Postgres;

namespace Coffer.Hosting;

/// <summary>What is wrong with the settings, found before anything is opened and reported all at once.</summary>
internal static class Preflight
{
    /// <exception cref="ConfigurationException">All that is wrong.</exception>
    public static void Require(CofferOptions options)
    {
        string[] problems = [.. Problems(options), .. TlsProblems(options)];
        if (problems.Length > 0)
            throw new ConfigurationException(string.Join("; ", problems), Hint);
        RequireFiles(ProcessLimits.OpenFiles);
    }

    /// <param name="files">How many files the process may open.</param>
    /// <exception cref="ConfigurationException">They are too few.</exception>
    public static void RequireFiles(long files)
    {
        if (files < ProcessLimits.LeastFiles)
            throw new ConfigurationException(
                $"this process may open {files} files at once, and needs {ProcessLimits.LeastFiles} at least",
                "Raise the limit: ulimit -n in a shell, LimitNOFILE of a systemd unit, --ulimit nofile of a "
                + "container.");
    }

    public const string Hint = "Run coffer settings to see all settings and how to give them.";

    /// <summary>All that can be told without a look at a file.</summary>
    public static IEnumerable<string> Problems(CofferOptions options) =>
        [.. options.Problems(), .. StoreProblems(options), .. OtlpSettings.OfProcess().Problems];

    private static IEnumerable<string> StoreProblems(CofferOptions options)
    {
        if (options.Store is not null && PostgresAddress.Parse(options.Store) is null)
        {
            yield return $"{options.Written("store")} is not a connection string that names a host. " +
                PostgresAddress.Form.TrimEnd('.');
        }
    }

    private static IEnumerable<string> TlsProblems(CofferOptions options)
    {
        if (TlsPair.Of(options)?.Problem() is { } problem)
            yield return problem;
    }
}
