using System.Text.Json;

namespace Coffer.Shared;

/// <summary>The dashboard of packaging.</summary>
internal static class Dashboard
{
    /// <summary>What its panels ask for.</summary>
    /// <param name="repository">The checkout.</param>
    public static IReadOnlyList<string> Queries(string repository)
    {
        using var json = JsonDocument.Parse(
            File.ReadAllText(Path.Combine(repository, "packaging", "grafana", "coffer.json")));
        return [.. json.RootElement.GetProperty("panels").EnumerateArray()
            .Where(panel => panel.TryGetProperty("targets", out _))
            .SelectMany(panel => panel.GetProperty("targets").EnumerateArray())
            .Select(target => target.GetProperty("expr").GetString()!)];
    }
}
