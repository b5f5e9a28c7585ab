using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Coffer.Api;
using Coffer.Settings;

namespace Coffer.Tests.OpenApi;

/// <summary>The documents and their pages, as they are served.</summary>
public sealed partial class DocsPagesTests : ServerTests
{
    [Fact]
    public async Task The_documents_are_served_as_they_are_without_a_key()
    {
        foreach (var (path, document) in ((string, ApiDocument)[])[
            ("/openapi/v1.json", ApiDocument.Api), ("/openapi/admin.json", ApiDocument.Admin)])
        {
            var answer = (await GetAsync(path)).IsOk();
            Assert.Equal(document.Text, answer.Text);
            Assert.Equal("application/json", answer.Header("Content-Type"));
            Assert.Equal("nosniff", answer.Header("X-Content-Type-Options"));
            Assert.Equal(document == ApiDocument.Api ? "*" : null, answer.Header("Access-Control-Allow-Origin"));
        }

        Assert.Equal((string)ApiDocument.Api.Root["info"]!["version"]!,
            (await Server.Client().List()).Header("Stripe-Version"));
    }

    [Theory]
    [InlineData(DocsApi.Pages)]
    [InlineData(DocsApi.AdminPages)]
    [InlineData(DocsApi.Errors)]
    public async Task A_page_needs_no_script_and_allows_nothing_but_its_own_style(string path)
    {
        var page = (await GetAsync(path)).IsOk();
        Assert.Equal("text/html; charset=utf-8", page.Header("Content-Type"));
        var style = Assert.Single(Style().Matches(page.Text)).Groups["style"].Value;
        Assert.Equal("default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; style-src "
            + $"'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(style)))}'",
            page.Header("Content-Security-Policy"));
        Assert.DoesNotMatch("(?i)<script|<img|<link|<iframe|<form| style=| on[a-z]+=|javascript:", page.Text);
        Assert.Contains("<html lang=\"en\">", page.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(DocsApi.Pages)]
    [InlineData(DocsApi.AdminPages)]
    public async Task A_page_has_everything_that_its_document_has_and_every_link_leads_somewhere(string path)
    {
        var text = (await GetAsync(path)).Text;
        var document = path == DocsApi.Pages ? ApiDocument.Api : ApiDocument.Admin;
        var ids = Id().Matches(text).Select(id => id.Groups["id"].Value).ToList();
        Assert.Equal(ids.Distinct(), ids);
        foreach (var link in Link().Matches(text).Select(link => link.Groups["to"].Value).Distinct())
        {
            if (link.StartsWith('#'))
                Assert.Contains(link[1..], ids);
            else
                (await GetAsync(link)).IsOk();
        }

        Assert.All(document.Operations, operation =>
        {
            var section = Section(text, (string)operation.Json["operationId"]!);
            Assert.Contains($"<b>{operation.Method}</b> {operation.Path}</code>", section, StringComparison.Ordinal);
            Assert.All(operation.Parameters, parameter => Assert.Matches(
                $@"<dt><code>{Regex.Escape(parameter.Name)}(\[\w*\])?</code>", section));
        });
        Assert.All(document.Schemas, schema => Assert.All(
            schema.Value!["properties"]?.AsObject() ?? [], member => Assert.Contains(
                $"<dt><code>{member.Key}</code>", Section(text, $"schema-{schema.Key}"), StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_page_says_what_a_value_may_be_and_shows_a_request()
    {
        var text = (await GetAsync(DocsApi.Pages)).Text;
        Assert.Contains(
            "<dt><code>name</code> <span>string, 1 to 5,000 characters</span> <span class=\"required\">required</span>",
            Section(text, "PostAppsSecrets"), StringComparison.Ordinal);
        Assert.Contains("<code>scope[type]</code> <span>one of <code>account</code>, <code>user</code></span> <span "
            + "class=\"required\">required</span>", Section(text, "GetAppsSecretsFind"), StringComparison.Ordinal);
        Assert.Contains("integer, 60 to 86,400, <code>3600</code> if left out", Section(text, "PostEphemeralKeys"),
            StringComparison.Ordinal);
        Assert.Contains("""
            curl -G &quot;$COFFER_URL/v1/apps/secrets/find&quot; -u &quot;$COFFER_API_KEY:&quot; \
              -d &quot;name=my-api-key&quot; \
              -d &quot;scope[type]=account&quot;
            """, Section(text, "GetAppsSecretsFind"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Where_the_management_plane_has_an_address_of_its_own_its_document_is_there_alone()
    {
        using var directory = new TemporaryDirectory();
        await using var server = await Coffer.Hosting.Server.StartAsync(
            new CofferOptions
            {
                Data = directory.Path,
                Listen = "http://127.0.0.1:0",
                AdminListen = "http://127.0.0.1:0",
            }, new ManualTime(), default);
        using var http = new HttpClient();
        foreach (var (path, here, there) in ((string, int, int)[])[
            (DocsApi.Pages, 200, 200), (DocsApi.Errors, 200, 200), (DocsApi.Document, 200, 200),
            (DocsApi.AdminPages, 404, 200), (DocsApi.AdminDocument, 404, 200)])
        {
            Assert.Equal((path, here, there), (path, await AskAsync(server.Url), await AskAsync(server.AdminUrl!)));

            async Task<int> AskAsync(Uri url) => (int)(await http.GetAsync(new Uri(url, path))).StatusCode;
        }
    }

    private Task<Answer> GetAsync(string path) =>
        Server.SendAsync(new HttpRequestMessage(HttpMethod.Get, new Uri(path, UriKind.Relative)));

    // From one heading to the next of its kind.
    private static string Section(string page, string id)
    {
        var from = page.IndexOf($"<h3 id=\"{id}\"", StringComparison.Ordinal);
        Assert.True(from > 0, id);
        var to = page.IndexOf("<h3 ", from + 1, StringComparison.Ordinal);
        return to < 0 ? page[from..] : page[from..to];
    }

    [GeneratedRegex("<style>(?<style>.*?)</style>", RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex Style();

    [GeneratedRegex(" id=\"(?<id>[^\"]+)\"", RegexOptions.ExplicitCapture)]
    private static partial Regex Id();

    [GeneratedRegex(" href=\"(?<to>[^\"]+)\"", RegexOptions.ExplicitCapture)]
    private static partial Regex Link();
}
