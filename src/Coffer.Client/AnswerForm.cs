using System.Text.Json;

namespace Coffer.Client;

/// <summary>
/// What an answer must be before anything rests on it. Any program may be at an address: an answer that is not what was
/// asked for is an error, and never a success.
/// </summary>
internal sealed class AnswerForm
{
    private readonly AnswerField[] fields;

    /// <param name="kind">What its field <c>object</c> says.</param>
    /// <param name="fields">The others that it must have.</param>
    public AnswerForm(string kind, params AnswerField[] fields) : this([AnswerField.Is("object", kind), .. fields])
    {
    }

    private AnswerForm(AnswerField[] fields) => this.fields = fields;

    /// <summary>Of an address that this client knows nothing of: a thing that says what it is.</summary>
    public static AnswerForm Any { get; } = new([AnswerField.Text("object")]);

    /// <summary>
    /// Whether a thing that says <c>"damaged": true</c> needs no more than what says which it is, and what was done.
    /// </summary>
    public bool MayBeDamaged { get; init; }

    /// <summary>The same with more fields.</summary>
    public AnswerForm With(params IEnumerable<AnswerField> more) =>
        new([.. fields, .. more]) { MayBeDamaged = MayBeDamaged };

    /// <exception cref="CofferException">The answer is another one.</exception>
    public void Check(JsonElement answer)
    {
        if (answer.ValueKind != JsonValueKind.Object)
            throw CofferException.NotCoffers("it is not an object");
        var isDamaged = MayBeDamaged && answer.TryGetProperty("damaged", out var damaged)
            && damaged.ValueKind == JsonValueKind.True;
        foreach (var field in fields.Where(field => !isDamaged || field.IsNeeded))
        {
            if (!field.IsIn(answer))
                throw CofferException.NotCoffers($"its {field.Name} is not {field.What}");
        }
    }
}

/// <summary>A field of an answer.</summary>
/// <param name="Name">Its name.</param>
/// <param name="What">What it must be, in words.</param>
/// <param name="Fits">Whether a value is that; undefined if there is none. The second one is the whole answer.</param>
internal sealed record AnswerField(string Name, string What, Func<JsonElement, JsonElement, bool> Fits)
{
    /// <summary>Whether a damaged thing has it too: it says which one it is, or what was done.</summary>
    public bool IsNeeded { get; private init; }

    /// <summary>The same, or null; not nothing.</summary>
    public AnswerField OrNull() => this with
    {
        What = $"{What} or null",
        Fits = (value, answer) => value.ValueKind == JsonValueKind.Null || Fits(value, answer),
    };

    /// <summary>Whether an answer, which is a thing, has it.</summary>
    public bool IsIn(JsonElement answer) =>
        Fits(answer.TryGetProperty(Name, out var value) ? value : default, answer);

    public static AnswerField Text(string name) =>
        new(name, "a text", (value, _) => value.ValueKind == JsonValueKind.String);

    /// <summary>A text that is not empty: a key, say, or what marks the next page.</summary>
    public static AnswerField Token(string name) => new(name, "a text that says something",
        (value, _) => value.ValueKind == JsonValueKind.String && !value.ValueEquals(""))
    { IsNeeded = true };

    public static AnswerField Number(string name) =>
        new(name, "a whole number", (value, _) => IsNumber(value));

    public static AnswerField Flag(string name) =>
        new(name, "true or false", (value, _) => value.ValueKind is JsonValueKind.True or JsonValueKind.False);

    public static AnswerField True(string name) =>
        new(name, "true", (value, _) => value.ValueKind == JsonValueKind.True) { IsNeeded = true };

    public static AnswerField Texts(string name) => new(name, "a list of texts",
        (value, _) => value.ValueKind == JsonValueKind.Array
            && value.EnumerateArray().All(element => element.ValueKind == JsonValueKind.String));

    public static AnswerField OneOf(string name, params string[] words) => new(name, string.Join(" or ", words),
        (value, _) => value.ValueKind == JsonValueKind.String && words.Any(word => value.ValueEquals(word)));

    /// <summary>A thing that has fields of its own.</summary>
    public static AnswerField Thing(string name, params AnswerField[] fields) => new(name,
        $"a thing with {string.Join(", ", fields.Select(field => field.Name))}", (value, _) => IsThing(value, fields));

    /// <summary>A list of such things.</summary>
    public static AnswerField Things(string name, params AnswerField[] fields) => new(name, "a list of things",
        (value, _) => value.ValueKind == JsonValueKind.Array
            && value.EnumerateArray().All(thing => IsThing(thing, fields)));

    /// <summary>What it must say: which thing was asked for.</summary>
    public static AnswerField Is(string name, string text) => new(name, $"'{text}'",
        (value, _) => value.ValueKind == JsonValueKind.String && value.ValueEquals(text))
    { IsNeeded = true };

    /// <summary>The number that was sent, or null as that was.</summary>
    public static AnswerField Is(string name, long? number) => new(name, number is null ? "null" : $"{number}",
        (value, _) => number is { } wanted
            ? IsNumber(value) && value.GetInt64() == wanted
            : value.ValueKind == JsonValueKind.Null);

    private static bool IsNumber(JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out _);

    private static bool IsThing(JsonElement value, AnswerField[] fields) =>
        value.ValueKind == JsonValueKind.Object && fields.All(field => field.IsIn(value));
}
