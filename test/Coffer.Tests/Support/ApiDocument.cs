using System.Text.Json.Nodes;

namespace Coffer.Tests.Support;

/// <summary>A document of openapi/.</summary>
internal sealed class ApiDocument
{
    private static readonly string[] Methods = ["get", "post", "delete", "put", "patch"];

    private readonly ILookup<string, ApiOperation> byMethod;

    private ApiDocument(string file)
    {
        File = file;
        Text = System.IO.File.ReadAllText(Repository.File(file));
        Root = JsonNode.Parse(Text)!.AsObject();
        Operations = [.. Root["paths"]!.AsObject().SelectMany(path => path.Value!.AsObject()
            .Where(method => Methods.Contains(method.Key)).Select(method => new ApiOperation(
                this, method.Key.ToUpperInvariant(), path.Key, path.Value!.AsObject(), method.Value!.AsObject())))];
        byMethod = Operations.ToLookup(operation => operation.Method);
    }

    /// <summary>What clients of Stripe see.</summary>
    public static ApiDocument Api { get; } = new("openapi/v1.json");

    /// <summary>The management plane and health.</summary>
    public static ApiDocument Admin { get; } = new("openapi/admin.json");

    /// <summary>Stripe's own, as far as it is recorded.</summary>
    public static ApiDocument Stripe { get; } = new("test/fixtures/stripe-openapi.json");

    public static IEnumerable<ApiDocument> Own => [Api, Admin];

    public string File { get; }

    public string Text { get; }

    public JsonObject Root { get; }

    public IReadOnlyList<ApiOperation> Operations { get; }

    public JsonObject Schemas => Root["components"]!["schemas"]!.AsObject();

    /// <summary>The operation that answers a request of one of the own documents, or null.</summary>
    public static ApiOperation? Find(string method, string path)
    {
        var segments = path.Split('/');
        return Own.SelectMany(document => document.byMethod[method]).FirstOrDefault(
            operation => operation.Matches(segments));
    }

    /// <summary>What a reference refers to, and anything else as it is.</summary>
    public JsonObject Resolve(JsonNode node)
    {
        var found = node;
        while (found["$ref"] is { } reference)
            found = ((string)reference!).Split('/').Skip(1).Aggregate((JsonNode)Root, (at, step) => at[step]!);
        return found.AsObject();
    }

    public override string ToString() => File;
}

/// <summary>An operation of a document.</summary>
internal sealed record ApiOperation(
    ApiDocument Document, string Method, string Path, JsonObject PathItem, JsonObject Json)
{
    private readonly string[] segments = Path.Split('/');

    /// <summary>What it takes: of the path, the query, the headers (each where it says), and the form.</summary>
    public IEnumerable<ApiParameter> Parameters => [.. Declared(PathItem), .. Declared(Json), .. Form()];

    /// <summary>The parameters of query or form, which are one bag.</summary>
    public IEnumerable<ApiParameter> Bag => Parameters.Where(parameter => parameter.In is "query" or "form");

    /// <summary>What a status is answered with, or null.</summary>
    public JsonObject? Answer(int status)
    {
        var answers = Json["responses"]!;
        return (answers[$"{status}"] ?? answers["default"]) is { } found ? Document.Resolve(found) : null;
    }

    /// <summary>Whether it answers a path of these segments.</summary>
    public bool Matches(string[] sent) => sent.Length == segments.Length && segments.Zip(sent).All(
        pair => pair.First == pair.Second || (pair.First.StartsWith('{') && pair.Second.Length > 0));

    public override string ToString() => $"{Method} {Path}";

    private IEnumerable<ApiParameter> Declared(JsonObject place) =>
        (place["parameters"]?.AsArray() ?? []).Select(each => Document.Resolve(each!)).Select(
            each => new ApiParameter((string)each["name"]!, (string)each["in"]!, (bool?)each["required"] ?? false,
                Document.Resolve(each["schema"]!)));

    private IEnumerable<ApiParameter> Form()
    {
        if (Json["requestBody"]?["content"]?["application/x-www-form-urlencoded"]?["schema"] is not { } schema)
            return [];
        var required = schema["required"]?.AsArray().Select(name => (string)name!).ToHashSet() ?? [];
        return schema["properties"]!.AsObject().Select(property => new ApiParameter(
            property.Key, "form", required.Contains(property.Key), Document.Resolve(property.Value!)));
    }
}

/// <summary>A parameter of an operation.</summary>
/// <param name="Name">Its name.</param>
/// <param name="In">path, query, header or form.</param>
/// <param name="IsRequired">Whether a request needs it.</param>
/// <param name="Schema">What it may be.</param>
internal sealed record ApiParameter(string Name, string In, bool IsRequired, JsonObject Schema);
