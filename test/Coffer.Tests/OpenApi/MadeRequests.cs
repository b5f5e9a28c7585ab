using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Coffer.Tests.OpenApi;

/// <summary>Requests that are made of what a document says of an operation.</summary>
/// <param name="choices">What is chosen where several would do.</param>
/// <param name="ids">Ids that are there, by the name of the place of a path that they are for.</param>
internal sealed class MadeRequests(Choices choices, IReadOnlyDictionary<string, string[]> ids)
{
    private const int Longest = 5_000;

    // Texts at the edges: short, long, of other scripts, with what grammars and logs trip over.
    private static readonly string[] Texts =
    [
        "a", "acct_*", "app_1", "default", "usr_1", "my-api-key", "127.0.0.0/8", "https://app.example.com", "{}",
        "a&b=c", "%", "[]", "\0", "\r\nX: 1", "ä", "𝄞", "<b>", "' OR 1=1 --", "0", "-1", "null",
    ];

    private static readonly long[] Numbers = [0, 1, 7, 1_800_000_000, -1, 253_402_300_800, long.MaxValue];

    /// <summary>A field of a form, as it is sent: its name, and its value already encoded.</summary>
    public readonly record struct Field(string Name, string Value)
    {
        public override string ToString() => $"{Uri.EscapeDataString(Name)}={Value}";
    }

    /// <summary>A path, mostly about something that is there.</summary>
    public string Path(ApiOperation operation) => string.Join('/', operation.Path.Split('/').Select(step =>
        step is ['{', .. var name, '}'] ? Pick([.. Known(name), .. Known(name), .. Known(name), "absent_1"]) : step));

    private string[] Known(string name) => ids.GetValueOrDefault(name) ?? [];

    /// <summary>A request that the document allows.</summary>
    public List<Field> Valid(ApiOperation operation) => [.. operation.Bag
        .Where(parameter => parameter.IsRequired || choices.Next(3) == 0)
        .SelectMany(parameter => Fields(parameter.Name, parameter.Schema, operation.Document))];

    /// <summary>The least that the document needs.</summary>
    public List<Field> Least(ApiOperation operation) => [.. operation.Bag.Where(parameter => parameter.IsRequired)
        .SelectMany(parameter => Fields(parameter.Name, parameter.Schema, operation.Document))];

    /// <summary>Requests that the document does not allow, each with what is wrong.</summary>
    public IEnumerable<(string Fault, string Form)> Invalid(ApiOperation operation)
    {
        yield return ("an unknown parameter", With(operation, null, new Field("unknown", "1")));
        yield return ("too many parameters", With(operation, null,
            [.. Enumerable.Range(0, 201).Select(number => new Field($"expand[{number}]", "payload"))]));
        yield return ("a name that cannot be read", With(operation, null) + "&a]=1");
        foreach (var parameter in operation.Bag)
        {
            if (parameter.IsRequired)
                yield return ($"without {parameter.Name}", With(operation, parameter.Name));
            foreach (var (fault, fields) in Wrong(parameter, operation.Document))
                yield return ($"{parameter.Name}: {fault}", With(operation, parameter.Name, [.. fields]));
        }
    }

