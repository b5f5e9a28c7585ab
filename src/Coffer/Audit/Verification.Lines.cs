using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>Entries as they stand in rows. Nothing reads one to prove it: its bytes count.</summary>
internal sealed partial class Verification
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 4 };

    /// <summary>When a row's last entry was decided, from the entry itself; null if it does not say.</summary>
    public static DateTimeOffset? TimeOf(AuditRow row) =>
        Field(Lines(row).LastOrDefault(), "time") is { } text
            && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out var time)
            ? time
            : null;

    /// <summary>The entries of a row, a line each.</summary>
    public static IEnumerable<ReadOnlyMemory<byte>> Lines(AuditRow row)
    {
        for (var at = 0; at < row.Entries.Length;)
        {
            var end = row.Entries.AsSpan(at).IndexOf((byte)'\n') is var feed and >= 0 ? at + feed : row.Entries.Length;
            yield return row.Entries.AsMemory(at, end - at);
            at = end + 1;
        }
    }

    /// <summary>An entry's field as text; null if it has none, or is no entry any more.</summary>
    public static string? Field(ReadOnlyMemory<byte> line, string name)
    {
        using var json = Parse(line);
        return Field(json, name);
    }

    /// <summary>The same of an entry that was parsed; null is none.</summary>
    public static string? Field(JsonDocument? json, string name)
    {
        try
        {
            return json is not null && json.RootElement.TryGetProperty(name, out var value) ? value.ToString() : null;
        }
        catch (InvalidOperationException)
        {
            return null; // an escape that is half a character is no text
        }
    }

    /// <summary>An entry as JSON, for the caller to dispose of; null if it is none any more.</summary>
    public static JsonDocument? Parse(ReadOnlyMemory<byte> line)
    {
        try
        {
            var json = Utf8.IsValid(line.Span) ? JsonDocument.Parse(line, Strict) : null;
            if (json?.RootElement.ValueKind == JsonValueKind.Object)
                return json;
            json?.Dispose();
            return null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>
    /// The same, if all its fields are what a field of an entry is: text or a number, or what was changed.
    /// </summary>
    public static JsonDocument? ParseWhole(ReadOnlyMemory<byte> line)
    {
        var json = Parse(line);
        try
        {
            if (json?.RootElement.EnumerateObject().All(IsField) == true)
                return json;
        }
        catch (InvalidOperationException)
        {
            // as above
        }

        json?.Dispose();
        return null;
    }

    private static bool IsField(JsonProperty field) => field.Name == "changed"
        ? field.Value.EnumerateObject().All(Changes.IsOne)
        : field.Name.Length > 0 && field.Value.ValueKind switch
        {
            JsonValueKind.Number => true,
            JsonValueKind.String => field.Value.GetString() is not null,
            _ => false,
        };
}
