using System.Diagnostics;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>Two nodes are restarted one after the other, behind real balancers as docs/tls.md has them.</summary>
[Trait("Firm edges", "6")]
public sealed class RollingRestartTests
{
    private const int Workers = 3;

    [Fact]
    public async Task A_rolling_restart_behind_HAProxy_and_nginx_fails_no_request()
    {
        var (haproxy, nginx) = (Needs.OnPath("haproxy"), Needs.OnPath("nginx"));
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        using var first = new TemporaryDirectory();
        using var second = new TemporaryDirectory();
        using var files = new TemporaryDirectory();
        var (one, other) = (PostgresPrograms.FreePort(), PostgresPrograms.FreePort());
        var nodes = new[] { await StartAsync(first, one), null! };
        foreach (var file in (string[])["coffer.key", "coffer.anchor"])
            File.Copy(first.File(file), second.File(file));
        nodes[1] = await StartAsync(second, other);
        var key = nodes[0].TestKey;
        var (byHaproxy, byNginx) = (PostgresPrograms.FreePort(), PostgresPrograms.FreePort());
        using var balancer = Balancer(haproxy, ["-f", await ConfigurationAsync("haproxy", byHaproxy)]);
        using var proxy = Balancer(nginx,
            ["-p", files.Path, "-e", "stderr", "-c", await ConfigurationAsync("nginx", byNginx)]);
        try
        {
            await UntilAnswersAsync(byHaproxy);
            await UntilAnswersAsync(byNginx);
            using var stop = new CancellationTokenSource();
            Task<int>[] working =
            [
                .. Enumerable.Range(0, Workers).Select(worker => WorkAsync(byHaproxy, $"h{worker}", stop.Token)),
                .. Enumerable.Range(0, Workers).Select(worker => WorkAsync(byNginx, $"n{worker}", stop.Token)),
            ];
            for (var node = 0; node < 2; node++)
            {
                Assert.Equal(0, await nodes[node].StopAsync());
                await nodes[node].DisposeAsync();
                nodes[node] = await StartAsync(node == 0 ? first : second, node == 0 ? one : other);
                // Until both know that it is back: HAProxy asks twice a second, nginx tries again after a second.
                await Task.Delay(TimeSpan.FromSeconds(1.5), TestContext.Current.CancellationToken);
            }

            await stop.CancelAsync();
            var done = await Task.WhenAll(working); // a request that failed has thrown
            Assert.All(done, requests => Assert.True(requests > 20, string.Join(' ', done)));
        }
        finally
        {
            foreach (var process in (Process[])[balancer, proxy])
            {
                process.Kill(entireProcessTree: true);
                await process.WaitForExitAsync(CancellationToken.None);
            }

            foreach (var node in nodes)
                await node.DisposeAsync();
        }

        Task<CofferProcess> StartAsync(TemporaryDirectory data, int port) => CofferProcess.ServeAsync(data, "--store",
            $"{cluster.Store(cluster.Primary.Port)};Timeout=20", "--listen", $"http://127.0.0.1:{port}",
            "--drain", "2");

        // The block of the document, with what differs here.
        async Task<string> ConfigurationAsync(string name, int port)
        {
            var block = Document(name).Replace("10.0.0.11:26333", $"127.0.0.1:{one}", StringComparison.Ordinal)
                .Replace("10.0.0.12:26333", $"127.0.0.1:{other}", StringComparison.Ordinal);
            var whole = name == "haproxy"
                ? $"""
                    defaults
                      mode http
                      timeout connect 2s
                      timeout client 30s
                      timeout server 30s
                    frontend coffer
                      bind 127.0.0.1:{port}
                      default_backend coffer

                    """ + block
                : $$"""
                    daemon off;
                    master_process off;
                    pid {{files.File("nginx.pid")}};
                    error_log stderr crit;
                    events { }
                    http {
                    access_log off;
                    client_body_temp_path {{files.File("body")}};
                    proxy_temp_path {{files.File("proxy")}};
                    fastcgi_temp_path {{files.File("fastcgi")}};
                    uwsgi_temp_path {{files.File("uwsgi")}};
                    scgi_temp_path {{files.File("scgi")}};

                    """
                    + block.Replace("listen 443 ssl;", $"listen 127.0.0.1:{port};", StringComparison.Ordinal)
                        .Replace("/var/log/nginx/coffer.log", "stderr", StringComparison.Ordinal) + "}\n";
            await File.WriteAllTextAsync(files.File(name + ".conf"), whole, TestContext.Current.CancellationToken);
            return files.File(name + ".conf");
        }

        async Task<int> WorkAsync(int port, string name, CancellationToken ct)
        {
            using var client = new WireClient(new Uri($"http://127.0.0.1:{port}"), key, $"acct_{name}");
            var requests = 0;
            while (!ct.IsCancellationRequested)
            {
                (await client.SetAsync("k", $"{requests}", idempotencyKey: $"{name} {requests}")).Is(200);
                Assert.Equal($"{requests}", (await client.FindAsync("k")).Is(200).Payload);
                requests += 2;
                await Task.Delay(10, CancellationToken.None);
            }

            return requests;
        }
    }

    private static string Document(string name)
    {
        var text = File.ReadAllText(Path.Combine(Needs.Repository, "docs", "tls.md"));
        var section = text.IndexOf("## A rolling restart", StringComparison.Ordinal);
        var from = text.IndexOf($"```{name}\n", Math.Max(section, 0), StringComparison.Ordinal);
        Assert.True(from >= 0, $"docs/tls.md has no block for {name}");
        from = text.IndexOf('\n', from) + 1;
        return text[from..text.IndexOf("```", from, StringComparison.Ordinal)];
    }

    private static Process Balancer(string program, string[] arguments)
    {
        var start = Ran.Start(program, arguments, environment: null);
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = false;
        start.StandardOutputEncoding = start.StandardErrorEncoding = null;
        return Process.Start(start)!;
    }

    private static async Task UntilAnswersAsync(int port)
    {
        using var client = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        for (var waited = Stopwatch.StartNew(); ; await Task.Delay(50, TestContext.Current.CancellationToken))
        {
            try
            {
                using var answer = await client.GetAsync(new Uri($"http://127.0.0.1:{port}/healthz"),
                    TestContext.Current.CancellationToken);
                if (answer.IsSuccessStatusCode)
                    return;
            }
            catch (HttpRequestException) when (waited.Elapsed < TimeSpan.FromSeconds(20))
            {
                continue;
            }

            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(20), $"nothing answers at {port}");
        }
    }
}