    private IEnumerable<(string Fault, IEnumerable<Field> Fields)> Wrong(ApiParameter parameter, ApiDocument document)
    {
        var (name, schema) = (parameter.Name, parameter.Schema);
        var type = (string?)schema["type"];
        yield return ("no percent-encoding", [new Field(name, "%zz")]);
        yield return ("no UTF-8", [new Field(name, "%ff")]);
        if (type == "array")
        {
            yield return ("an object", [new Field($"{name}[a]", "a")]);
            if (schema["items"]!["enum"] is not null)
                yield return ("none of its words", [new Field($"{name}[]", "nonsense")]);
            yield break;
        }

        if (type == "object")
        {
            yield return ("a text", [new Field(name, "account")]);
            yield return ("an unknown member", [.. Fields(name, schema, document), new Field($"{name}[more]", "1")]);
            foreach (var (member, value) in schema["properties"]!.AsObject().Where(each => each.Value!["enum"] != null))
                yield return ($"{member} is none of its words", [new Field($"{name}[{member}]", "nonsense")]);
            yield break;
        }

        yield return ("an object", [new Field($"{name}[a]", "a")]);
        if (type is not null)
            yield return ("empty", [new Field(name, "")]);
        if (type == "integer" || IsChoiceOf(schema, "integer"))
            yield return ("no integer", [new Field(name, "1.5")]);
        if (type == "boolean")
            yield return ("no boolean", [new Field(name, "yes")]);
        if (schema["enum"] is not null)
            yield return ("none of its words", [new Field(name, "nonsense")]);
        if (schema["minimum"] is { } least)
            yield return ("too small", [new Field(name, $"{(long)least - 1}")]);
        if (schema["maximum"] is { } most)
            yield return ("too large", [new Field(name, $"{(long)most + 1}")]);
        if (schema["maxLength"] is { } longest)
            yield return ("too long", [new Field(name, new string('x', (int)longest + 1))]);
        if (type is "integer" or "boolean" or "string")
        {
            var sent = Fields(name, schema, document).Single();
            yield return ("twice", [sent, sent with { Value = sent.Value + "1" }]);
        }
    }

    private string With(ApiOperation operation, string? without, params IEnumerable<Field> more) => Form(
        Least(operation).Where(field => without is null || field.Name.Split('[')[0] != without).Concat(more));

    public static string Form(IEnumerable<Field> fields) => string.Join('&', fields);

    private IEnumerable<Field> Fields(string name, JsonObject schema, ApiDocument document)
    {
        schema = document.Resolve(schema);
        if (schema["anyOf"] is JsonArray choice)
            return Fields(name, Pick(choice.Select(each => each!.AsObject())), document);
        if (schema["properties"] is JsonObject members)
        {
            var required = schema["required"]!.AsArray().Select(member => (string)member!).ToHashSet();
            return members.Where(member => required.Contains(member.Key) || choices.Next(2) == 0).SelectMany(
                member => Fields($"{name}[{member.Key}]", member.Value!.AsObject(), document));
        }

        if (schema["items"] is JsonObject items)
            return Enumerable.Range(0, choices.Next(3)).SelectMany(
                number => Fields($"{name}[{number}]", items, document));
        return [new Field(name, Uri.EscapeDataString(Value(name, schema)))];
    }

    private string Value(string name, JsonObject schema)
    {
        if (schema["const"] is { } only)
            return (string)only!;
        if (schema["enum"] is JsonArray words)
            return (string)Pick(words)!;
        return (string?)schema["type"] switch
        {
            "boolean" => Pick(["true", "false"]),
            "integer" => $"{Pick(Within(schema))}",
            _ => Text(name, schema),
        };
    }

    private static List<long> Within(JsonObject schema)
    {
        var (least, most) = ((long?)schema["minimum"] ?? long.MinValue, (long?)schema["maximum"] ?? long.MaxValue);
        return [.. Numbers.Append(least).Append(most).Where(number => number >= least && number <= most)];
    }

    private string Text(string name, JsonObject schema)
    {
        var (least, most) = ((int?)schema["minLength"] ?? 1, (int?)schema["maxLength"] ?? Longest);
        string[] known = [.. Known(name), .. schema["examples"]?.AsArray().Select(example => (string)example!) ?? []];
        // What is there, or what the document gives as an example, as often as all others.
        var texts = choices.Next(2) == 0 && known.Length > 0 ? known
            : [.. Texts, new string('x', least), new string('x', most), .. known];
        return Pick(texts.Where(text => text.Length >= least && text.EnumerateRunes().Count() <= most
            && Regex.IsMatch(text, (string?)schema["pattern"] ?? "")));
    }

    private static bool IsChoiceOf(JsonObject schema, string type) =>
        schema["anyOf"]?.AsArray().Any(each => (string?)each!["type"] == type) is true;

    private T Pick<T>(IEnumerable<T> of)
    {
        var all = of.ToList();
        return all[choices.Next(all.Count)];
    }
}
