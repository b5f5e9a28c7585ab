using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Json.Schema;
using Microsoft.OpenApi;

namespace Coffer.Tests.OpenApi;

/// <summary>The documents as such: valid, whole, and with examples that are.</summary>
public sealed partial class DocumentsTests
{
    public static TheoryData<string> Files() => [.. ApiDocument.Own.Select(document => document.File)];

    [Theory]
    [MemberData(nameof(Files))]
    public void A_document_is_valid_OpenAPI(string file)
    {
        var (document, diagnostic) = OpenApiDocument.Parse(Of(file).Text, "json");
        Assert.Empty(diagnostic!.Errors.Concat(diagnostic.Warnings).Select(
            each => $"{each.Pointer}: {each.Message}"));
        Assert.Equal(OpenApiSpecVersion.OpenApi3_1, diagnostic.SpecificationVersion);
        Assert.Equal(Of(file).Operations.Count, document!.Paths.Sum(path => path.Value.Operations!.Count));
    }

    [Fact]
    public void A_document_that_is_not_valid_is_found()
    {
        var broken = ApiDocument.Api.Text.Replace("\"title\": \"Coffer\",", "", StringComparison.Ordinal);
        var (_, diagnostic) = OpenApiDocument.Parse(broken, "json");
        Assert.NotEmpty(diagnostic!.Errors);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_reference_leads_somewhere_and_every_component_is_used(string file)
    {
        var document = Of(file);
        var used = Reference().Matches(document.Text).Select(match => match.Groups["at"].Value).ToHashSet();
        var there = document.Root["components"]!.AsObject().Where(kind => kind.Key != "securitySchemes").SelectMany(
            kind => kind.Value!.AsObject().Select(each => $"{kind.Key}/{each.Key}")).ToHashSet();
        Assert.Equal(there.Order(), used.Order());
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_operation_has_a_name_a_summary_and_a_tag_of_the_document(string file)
    {
        var document = Of(file);
        var tags = document.Root["tags"]!.AsArray().Select(tag => (string)tag!["name"]!).ToList();
        Assert.All(document.Operations, operation =>
        {
            Assert.Contains((string?)Assert.Single(operation.Json["tags"]!.AsArray()), tags);
            Assert.False(string.IsNullOrEmpty((string?)operation.Json["summary"]), $"{operation}");
        });
        Assert.All(tags, tag => Assert.Contains(
            document.Operations, operation => (string?)operation.Json["tags"]![0] == tag));
        var names = document.Operations.Select(operation => (string)operation.Json["operationId"]!).ToList();
        Assert.Equal(names.Distinct(), names);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_member_and_parameter_is_described(string file)
    {
        var bare = new List<string>();
        Walk(Of(file).Root, "", (json, at) =>
        {
            foreach (var (name, value) in json["properties"]?.AsObject() ?? [])
            {
                if (value!["description"] is null && value["$ref"] is null && value["const"] is null
                    && !Words.Contains(name))
                    bare.Add($"{at}.{name}");
            }
        });
        Assert.Empty(bare);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_example_is_what_its_schema_says(string file)
    {
        var document = Of(file);
        var count = 0;
        Walk(document.Root, "", (json, at) =>
        {
            foreach (var example in json["examples"]?.AsArray() ?? [])
            {
                count++;
                using var value = JsonDocument.Parse(example!.ToJsonString());
                Assert.True(AnswerCheck.Closed(document, json).Evaluate(value.RootElement).IsValid, $"{at}: {example}");
            }
        });
        Assert.InRange(count, 6, 100);
    }

    /// <summary>What every code of an error means stands on the page of errors.</summary>
    [Theory]
    [MemberData(nameof(Files))]
    public void Every_code_is_explained(string file)
    {
        var page = File.ReadAllText(Repository.File("src/Coffer/Api/errors.html"));
        var codes = Of(file).Schemas["api_errors"]!["properties"]!["code"]!["x-extensible-enum"]!.AsArray();
        Assert.All(codes, code => Assert.Contains(
            $"id=\"{((string)code!).Replace('_', '-')}\"", page, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("a field that the document does not have", """{"signature": "t=1,v1=SIGN", "more": 1}""")]
    [InlineData("a field that is missing", "{}")]
    [InlineData("another type", """{"signature": 7}""")]
    [InlineData("another form", """{"signature": "t=1"}""")]
    public void An_answer_that_is_not_so_is_found(string fault, string text)
    {
        var route = "/v1/apps/app_embedded_backend_signature";
        var sound = $$"""{"signature": "t=1,v1={{new string('0', 64)}}"}""";
        AnswerCheck.Require("GET", route, 200, sound);
        Assert.True(Fails(() => AnswerCheck.Require("GET", route, 200, text)), fault);
        // Of those that look alike only the first is compared.
        if (fault != "another form")
            Assert.True(Fails(() => AnswerCheck.RequireOnce("GET", route, 200, text)), fault);
    }

    [Theory]
    [InlineData("GET", "/v1/apps/secrets/other", 200, "{}")]
    [InlineData("PUT", "http://localhost:1/v1/apps/secrets?a=b", 403,
        """{"error": {"message": "m", "type": "invalid_request_error"}}""")]
    [InlineData("GET", "/admin/v1/apps", 400,
        """{"error": {"code": "new_code", "message": "m", "type": "invalid_request_error"}}""")]
    [InlineData("GET", "/admin/v1/apps", 500, "")]
    [InlineData("GET", "/healthz", 503, """{"status": "ok"}""")]
    public void An_answer_that_no_document_has_is_found(string method, string target, int status, string text) =>
        Assert.True(Fails(() => AnswerCheck.Require(method, target, status, text)), target);

    [Fact]
    public void A_header_that_is_missing_or_not_so_is_found()
    {
        const string Text = """{"error": {"message": "m", "type": "invalid_request_error"}}""";
        Require("req_0123456789abcd", "application/json");
        Assert.True(Fails(() => Require(null, "application/json")));
        Assert.True(Fails(() => Require("0123456789abcd", "application/json")));
        Assert.True(Fails(() => Require("req_0123456789abcd", "text/html")));

        static void Require(string? request, string type) => AnswerCheck.Require("GET", "/v1/apps/secrets", 400, Text,
            name => new Dictionary<string, string?> { ["Request-Id"] = request, ["Content-Type"] = type }
                .GetValueOrDefault(name));
    }

    // What these are is plain from the object that has them.
    private static readonly string[] Words =
        ["data", "settings", "live", "test", "x", "y", "mode", "scope", "type", "user", "name", "version", "state",
            "status", "receipt_status", "connections", "statements"];

    private static ApiDocument Of(string file) => ApiDocument.Own.Single(document => document.File == file);

    private static bool Fails(Action act)
    {
        try
        {
            act();
            return false;
        }
        catch (Exception e) when (e is Xunit.Sdk.IAssertionException or JsonException)
        {
            return true;
        }
    }

    private static void Walk(JsonNode? node, string at, Action<JsonObject, string> visit)
    {
        if (node is JsonObject json)
        {
            visit(json, at);
            foreach (var (name, value) in json.Where(each => each.Key is not "examples"))
                Walk(value, $"{at}/{name}", visit);
        }
        else if (node is JsonArray array)
        {
            foreach (var (number, value) in array.Index())
                Walk(value, $"{at}/{number}", visit);
        }
    }

    [GeneratedRegex("\"\\$ref\": \"#/components/(?<at>[^\"]+)\"", RegexOptions.ExplicitCapture)]
    private static partial Regex Reference();
}
