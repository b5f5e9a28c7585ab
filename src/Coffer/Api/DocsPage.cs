using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using static Coffer.Api.DocsSchema;
using static Coffer.Api.DocsText;

namespace Coffer.Api;

/// <summary>What examples of requests say in place of an address and a key.</summary>
/// <param name="Url">The variable with the address.</param>
/// <param name="Key">The variable with the key.</param>
internal sealed record Curl(string Url, string Key);

/// <summary>A page of an OpenAPI document, for people: operations by their tags, then what they answer with.</summary>
internal sealed class DocsPage
{
    private static readonly string[] Methods = ["get", "post", "delete", "put", "patch"];

    private static readonly JsonWriterOptions Indented = new()
    {
        Indented = true,
        NewLine = "\n",
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // it is encoded as HTML afterwards
    };

    private readonly JsonElement root;
    private readonly Curl curl;
    private readonly DocsSchema schemas;
    private readonly List<Operation> operations;
    private readonly StringBuilder html = new();

    public DocsPage(JsonElement root, Curl curl)
    {
        (this.root, this.curl, schemas) = (root, curl, new DocsSchema(root));
        operations = [.. root.GetProperty("paths").EnumerateObject().SelectMany(
            path => path.Value.EnumerateObject().Where(method => Methods.Contains(method.Name)).Select(
                method => new Operation(method.Name.ToUpperInvariant(), path.Name, path.Value, method.Value)))];
    }

    /// <param name="style">Its style sheet.</param>
    /// <param name="address">Where the document itself is.</param>
    public string Render(string style, string address)
    {
        var info = root.GetProperty("info");
        var title = Escaped(Text(info, "title")!);
        html.Append($"""
            <!doctype html>
            <html lang="en">
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{title}: the API</title>
            <style>{style}</style>
            <body class="wide">
            <a class="skip" href="#main">Skip to the content</a>
            <nav class="pages" aria-label="Pages"><a href="{DocsApi.Errors}">Errors</a>
            <a href="{address}">As OpenAPI</a></nav>

            """);
        WriteContents();
        html.Append($"<main id=\"main\">\n<h1>{title}</h1>\n<p>{Inline(Text(info, "summary")!)}</p>\n");
        html.Append(Blocks(Text(info, "description")!));
        foreach (var tag in Items(root, "tags"))
            WriteTag(tag);
        html.Append("<h2 id=\"objects\">Objects</h2>\n");
        foreach (var schema in root.GetProperty("components").GetProperty("schemas").EnumerateObject())
            WriteSchema(schema.Name, schema.Value);
        return html.Append("</main>\n</html>\n").ToString();
    }

    private void WriteContents()
    {
        html.Append("<nav class=\"contents\" aria-label=\"Contents\">\n");
        foreach (var tag in Items(root, "tags"))
        {
            html.Append($"<h2><a href=\"#{Anchor(tag)}\">{Escaped(Text(tag, "name")!)}</a></h2>\n<ul>\n");
            foreach (var operation in Of(tag))
                html.Append($"<li><a href=\"#{operation.Id}\">{Escaped(operation.Summary)}</a></li>\n");
            html.Append("</ul>\n");
        }

        html.Append("<h2><a href=\"#objects\">Objects</a></h2>\n</nav>\n");
    }

    private void WriteTag(JsonElement tag)
    {
        html.Append($"<h2 id=\"{Anchor(tag)}\">{Escaped(Text(tag, "name")!)}</h2>\n");
        html.Append(Blocks(Text(tag, "description")!));
        foreach (var operation in Of(tag))
            WriteOperation(operation);
    }

    private void WriteOperation(Operation operation)
    {
        html.Append($"<h3 id=\"{operation.Id}\">{Escaped(operation.Summary)}</h3>\n<p class=\"route\"><code>");
        html.Append($"<b>{operation.Method}</b> {Escaped(operation.Path)}</code></p>\n");
        if (Text(operation.Json, "description") is { } description)
            html.Append(Blocks(description));
        if (Text(operation.Json, "x-coffer-role") is { } role)
            html.Append($"<p>Needs the role {Code(role)}.</p>\n");

        var parameters = Parameters(operation).ToList();
        html.Append($"<pre><code>{Escaped(Command(operation, parameters))}</code></pre>\n");
        if (parameters.Count > 0)
            html.Append("<h4>Parameters</h4>\n");
        WriteList(parameters, isMarked: true);

        html.Append("<h4>Answer</h4>\n");
        foreach (var answer in operation.Json.GetProperty("responses").EnumerateObject().Where(
            answer => answer.Name != "default"))
            WriteAnswer(answer.Name, schemas.Resolve(answer.Value));
    }

    private void WriteAnswer(string status, JsonElement answer)
    {
        var (type, content) = answer.GetProperty("content").EnumerateObject().Select(
            each => (each.Name, each.Value.GetProperty("schema"))).First();
        var fields = Fields(content).ToList();
        var kind = fields.Count > 0 ? Code(type) : $"{Code(type)}, {schemas.Kind(content)}";
        html.Append($"<p>{Code(status)}: {Inline(Text(answer, "description")!)} ({kind})</p>\n");
        WriteFields(fields);
        WriteList(Members(answer, "headers").Select(header => (header.Name, schemas.Resolve(header.Value))).Select(
            header => ("header, ", new Member(header.Name, header.Item2, false))));
    }

