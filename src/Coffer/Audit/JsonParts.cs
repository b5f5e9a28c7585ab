using System.Text.Json.Nodes;

namespace Coffer.Audit;

/// <summary>Reads JSON in which anything may be missing, because it may have been edited.</summary>
internal static class JsonParts
{
    /// <exception cref="FormatException">There is no such part.</exception>
    /// <exception cref="InvalidOperationException">It is not of an object.</exception>
    public static JsonNode Part(this JsonNode? json, string name) =>
        json?[name] ?? throw new FormatException($"there is no {name}");

    /// <exception cref="FormatException">It is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such part.</exception>
    public static JsonNode Part(this JsonArray json, int at) =>
        json[at] ?? throw new FormatException($"part {at} is null");
}
