using System.Globalization;
using System.Text.Json;
using static Coffer.Api.DocsText;

namespace Coffer.Api;

/// <summary>The schemas of a document in words: what a value may be, and the members of an object.</summary>
/// <param name="root">The document.</param>
internal sealed class DocsSchema(JsonElement root)
{
    /// <summary>A member of an object, or a parameter.</summary>
    /// <param name="Name">Its name; of one inside another, the whole path.</param>
    /// <param name="Schema">What it may be.</param>
    /// <param name="IsRequired">Whether it is always there.</param>
    public readonly record struct Member(string Name, JsonElement Schema, bool IsRequired);

    /// <summary>What a reference refers to, and anything else as it is.</summary>
    public JsonElement Resolve(JsonElement element)
    {
        if (Text(element, "$ref") is not { } reference)
            return element;
        var found = root;
        foreach (var step in reference.Split('/').Skip(1))
            found = found.GetProperty(step);
        return found;
    }

    /// <summary>A text of an object, or null.</summary>
    public static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) ? value.GetString() : null;

    /// <summary>The elements of an array, if it is there.</summary>
    public static IEnumerable<JsonElement> Items(JsonElement element, string name) =>
        element.TryGetProperty(name, out var array) ? array.EnumerateArray() : [];

    /// <summary>The members of an object, if it is there.</summary>
    public static IEnumerable<JsonProperty> Members(JsonElement element, string name) =>
        element.TryGetProperty(name, out var members) ? members.EnumerateObject() : [];

    /// <summary>
    /// The fields of an answer: those of an object inside are after it, as <c>engine.name</c> or <c>keys[].id</c>.
    /// </summary>
    public static IEnumerable<Member> Fields(JsonElement schema, string prefix = "")
    {
        foreach (var member in Own(schema))
        {
            var name = prefix + member.Name;
            yield return member with { Name = name };
            var inner = member.Schema.TryGetProperty("items", out var items) ? items : member.Schema;
            foreach (var field in Fields(inner, name + (IsArray(member.Schema) ? "[]." : ".")))
                yield return field;
        }
    }

    /// <summary>
    /// Parameters as they are sent: <c>scope[type]</c> for what is inside, <c>expand[]</c> for an array.
    /// </summary>
    public IEnumerable<Member> Sent(Member member)
    {
        var schema = Resolve(member.Schema);
        if (Own(schema).ToList() is not { Count: > 0 } inner)
            return [member with { Name = IsArray(schema) ? $"{member.Name}[]" : member.Name }];
        return inner.SelectMany(own => Sent(new Member(
            $"{member.Name}[{own.Name}]", own.Schema, member.IsRequired && own.IsRequired)));
    }

    /// <summary>The members that stand in a schema itself.</summary>
    public static IEnumerable<Member> Own(JsonElement schema)
    {
        var required = Items(schema, "required").Select(name => name.GetString()).ToHashSet();
        return Members(schema, "properties").Select(
            member => new Member(member.Name, member.Value, required.Contains(member.Name)));
    }

    /// <summary>What a value may be, in words, as HTML.</summary>
    public string Kind(JsonElement schema)
    {
        if (Text(schema, "$ref") is { } reference)
            return $"<a href=\"#schema-{Name(reference)}\">{Name(reference)}</a>";
        if (schema.TryGetProperty("const", out var only))
            return Value(only);
        if (schema.TryGetProperty("enum", out var values))
            return OneOf(values);
        if (schema.TryGetProperty("anyOf", out var choices))
            return string.Join(" or ", choices.EnumerateArray().Select(Kind));
        var kind = string.Join(" or ", Types(schema));
        if (schema.TryGetProperty("items", out var items))
            kind = kind.Replace("array", $"array of {Kind(items)}", StringComparison.Ordinal) + Most(schema);
        return kind + Range(schema) + Known(schema) + Default(schema);
    }

    private static string OneOf(JsonElement values)
    {
        var words = values.EnumerateArray().Select(Value).ToList();
        return words.Count == 1 ? words[0] : $"one of {string.Join(", ", words)}";
    }

    private static IEnumerable<string> Types(JsonElement schema)
    {
        if (!schema.TryGetProperty("type", out var type))
            return ["any"];
        return type.ValueKind == JsonValueKind.String
            ? [type.GetString()!]
            : type.EnumerateArray().Select(each => each.GetString()!);
    }

    private static bool IsArray(JsonElement schema) => Types(schema).Contains("array")
        || Items(schema, "anyOf").Any(IsArray);

    private static string Range(JsonElement schema)
    {
        var (least, most) = (Number(schema, "minLength"), Number(schema, "maxLength"));
        if (most is not null)
            return $", {least ?? "0"} to {most} characters";
        (least, most) = (Number(schema, "minimum"), Number(schema, "maximum"));
        if (least is null)
            return "";
        return most is null ? $", from {least}" : $", {least} to {most}";
    }

    private static string Most(JsonElement schema) =>
        Number(schema, "maxItems") is { } most ? $", at most {most}" : "";

    // Words that programs may meet, to which more may be added.
    private static string Known(JsonElement schema) => schema.TryGetProperty("x-extensible-enum", out var words)
        ? $", such as {string.Join(", ", words.EnumerateArray().Select(Value))}"
        : "";

    private static string Default(JsonElement schema) =>
        schema.TryGetProperty("default", out var value) ? $", {Value(value)} if left out" : "";

    private static string? Number(JsonElement schema, string name) => schema.TryGetProperty(name, out var number)
        ? number.GetInt64().ToString("N0", CultureInfo.InvariantCulture)
        : null;

    private static string Value(JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.String)
            return Code(value.GetRawText());
        return value.GetString() is { Length: > 0 } text ? Code(text.TrimEnd('\n')) : "empty";
    }

    private static string Name(string reference) => reference[(reference.LastIndexOf('/') + 1)..];
}
