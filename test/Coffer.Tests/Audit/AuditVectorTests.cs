using System.Text.Json;
using Coffer.Hosting;

namespace Coffer.Tests.Audit;

/// <summary>
/// The logs of vectors/audit-v2.json, which another implementation proves too (vectors/audit.mjs): what was exported
/// once stays provable.
/// </summary>
[Trait("Keys", "S13")]
public sealed class AuditVectorTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Theory]
    [InlineData(0, 2)]
    [InlineData(1, 0)]
    [InlineData(2, 0)]
    [InlineData(3, 1)]
    public async Task A_log_that_was_exported_once_is_proven_as_it_was(int number, int segments)
    {
        using var vectors = JsonDocument.Parse(File.ReadAllText(Repository.File("vectors/audit-v2.json")));
        var vector = vectors.RootElement.GetProperty("cases")[number];
        var (log, checkpoints, key) = (directory.File("log"), directory.File("checkpoints"), directory.File("key"));
        string[] lines = Lines("log");
        File.WriteAllLines(log, lines);
        File.WriteAllLines(checkpoints, Lines("checkpoints"));
        File.WriteAllText(key, vector.GetProperty("public_key").GetString());
        var report = await VerifyAsync();
        Assert.Empty(report.Problems);
        Assert.Equal(segments, report.Segments.Count);
        var proven = vector.GetProperty("proven").GetProperty("node_1");
        Assert.Equal($"entries {proven[0]} to {proven[1]} of node_1", Assert.Single(report.Proven));

        // What a key of before has signed of what came after it.
        if (vector.TryGetProperty("forged", out _))
        {
            File.WriteAllLines(checkpoints, [.. Lines("checkpoints"), .. Lines("forged")]);
            Assert.Contains("this store signed", Assert.Single((await VerifyAsync()).Problems),
                StringComparison.Ordinal);
            File.WriteAllLines(checkpoints, Lines("checkpoints"));
        }

        for (var at = vector.GetProperty("first_line").GetInt32(); at < lines.Length; at++)
        {
            File.WriteAllLines(log, [.. lines[..at], .. lines[(at + 1)..]]);
            Assert.NotEmpty((await VerifyAsync()).Problems);
        }

        string[] Lines(string name) =>
            [.. vector.GetProperty(name).EnumerateArray().Select(line => line.GetString()!)];

        Task<AuditArchive.AuditReport> VerifyAsync() =>
            AuditArchive.VerifyExportAsync(log, null, checkpoints, default, key);
    }
}