    private void WriteSchema(string name, JsonElement schema)
    {
        html.Append($"<h3 id=\"schema-{name}\">{Code(name)}</h3>\n");
        if (Text(schema, "description") is { } description)
            html.Append(Blocks(description));
        WriteFields([.. Fields(schema)]);
        foreach (var example in Items(schema, "examples"))
            html.Append($"<pre><code>{Escaped(Json(example))}</code></pre>\n");
    }

    private void WriteFields(IEnumerable<Member> fields) => WriteList(fields.Select(field => ("", field)));

    private void WriteList(IEnumerable<(string Place, Member Member)> members, bool isMarked = false)
    {
        var all = members.ToList();
        if (all.Count == 0)
            return;
        html.Append("<dl>\n");
        foreach (var (place, member) in all)
            WriteMember(member, place, isMarked);
        html.Append("</dl>\n");
    }

    // A parameter or header describes itself, and its value apart from that.
    private void WriteMember(Member member, string place, bool isMarked)
    {
        var value = member.Schema.TryGetProperty("schema", out var inner) ? inner : member.Schema;
        html.Append($"<div><dt>{Code(member.Name)} <span>{place}{schemas.Kind(value)}</span>");
        if (isMarked && member.IsRequired)
            html.Append(" <span class=\"required\">required</span>");
        var description = Text(member.Schema, "description") ?? Text(value, "description") ?? "";
        html.Append($"</dt><dd>{Inline(description)}</dd></div>\n");
    }

    // What a request sends, each with where: in the path, in a header, or, as is usual, in the query or the form.
    private IEnumerable<(string Place, Member Member)> Parameters(Operation operation)
    {
        foreach (var parameter in Items(operation.PathItem, "parameters").Concat(Items(operation.Json, "parameters"))
            .Select(schemas.Resolve))
        {
            var (name, place) = (Text(parameter, "name")!, Text(parameter, "in")!);
            var isRequired = parameter.TryGetProperty("required", out var required) && required.GetBoolean();
            var whole = new Member(name, parameter, isRequired);
            foreach (var sent in place == "query" ? Spread(whole) : [whole])
                yield return (place == "query" ? "" : $"{place}, ", sent);
        }

        if (!operation.Json.TryGetProperty("requestBody", out var body))
            yield break;
        foreach (var media in body.GetProperty("content").EnumerateObject())
        {
            foreach (var field in Own(media.Value.GetProperty("schema")).SelectMany(schemas.Sent))
                yield return ("", field);
        }
    }

    // Its own words are kept where what is inside has none.
    private List<Member> Spread(Member parameter)
    {
        var sent = schemas.Sent(parameter with { Schema = parameter.Schema.GetProperty("schema") }).ToList();
        return sent.Count == 1 ? [parameter with { Name = sent[0].Name }] : sent;
    }

    private string Command(Operation operation, IEnumerable<(string Place, Member Member)> parameters)
    {
        var data = parameters.Where(parameter => parameter is { Place: "", Member.IsRequired: true }).Select(
            parameter => $" \\\n  -d \"{parameter.Member.Name}={Example(parameter.Member)}\"").ToList();
        var flag = (operation.Method, data.Count) switch
        {
            ("GET", > 0) => "-G ",
            ("GET", _) or ("POST", > 0) => "",
            _ => $"-X {operation.Method} ",
        };
        var isOpen = operation.Json.TryGetProperty("security", out var security) && security.GetArrayLength() == 0;
        var path = string.Join('/', operation.Path.Split('/').Select(
            step => step.StartsWith('{') ? $"${step[1..^1].ToUpperInvariant()}" : step));
        return $"curl {flag}\"${curl.Url}{path}\"{(isOpen ? "" : $" -u \"${curl.Key}:\"")}{string.Concat(data)}";
    }

    private string Example(Member parameter)
    {
        var schema = schemas.Resolve(parameter.Schema);
        if (schema.TryGetProperty("schema", out var inner))
            schema = schemas.Resolve(inner);
        foreach (var known in (string[])["examples", "enum"])
        {
            if (Items(schema, known).Select(each => (JsonElement?)each).FirstOrDefault() is { } example)
                return example.ToString();
        }

        return schema.TryGetProperty("minimum", out var least) ? least.GetRawText() : "…";
    }

    private static string Json(JsonElement example)
    {
        using var bytes = new MemoryStream();
        using (var writer = new Utf8JsonWriter(bytes, Indented))
            example.WriteTo(writer);
        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    private IEnumerable<Operation> Of(JsonElement tag) => operations.Where(
        operation => Items(operation.Json, "tags").Any(name => name.GetString() == Text(tag, "name")));

    private static string Anchor(JsonElement tag) =>
        "tag-" + Text(tag, "name")!.ToLowerInvariant().Replace(' ', '-');

    private sealed record Operation(string Method, string Path, JsonElement PathItem, JsonElement Json)
    {
        public string Id => Text(Json, "operationId")!;

        public string Summary => Text(Json, "summary")!;
    }
}
