using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Json.Schema;

namespace Coffer.Tests.Support;

/// <summary>
/// Holds the answers of all servers of the tests to openapi/: what sends requests here hands each answer in. A document
/// may leave open what objects have; here they have what it says and nothing else, so that nothing is left out of it.
/// </summary>
internal static class AnswerCheck
{
    private const string Dialect = "https://json-schema.org/draft/2020-12/schema";

    private static readonly ConcurrentDictionary<(string Operation, string Status), Lazy<JsonSchema>> Schemas = [];
    private static readonly ConcurrentDictionary<(string Operation, int Status, int Shape), bool> Shapes = [];

    /// <summary>Fails unless the answer is one that the documents have.</summary>
    /// <param name="method">The request's method.</param>
    /// <param name="target">Its target: path and query, also after an authority.</param>
    /// <param name="status">The answer's status.</param>
    /// <param name="text">Its body.</param>
    /// <param name="header">Finds a header; null leaves headers out.</param>
    public static void Require(string method, string target, int status, string text,
        Func<string, string?>? header = null)
    {
        var path = PathOf(target);
        var operation = ApiDocument.Find(method, path);
        if (operation is null && !IsOfApi(path))
            return;
        // What the HTTP server refuses before Coffer sees it has no body; neither has a preflight, nor what HEAD asks.
        if (text.Length == 0 && (method is "OPTIONS" or "HEAD" || status is 400 or 408 or 414 or 431 or 503))
            return;

        var where = $"{method} {path}: {status}\n{text}\n";
        // Health is not on the public address if there is another one.
        if (operation?.Answer(status) is null && status == 404)
            operation = null;
        else
            Assert.True(operation is not null, $"no document has the route, and it is answered: {where}");
        var known = operation ?? ApiDocument.Api.Operations[0]; // each operation has the same errors
        var answer = known.Answer(status);
        Assert.True(answer is not null, $"{known.Document} does not have this answer: {where}");
        var content = answer["content"]!.AsObject().Single();
        if (header is not null)
            RequireHeaders(known.Document, answer, content.Key, header, where);
        if (content.Key != "application/json")
            return;
        // What an idempotency key has kept there is answered as it was, by an earlier release too.
        if (known.Document == ApiDocument.Admin && header?.Invoke("Idempotent-Replayed") == "true")
            return;

        var schema = Schemas.GetOrAdd((known.Document + known.ToString(), IsNamed(known, status) ? $"{status}" : ""),
            _ => new Lazy<JsonSchema>(() => Closed(known.Document, content.Value!["schema"]!))).Value;
        using var json = JsonDocument.Parse(text);
        var result = schema.Evaluate(json.RootElement, new EvaluationOptions { OutputFormat = OutputFormat.Flag });
        Assert.True(result.IsValid, result.IsValid ? "" : $"{known.Document} says otherwise: {where}"
            + Why(schema, json.RootElement));
    }

    /// <summary>
    /// The same, for very many answers: of those that have the same fields, of the same types, the first.
    /// </summary>
    public static void RequireOnce(string method, string target, int status, string text)
    {
        var operation = ApiDocument.Find(method, PathOf(target))?.ToString() ?? "";
        if (Shapes.TryAdd((operation, status, ShapeOf(text)), true))
            Require(method, target, status, text);
    }

    /// <summary>A schema that a document has, closed: objects have no other members than it names.</summary>
    public static JsonSchema Closed(ApiDocument document, JsonNode schema)
    {
        var definitions = new JsonObject();
        foreach (var (name, definition) in document.Schemas)
            definitions.Add(name, Close(definition!.DeepClone()));
        var whole = new JsonObject
        {
            ["$schema"] = Dialect,
            ["$defs"] = definitions,
            ["allOf"] = new JsonArray(Close(schema.DeepClone())),
        };
        return JsonSchema.FromText(whole.ToJsonString());
    }

    private static JsonNode Close(JsonNode node)
    {
        if (node is JsonArray array)
        {
            foreach (var each in array)
                _ = each is null ? null : Close(each);
        }
        else if (node is JsonObject json)
        {
            foreach (var (_, value) in json.ToList())
                _ = value is null ? null : Close(value);
            if (json["properties"] is JsonObject && !json.ContainsKey("additionalProperties"))
                json["additionalProperties"] = false;
            if (json["x-extensible-enum"] is JsonArray words)
                json["enum"] = words.DeepClone();
            if (json["$ref"] is JsonValue reference)
                json["$ref"] = ((string)reference!).Replace(
                    "#/components/schemas/", "#/$defs/", StringComparison.Ordinal);
            json.Remove("examples");
        }

        return node;
    }

    private static void RequireHeaders(ApiDocument document, JsonObject answer, string type,
        Func<string, string?> header, string where)
    {
        Assert.True(header("Content-Type")?.StartsWith(type, StringComparison.Ordinal), $"not {type}: {where}");
        foreach (var (name, value) in answer["headers"]?.AsObject() ?? [])
        {
            var known = document.Resolve(value!);
            var sent = header(name);
            Assert.True(sent is not null || (bool?)known["required"] is not true, $"without {name}: {where}");
            if (sent is not null && (string?)known["schema"]!["pattern"] is { } pattern)
                Assert.Matches(pattern, sent);
            if (sent is not null && (string?)known["schema"]!["type"] == "integer")
                Assert.True(long.Parse(sent) >= (long)known["schema"]!["minimum"]!, $"{name}: {sent}: {where}");
        }
    }

    private static string Why(JsonSchema schema, JsonElement json)
    {
        var results = schema.Evaluate(json, new EvaluationOptions { OutputFormat = OutputFormat.List });
        return string.Join('\n', (results.Details ?? []).Where(each => each.Errors is not null).Select(
            each => $"{each.InstanceLocation}: {string.Join("; ", each.Errors!.Values)}"));
    }

    private static bool IsNamed(ApiOperation operation, int status) =>
        operation.Json["responses"]!.AsObject().ContainsKey($"{status}");

    private static bool IsOfApi(string path) =>
        path.StartsWith("/v1/", StringComparison.Ordinal) || path.StartsWith("/admin/v1/", StringComparison.Ordinal);

    // As the pipeline reads a target.
    private static string PathOf(string target)
    {
        var path = target.Split('?', '#')[0];
        if (path.IndexOf("://", StringComparison.Ordinal) is var scheme and > 0)
            path = path.IndexOf('/', scheme + 3) is var slash and > 0 ? path[slash..] : "/";
        return path.StartsWith("//v1/", StringComparison.Ordinal) ? path[1..] : path;
    }

    // The names and types of a body, and nothing of what it says.
    private static int ShapeOf(string text)
    {
        var shape = new HashCode();
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(text));
        while (text.Length > 0 && reader.Read())
        {
            shape.Add(reader.TokenType);
            if (reader.TokenType == JsonTokenType.PropertyName)
                shape.AddBytes(reader.ValueSpan);
        }

        return shape.ToHashCode();
    }
}
