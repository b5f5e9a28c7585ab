using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>Coffer behind nginx as docs/tls.md has it, inside an nginx that by itself would log everything.</summary>
[Trait("Firm edges", "26")]
[Trait("Firm edges", "27")]
public sealed class ProxyBlockTests
{
    private const string Public = "https://coffer.example.com", Name = "canary_name", Secrets = "/v1/apps/secrets";

    [Fact]
    public async Task The_block_of_the_docs_logs_no_key_and_no_name_forges_no_address_and_hides_the_management_plane()
    {
        var nginx = Needs.OnPath("nginx");
        using var data = new TemporaryDirectory();
        using var files = new TemporaryDirectory();
        var port = PostgresPrograms.FreePort();
        await using var coffer = await CofferProcess.ServeAsync(
            data, "--trusted-proxies", "127.0.0.1", "--public-url", Public);
        await using (var proxy = Beside.Start(nginx, ["-p", files.Path, "-e", files.File("start.log"), "-c",
            await ConfigurationAsync(files, coffer.Url.Authority, port)]))
        {
            using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false })
            {
                BaseAddress = new Uri($"http://127.0.0.1:{port}"),
            };
            await Until.AnswersAsync(new Uri(http.BaseAddress, "/healthz"), () => proxy.Stderr);
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue(
                "Basic", Convert.ToBase64String(Encoding.ASCII.GetBytes($"{coffer.TestKey}:")));
            http.DefaultRequestHeaders.Add("X-Forwarded-For", "203.0.113.9");
            (await SendAsync(http, HttpMethod.Post, Secrets, "payload=p")).EnsureSuccessStatusCode();
            (await SendAsync(http, HttpMethod.Get, $"{Secrets}/find", "expand[]=payload")).EnsureSuccessStatusCode();
            var missing = await SendAsync(http, HttpMethod.Post, $"{Secrets}/delete", "", name: "none");
            Assert.Contains($"\"doc_url\": \"{Public}/docs/errors#resource-missing\"",
                await missing.Content.ReadAsStringAsync(TestContext.Current.CancellationToken),
                StringComparison.Ordinal);

            // Of one that is refused, the log has the request by the id that the client was given.
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", "sk_test_unknown");
            var stranger = await SendAsync(http, HttpMethod.Get, Secrets, "");
            Assert.Equal(HttpStatusCode.Unauthorized, stranger.StatusCode);
            Assert.Matches("^req_", Assert.Single(stranger.Headers.GetValues("Request-Id")));
            Assert.False(stranger.Headers.Contains("Stripe-Version"));

            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", coffer.AdminKey);
            foreach (var path in (string[])["/admin/v1/apps", "//admin/v1/apps", "/v1/../admin/v1/apps",
                "/%61dmin/v1/apps"])
            {
                using var hidden = await http.GetAsync(
                    new Uri($"http://127.0.0.1:{port}{path}"), TestContext.Current.CancellationToken);
                Assert.Equal(HttpStatusCode.NotFound, hidden.StatusCode);
            }

            var found = await new AdminCli(coffer).LinesAsync("audit", "list", "--verb", "find", "--json");
            var entry = Assert.Single(found);
            Assert.Equal("127.0.0.1", entry.GetProperty("remote").GetString());

            // With nobody behind it, nginx logs a failure.
            Assert.Equal(0, await coffer.StopAsync());
            using var away = await SendAsync(http, HttpMethod.Get, $"{Secrets}/find", "");
            Assert.Equal(HttpStatusCode.BadGateway, away.StatusCode);
        }

        foreach (var file in Directory.GetFiles(files.Path, "*.log"))
        {
            var text = await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken);
            Assert.DoesNotContain(coffer.TestKey, text, StringComparison.Ordinal);
            Assert.DoesNotContain(Name, text, StringComparison.Ordinal);
        }
    }

    private static Task<HttpResponseMessage> SendAsync(
        HttpClient http, HttpMethod method, string path, string more, string name = Name)
    {
        var form = $"scope[type]=account&name={name}&{more}";
        var request = new HttpRequestMessage(method, method == HttpMethod.Get ? $"{path}?{form}" : path);
        if (method == HttpMethod.Post)
            request.Content = new StringContent(form, Encoding.ASCII, "application/x-www-form-urlencoded");
        return http.SendAsync(request, TestContext.Current.CancellationToken);
    }

    private static async Task<string> ConfigurationAsync(TemporaryDirectory files, string upstream, int port)
    {
        var text = await File.ReadAllTextAsync(
            Path.Combine(Needs.Repository, "docs", "tls.md"), TestContext.Current.CancellationToken);
        var from = text.IndexOf("```nginx\n", text.IndexOf("## Behind a proxy", StringComparison.Ordinal),
            StringComparison.Ordinal);
        from = text.IndexOf('\n', from) + 1;
        var block = text[from..text.IndexOf("```", from, StringComparison.Ordinal)];
        block = string.Join('\n', block.Split('\n').Where(
                line => !line.Contains("ssl_certificate", StringComparison.Ordinal)))
            .Replace("listen 443 ssl;", $"listen 127.0.0.1:{port};", StringComparison.Ordinal)
            .Replace("127.0.0.1:26333", upstream, StringComparison.Ordinal)
            .Replace("/var/log/nginx/coffer.log", files.File("coffer.log"), StringComparison.Ordinal);
        await File.WriteAllTextAsync(files.File("nginx.conf"), $$"""
            daemon off;
            master_process off;
            pid {{files.File("nginx.pid")}};
            error_log {{files.File("error.log")}} info;
            events { }
            http {
            access_log {{files.File("access.log")}} combined;
            client_body_temp_path {{files.File("body")}};
            proxy_temp_path {{files.File("proxy")}};
            fastcgi_temp_path {{files.File("fastcgi")}};
            uwsgi_temp_path {{files.File("uwsgi")}};
            scgi_temp_path {{files.File("scgi")}};

            """ + block + "}\n", TestContext.Current.CancellationToken);
        return files.File("nginx.conf");
    }
}
