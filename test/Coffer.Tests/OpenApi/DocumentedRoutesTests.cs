using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Coffer.Access;
using Coffer.Api;
using Coffer.Http;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Tests.Access;

namespace Coffer.Tests.OpenApi;

/// <summary>
/// The documents have every route and every parameter that the program knows, and none besides. What to add for a new
/// route is in CONTRIBUTING.md, "How to add a route".
/// </summary>
public sealed partial class DocumentedRoutesTests
{
    // For people, or the documents themselves.
    private static readonly string[] Pages =
        [DocsApi.Errors, DocsApi.Pages, DocsApi.Document, DocsApi.AdminPages, DocsApi.AdminDocument];

    /// <summary>POSTs whose answers no idempotency key keeps, as they are reads (docs/management.md).</summary>
    private static readonly string[] NotKept = ["/export", "/reveal"];

    public static TheoryData<string> Routes() => [.. KnownRoutes.All.Select(route => $"{route.Method} {route.Path}")];

    [Fact]
    public void The_documents_have_every_route_and_no_other()
    {
        foreach (var (document, prefix) in ((ApiDocument, string)[])[
            (ApiDocument.Api, "/v1/"), (ApiDocument.Admin, "/admin/v1/")])
            Assert.Equal(KnownRoutes.All.Where(route => route.Path.StartsWith(prefix, StringComparison.Ordinal)).Select(
                route => $"{route.Method} {route.Path}").Order(), Operations(document).Except(Open()).Order());
        Assert.Equal(Open().Order(), ApiDocument.Own.SelectMany(Operations).Intersect(Open()).Order());

        static IEnumerable<string> Operations(ApiDocument document) =>
            document.Operations.Select(operation => operation.ToString());

        static IEnumerable<string> Open() => AuthorizationTable.Open.Except(Pages).Select(path => $"GET {path}");
    }

    [Theory]
    [MemberData(nameof(Routes))]
    public void An_operation_has_every_parameter_of_its_route_and_no_other(string name)
    {
        var (route, operation) = Find(name);
        Assert.Equal(KnownRoutes.Accepted(route).Order(), operation.Bag.Select(parameter => parameter.Name).Order());
        Assert.All(operation.Bag, parameter => Assert.Equal(
            route.Method == "POST" ? "form" : "query", parameter.In));

        var ids = Id().Matches(route.Path).Select(id => id.Groups["name"].Value);
        var inPath = operation.Parameters.Where(parameter => parameter.In == "path").ToList();
        Assert.Equal(ids.Order(), inPath.Select(parameter => parameter.Name).Order());
        Assert.All(inPath, parameter => Assert.True(parameter.IsRequired));

        var headers = operation.Parameters.Where(parameter => parameter.In == "header")
            .Select(parameter => parameter.Name).ToList();
        var isKept = route.Method == "POST" && !NotKept.Any(end => route.Path.EndsWith(end, StringComparison.Ordinal));
        Assert.Equal(isKept, headers.Contains("Idempotency-Key"));
        Assert.Equal(operation.Document == ApiDocument.Api, headers.Contains("Stripe-Account"));
    }

    [Theory]
    [MemberData(nameof(Routes))]
    public void An_operation_of_the_management_plane_names_the_role_of_its_act(string name)
    {
        var (route, operation) = Find(name);
        Assert.Equal(route.Act?.Least.Word(), (string?)operation.Json["x-coffer-role"]);
    }

    [Fact]
    public void An_object_that_is_sent_has_the_members_that_are_read()
    {
        foreach (var operation in ApiDocument.Api.Operations)
        {
            foreach (var sent in operation.Bag.Where(parameter => parameter.Schema.ContainsKey("properties")))
            {
                Assert.Equal("scope", sent.Name); // the only one; SecretsApi.ReadScope reads it
                Assert.Equal(["type", "user"], sent.Schema["properties"]!.AsObject().Select(member => member.Key));
            }
        }
    }

    [Fact]
    public void The_settings_that_can_be_changed_are_those_of_the_store() =>
        Assert.Equal(StoreSettings.All.Select(setting => setting.Name).Order(),
            Parameter("POST /admin/v1/settings", "name")["enum"]!.AsArray().Select(name => (string)name!).Order());

    [Theory]
    [InlineData("POST /v1/apps/secrets", "name", "maxLength", SecretName.LongestName)]
    [InlineData("POST /v1/apps/secrets", "payload", "maxLength", Secret.LongestPayload)]
    [InlineData("POST /v1/ephemeral_keys", "user", "maxLength", EphemeralKey.LongestUser)]
    [InlineData("POST /v1/ephemeral_keys", "expires_in", "minimum", EphemeralKey.ShortestLife)]
    [InlineData("POST /v1/ephemeral_keys", "expires_in", "maximum", EphemeralKey.LongestLife)]
    [InlineData("POST /v1/ephemeral_keys", "expires_in", "default", EphemeralKey.UsualLife)]
    [InlineData("GET /v1/apps/app_embedded_backend_signature", "payload", "maxLength", Signatures.LongestPayload)]
    [InlineData("POST /admin/v1/apps", "name", "maxLength", App.LongestName)]
    [InlineData("POST /admin/v1/api_keys", "addresses", "maxItems", ApiKey.MostAddresses)]
    [InlineData("POST /admin/v1/api_keys", "apps", "maxItems", ApiKey.MostApps)]
    [InlineData("POST /admin/v1/webhook_endpoints", "url", "maxLength", WebhookEndpoint.LongestUrl)]
    [InlineData("POST /admin/v1/webhook_endpoints", "api_version", "maxLength", WebhookEndpoint.LongestVersion)]
    [InlineData("POST /admin/v1/api_keys/{key}/roll", "grace_period", "maximum", ManagementWire.LongestGrace)]
    [InlineData("POST /admin/v1/apps/{app}/accounts/{account}/export", "reason", "maxLength", Accounts.LongestReason)]
    public void A_limit_is_that_of_the_program(string operation, string name, string limit, int value) =>
        Assert.Equal(value, (int)Parameter(operation, name)[limit]!);

    private static JsonObject Parameter(string operation, string name) =>
        Find(operation).Operation.Bag.Single(parameter => parameter.Name == name).Schema;

    private static (ApiRoute Route, ApiOperation Operation) Find(string name) =>
        (KnownRoutes.All.Single(route => $"{route.Method} {route.Path}" == name),
            ApiDocument.Own.SelectMany(document => document.Operations).Single(each => each.ToString() == name));

    [GeneratedRegex(@"\{(?<name>\w+)\}", RegexOptions.ExplicitCapture)]
    private static partial Regex Id();
}
