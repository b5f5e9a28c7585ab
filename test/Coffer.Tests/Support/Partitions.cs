using System.Text.RegularExpressions;

namespace Coffer.Tests.Support;

/// <summary>"Hash partitions by tenant" of docs/scaling.md, run as it stands.</summary>
internal static partial class Partitions
{
    public const int Count = 16;

    /// <summary>What docs/scaling.md says under a heading.</summary>
    public static string Section(string heading)
    {
        var document = File.ReadAllText(Repository.File("docs/scaling.md"));
        var begin = document.IndexOf($"\n## {heading}\n", StringComparison.Ordinal);
        Assert.True(begin >= 0, $"docs/scaling.md has no section '{heading}'");
        var end = document.IndexOf("\n## ", begin + 1, StringComparison.Ordinal);
        return document[begin..(end < 0 ? document.Length : end)];
    }

    /// <summary>Has an operator run the section's SQL on a store.</summary>
    public static Task MakeAsync(string store) =>
        PostgresServer.ExecuteAsync(store,
            Assert.Single(Block().Matches(Section("Hash partitions by tenant"))).Groups["sql"].Value);

    [GeneratedRegex("^```sql\n(?<sql>.*?)^```",
        RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex Block();
}
