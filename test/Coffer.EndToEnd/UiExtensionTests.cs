using System.Net.Http.Headers;
using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary>
/// A UI extension in a real browser, over HTTPS, with the origin <c>null</c> of a sandboxed frame: the official SDK
/// over <c>@stripe/ui-extension-sdk</c>, with an ephemeral key that the app's backend minted. What the page does stands
/// in sdk/ui-extension.mjs.
/// </summary>
public sealed class UiExtensionTests : IDisposable
{
    private const string Account = "acct_browser";
    private readonly TemporaryDirectory files = new();

    [Fact]
    public async Task A_page_reaches_its_own_user_and_the_account_and_nobody_else()
    {
        var (node, chromium, bundler) = (Needs.Node(), Needs.Chromium(), Needs.Bundler());
        using var data = new TemporaryDirectory();
        var pem = PemPair.Make(files);
        await using var coffer = await CofferProcess.ServeAsync(data, "--listen", "https://127.0.0.1:0", "--tls-cert",
            pem.Cert, "--tls-key", pem.Key);
        using var backend = Backend(coffer, pem);
        await PostAsync(backend, "v1/apps/secrets", ("scope[type]", "user"), ("scope[user]", "usr_1"),
            ("name", "token"), ("payload", "own secret"));
        await PostAsync(backend, "v1/apps/secrets", ("scope[type]", "user"), ("scope[user]", "usr_2"),
            ("name", "token"), ("payload", "another's secret"));
        var key = (await PostAsync(backend, "v1/ephemeral_keys", ("user", "usr_1"), ("expires_in", "600")))
            .GetProperty("secret").GetString()!;

        var said = await RunPageAsync(chromium, bundler, coffer.Url.GetLeftPart(UriPartial.Authority), key);

        Assert.False(said.TryGetProperty("error", out var error), $"{error}");
        Assert.Equal("null", Text("origin"));
        Assert.Equal("own secret", Text("found"));
        Assert.Equal("403 StripePermissionError scope[user]", Text("another"));
        Assert.Equal(Text("another"), Text("absent")); // whether or not anything is there
        Assert.Equal(Text("another"), Text("setForAnother"));
        Assert.Equal("403 StripePermissionError", Text("otherAccount"));
        Assert.Equal("shared", Text("set"));
        Assert.Equal(["shared"], said.GetProperty("listed").EnumerateArray().Select(name => name.GetString()));
        Assert.True(said.GetProperty("deleted").GetBoolean());
        Assert.Equal(200, said.GetProperty("plainFetch").GetInt32());

        // What the backend does with the signature: the SDK's routine for webhooks, over the fields that it knows, in
        // their order.
        const string Payload =
            "{\"field\":\"ünïcode \\\"quoted\\\"\",\"user_id\":\"usr_1\",\"account_id\":\"acct_browser\"}";
        var secret = coffer.Ready.GetProperty("signing_secret_test").GetString()!;
        var live = coffer.Ready.GetProperty("signing_secret_live").GetString()!;
        (await VerifyAsync(node, Text("signature"), live, Payload)).EndedWith(1); // the page's key is a test key
        (await VerifyAsync(node, Text("signature"), secret, Payload)).EndedWith(0);
        (await VerifyAsync(node, Text("signature"), secret,
            Payload.Replace("usr_1", "usr_2", StringComparison.Ordinal))).EndedWith(1);

        string Text(string field) => said.GetProperty(field).GetString()!;
    }

