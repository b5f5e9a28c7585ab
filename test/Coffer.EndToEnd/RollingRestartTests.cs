using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// Two nodes are restarted one after the other, behind real balancers as docs/tls.md has them. Then what is around them
/// changes while they serve: PostgreSQL is restarted, its password and the certificate are replaced.
/// </summary>
[Trait("Firm edges", "6")]
public sealed class RollingRestartTests
{
    private const int Workers = 3;

    private const string Role = "coffer";

    [Fact]
    public async Task A_rolling_restart_behind_HAProxy_and_nginx_fails_no_request_and_nothing_around_it_loses_one()
    {
        var (haproxy, nginx) = (Needs.OnPath("haproxy"), Needs.OnPath("nginx"));
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await cluster.AddRoleAsync(Role, "first");
        using var first = new TemporaryDirectory();
        using var second = new TemporaryDirectory();
        using var files = new TemporaryDirectory();
        var store = $"Host=127.0.0.1;Port={cluster.Primary.Port};Database=postgres;Username={Role};Timeout=20;"
            + $"Passfile={PasswordFile("first")}";
        var (one, other) = (PostgresPrograms.FreePort(), PostgresPrograms.FreePort());
        var nodes = new CofferProcess[2];
        try
        {
            nodes[0] = await StartAsync(first, one);
            foreach (var file in (string[])["coffer.key", "coffer.anchor"])
                File.Copy(first.File(file), second.File(file));
            nodes[1] = await StartAsync(second, other);
            var key = nodes[0].TestKey;
            var (byHaproxy, byNginx) = (PostgresPrograms.FreePort(), PostgresPrograms.FreePort());
            await using var balancer = Beside.Start(haproxy, ["-f", await ConfigurationAsync("haproxy", byHaproxy)]);
            await using var proxy = Beside.Start(nginx,
                ["-p", files.Path, "-e", "stderr", "-c", await ConfigurationAsync("nginx", byNginx)]);
            await Until.AnswersAsync(new Uri($"http://127.0.0.1:{byHaproxy}/healthz"), () => balancer.Stderr);
            await Until.AnswersAsync(new Uri($"http://127.0.0.1:{byNginx}/healthz"), () => proxy.Stderr);
            var clients = Enumerable.Range(0, 2 * Workers).Select(worker => new WireClient(
                new Uri($"http://127.0.0.1:{(worker < Workers ? byHaproxy : byNginx)}"), key,
                $"acct_{worker}")).ToList();
            await using var load = new Load(clients.Count, async (worker, number) =>
            {
                var client = clients[worker];
                (await client.SetAsync("k", $"{number}", idempotencyKey: $"{worker} {number}")).Is(200);
                Assert.Equal($"{number}", (await client.FindAsync("k")).Is(200).Payload);
                await Task.Delay(10, CancellationToken.None);
            });
            for (var node = 0; node < 2; node++)
            {
                Assert.Equal(0, await nodes[node].StopAsync());
                await nodes[node].DisposeAsync();
                nodes[node] = await StartAsync(node == 0 ? first : second, node == 0 ? one : other);
                // Until both know that it is back: nginx tries again after a second, and HAProxy says so.
                await Task.Delay(TimeSpan.FromSeconds(1.5), TestContext.Current.CancellationToken);
                await Until.AnswersAsync(new Uri($"http://127.0.0.1:{byHaproxy}/both"), () => balancer.Stderr);
            }

            await load.EndAsync(); // a request that failed has thrown
            Assert.All(load.Done, pairs => Assert.True(2 * pairs > 20, string.Join(' ', load.Done)));
            clients.ForEach(client => client.Dispose());

            // From here on one of them is reached over https, and both without a balancer: what they answer counts.
            Assert.Equal(0, await nodes[0].StopAsync());
            await nodes[0].DisposeAsync();
            var pair = PemPair.Make(files);
            nodes[0] = await StartAsync(first, one, "--listen", $"https://127.0.0.1:{one}", "--tls-cert", pair.Cert,
                "--tls-key", pair.Key);
            await ChangeAroundAsync(pair, key);
            Assert.All(await Task.WhenAll(nodes.Select(node => node.StopAsync())), exit => Assert.Equal(0, exit));
            await AuditVerb.VerifiedAsync(second, "--store", store);
        }
        finally
        {
            foreach (var node in nodes.OfType<CofferProcess>())
                await node.DisposeAsync();
        }

        // It drains twice as long as by default: on a busy machine a balancer sees it late.
        Task<CofferProcess> StartAsync(TemporaryDirectory data, int port, params string[] tls) =>
            CofferProcess.ServeAsync(data, ["--store", store, "--drain", "4",
                .. tls.Length > 0 ? tls : ["--listen", $"http://127.0.0.1:{port}"]]);

        string PasswordFile(string password)
        {
            var file = files.File("pgpass");
            File.WriteAllText(file + ".new", $"127.0.0.1:{cluster.Primary.Port}:*:{Role}:{password}\n");
            File.SetUnixFileMode(file + ".new", UnixFileMode.UserRead | UnixFileMode.UserWrite);
            File.Move(file + ".new", file, overwrite: true);
            return file;
        }

        async Task ChangeAroundAsync(PemPair pair, string key)
        {
            using var made = new TemporaryDirectory();
            var newer = PemPair.Make(made);
            var (before, after, shown) = (HashOf(pair), HashOf(newer), new ConcurrentDictionary<string, bool>());
            using var load = new SteadyLoad([.. Enumerable.Range(0, 2 * Workers).Select(writer =>
                new SteadyWriter($"writer {writer}", nodes[writer % 2].Url, url => Client(url, $"acct_w{writer}")))]);
            load.Start();
            await load.UntilAnsweredAsync("before");

            await cluster.StopAsync(cluster.Primary);
            await load.UntilRefusedAsync();
            await cluster.StartAsync(cluster.Primary);
            await load.UntilAnsweredAsync("PostgreSQL is restarted");

            await cluster.ChangePasswordAsync(Role, "second");
            await load.UntilRefusedAsync();
            PasswordFile("second");
            await load.UntilAnsweredAsync("the password is another");

            var refused = load.Refused;
            File.Move(newer.Key, pair.Key, overwrite: true);
            File.Move(newer.Cert, pair.Cert, overwrite: true);
            await load.UntilAsync(() => shown.ContainsKey(after), "the renewed certificate is not served");
            await load.UntilAnsweredAsync("the certificate is another");
            Assert.Equal(refused, load.Refused);
            Assert.Equivalent(new[] { before, after }, shown.Keys, strict: true); // no other was ever served
            await load.EndAsync(nodes.Select(node => node.Url));

            // Each connection is one for a moment, so that the certificate is seen again and again.
            WireClient Client(Uri url, string account) => new(url, key, account, new SocketsHttpHandler
            {
                UseProxy = false,
                PooledConnectionLifetime = TimeSpan.FromMilliseconds(300),
                SslOptions =
                {
                    RemoteCertificateValidationCallback = (_, certificate, _, _) =>
                        shown[certificate!.GetCertHashString()] = true,
                },
            });
        }

        // The block of the document, with what differs here.
        async Task<string> ConfigurationAsync(string name, int port)
        {
            var block = Document(name).Replace("10.0.0.11:26333", $"127.0.0.1:{one}", StringComparison.Ordinal)
                .Replace("10.0.0.12:26333", $"127.0.0.1:{other}", StringComparison.Ordinal);
            var whole = name == "haproxy"
                ? $$"""
                    defaults
                      mode http
                      timeout connect 2s
                      timeout client 30s
                      timeout server 30s
                    frontend coffer
                      bind 127.0.0.1:{{port}}
                      http-request return status 200 if { path /both } { nbsrv(coffer) eq 2 }
                      http-request return status 503 if { path /both }
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
    }

    private static string HashOf(PemPair pair)
    {
        using var certificate = X509CertificateLoader.LoadCertificateFromFile(pair.Cert);
        return certificate.GetCertHashString();
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
}
