using System.Buffers;
using System.Text.Json;

namespace Coffer.Keys;

/// <summary>What is sent to those who wrap, and how what they say is shown.</summary>
internal static class KeyServiceText
{
    private const int Room = 8 * 1024, LongestSaid = 500;

    /// <summary>A JSON object, for the caller to dispose of; no copy of it is left.</summary>
    /// <param name="write">Writes its fields.</param>
    public static SecretBytes Json(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>(Room);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }

        var body = SecretBytes.Copy(buffer.WrittenSpan);
        buffer.Clear(); // what was written is zero again
        return body;
    }

    /// <summary>A field that is text; null if it is not there or no text.</summary>
    public static string? Of(JsonElement answer, string field) =>
        answer.TryGetProperty(field, out var found) && found.ValueKind == JsonValueKind.String
            ? found.GetString()
            : null;

    /// <summary>On one line, and of a length that a message may have.</summary>
    public static string Shown(string said)
    {
        var line = VisibleText.Of(string.Concat(said.Trim().Select(c => char.IsControl(c) ? ' ' : c)));
        return line[..Math.Min(line.Length, LongestSaid)];
    }
}