    [Fact]
    [Trait("Reports from the field", "R2-24")]
    public async Task A_page_whose_requests_are_traced_reaches_it_and_another_header_is_refused_by_the_browser()
    {
        var chromium = Needs.Chromium();
        using var data = new TemporaryDirectory();
        var pem = PemPair.Make(files);
        await using var coffer = await CofferProcess.ServeAsync(data, "--listen", "https://127.0.0.1:0", "--tls-cert",
            pem.Cert, "--tls-key", pem.Key);
        using var backend = Backend(coffer, pem);
        await PostAsync(backend, "v1/apps/secrets", ("scope[type]", "account"), ("name", "k"), ("payload", "p"));
        var key = (await PostAsync(backend, "v1/ephemeral_keys", ("user", "usr_1"))).GetProperty("secret").GetString()!;

        // As libraries of tracing do it: fetch is replaced by one that adds headers.
        const string Module = """
            const { base, key, cases } = globalThis.COFFER;
            const said = {};
            for (const added of cases) {
              const more = Object.fromEntries(added.map((name) => [name, '1']));
              const traced = (url, options) => fetch(url, { ...options, headers: { ...options.headers, ...more } });
              try {
                const answer = await traced(`${base}/v1/apps/secrets/find?scope[type]=account&name=k`,
                  { headers: { Authorization: `Bearer ${key}` } });
                said[added.join()] = `${answer.status} ${answer.headers.get('Coffer-Secret-Version')}`;
              } catch (e) {
                said[added.join()] = e.name;
              }
            }
            said.credentials = await fetch(`${base}/v1/apps/secrets/find?scope[type]=account&name=k`,
              { credentials: 'include', headers: { Authorization: `Bearer ${key}` } }).then(() => '', (e) => e.name);
            document.body.textContent = JSON.stringify(said);
            """;
        string[][] cases = [[], ["traceparent", "tracestate", "baggage"], ["sentry-trace", "baggage"],
            ["x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority"],
            ["newrelic", "b3", "x-request-id"], ["x-mine"], ["traceparent", "x-mine"]];
        var page = files.File("traced.html");
        var settings = JsonSerializer.Serialize(
            new { @base = coffer.Url.GetLeftPart(UriPartial.Authority), key, cases });
        await File.WriteAllTextAsync(page, Browser.Page($"globalThis.COFFER = {settings}", Module),
            TestContext.Current.CancellationToken);
        var said = JsonElement.Parse(Browser.Body(await Ran.ProgramAsync(
            chromium, Browser.Arguments(files.File("traced"), new Uri(page).AbsoluteUri))));
        Assert.Equal("TypeError", said.GetProperty("credentials").GetString());
        foreach (var added in cases)
        {
            Assert.Equal(added.Contains("x-mine") ? "TypeError" : "200 1",
                said.GetProperty(string.Join(',', added)).GetString());
        }
    }

    public void Dispose() => files.Dispose();

    private static Task<Ran> VerifyAsync(string node, string signature, string secret, string payload) =>
        Ran.ProgramAsync(node, [Path.Combine(Needs.SdkFolder, "verify-signature.mjs"), signature, secret, payload]);

    private async Task<JsonElement> RunPageAsync(string chromium, string bundler, string url, string key)
    {
        var script = files.File("page.js");
        (await Ran.ProgramAsync(
            bundler,
            [Path.Combine(
                Needs.SdkFolder,
                "ui-extension.mjs"), "--bundle", "--platform=browser", "--format=esm", $"--outfile={script}",
                    "--log-level=error"])).EndedWith(0);
        var page = files.File("page.html");
        var settings = JsonSerializer.Serialize(new { @base = url, key, user = "usr_1", other = "usr_2" });
        var module = await File.ReadAllTextAsync(script, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(page, Browser.Page($"globalThis.COFFER = {settings}", module),
            TestContext.Current.CancellationToken);
        return JsonElement.Parse(
            Browser.Body(
                await Ran.ProgramAsync(chromium, Browser.Arguments(files.File("profile"), new Uri(page).AbsoluteUri))));
    }

    private static HttpClient Backend(CofferProcess coffer, PemPair pem)
    {
        var client = pem.Client(coffer.Url);
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", coffer.TestKey);
        client.DefaultRequestHeaders.Add("Stripe-Account", Account);
        return client;
    }

    private static async Task<JsonElement> PostAsync(HttpClient client, string path,
        params (string Name, string Value)[] form)
    {
        using var content = new FormUrlEncodedContent(
            form.Select(field => KeyValuePair.Create(field.Name, field.Value)));
        using var response = await client.PostAsync(new Uri(path, UriKind.Relative), content,
            TestContext.Current.CancellationToken);
        var text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonElement.Parse(text);
    }
}
