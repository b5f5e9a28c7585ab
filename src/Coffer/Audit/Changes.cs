using System.Globalization;
using System.Text.Json;

namespace Coffer.Audit;

/// <summary>
/// What a change changed, for its entry: each field that is not as it was, as it was and as it is. No secret is in it,
/// and no name of a secret or of a user.
/// </summary>
internal sealed class Changes
{
    private readonly List<(string Field, string Before, string After)> fields = [];

    /// <summary>As an object of JSON, each field an array of two; null if nothing was changed.</summary>
    public string? Json => fields.Count == 0 ? null
        : "{" + string.Join(',', fields.Select(each => $"\"{each.Field}\":[{each.Before},{each.After}]")) + "}";

    public Changes Text(string field, string? before, string? after) =>
        Add(field, before == after, Of(before), Of(after));

    public Changes Number(string field, long? before, long? after) =>
        Add(field, before == after, Of(before), Of(after));

    public Changes Flag(string field, bool? before, bool? after) => Add(field, before == after, Of(before), Of(after));

    public Changes Texts(string field, IReadOnlyList<string>? before, IReadOnlyList<string>? after) => Add(
        field, (before ?? []).SequenceEqual(after ?? [], StringComparer.Ordinal), Of(before), Of(after));

    /// <summary>Whether a field that was read is one of these.</summary>
    public static bool IsOne(JsonProperty field) => field.Name.Length > 0
        && field.Value.GetArrayLength() == 2 && field.Value.EnumerateArray().All(IsValue);

    private static bool IsValue(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => false,
        JsonValueKind.String => value.GetString() is not null,
        JsonValueKind.Array => value.EnumerateArray().All(text => text.GetString() is not null),
        _ => true,
    };

    private Changes Add(string field, bool isSame, string before, string after)
    {
        if (!isSame)
            fields.Add((field, before, after));
        return this;
    }

    private static string Of(string? text) => text is null ? "null" : $"\"{JsonEncodedText.Encode(text)}\"";

    private static string Of(long? number) => number?.ToString(CultureInfo.InvariantCulture) ?? "null";

    private static string Of(bool? flag) => flag switch { true => "true", false => "false", null => "null" };

    private static string Of(IReadOnlyList<string>? texts) =>
        texts is null ? "null" : $"[{string.Join(',', texts.Select(Of))}]";
}
