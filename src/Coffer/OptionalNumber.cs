using System.Text.Json;

namespace Coffer;

/// <summary>A number of JSON that may be null.</summary>
internal static class OptionalNumber
{
    /// <summary>Writes a field: the number, or null where there is none.</summary>
    public static void WriteNumberOrNull(this Utf8JsonWriter json, ReadOnlySpan<byte> name, long? number)
    {
        if (number is { } value)
            json.WriteNumber(name, value);
        else
            json.WriteNull(name);
    }
}
