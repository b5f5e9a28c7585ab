using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary><c>coffer audit</c> over a data directory, whether or not a server runs on it.</summary>
public static partial class AuditVerb
{
    /// <summary>Fails unless the whole log verifies; returns how many entries it has.</summary>
    public static async Task<long> VerifiedAsync(TemporaryDirectory data, params string[] more)
    {
        var said = (await Ran.CofferAsync(["audit", "verify", "--data", data.Path, .. more])).EndedWith(0);
        Assert.Empty(said.Stderr);
        var match = Verdict().Match(said.Stdout);
        Assert.True(match.Success, said.Stdout);
        return long.Parse(match.Groups["entries"].Value, CultureInfo.InvariantCulture);
    }

    /// <summary>Every entry that the filters take, newest first.</summary>
    public static async Task<IReadOnlyList<JsonElement>> ListAsync(TemporaryDirectory data, params string[] filters) =>
        [.. (await Ran.CofferAsync(
            ["audit", "list", "--data", data.Path, "--json", "--limit", "1000000", .. filters])).EndedWith(0).Stdout
            .Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonElement.Parse(line))];

    [GeneratedRegex("(^|\n)(?<entries>[0-9]+) entries verify with the root key, [0-9]+ checkpoints, 0 problems\n$",
        RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 5_000)]
    private static partial Regex Verdict();
}
