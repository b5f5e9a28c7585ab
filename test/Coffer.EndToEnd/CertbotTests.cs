using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The deploy hook of docs/tls.md as it stands, run by Debian's certbot, with a certificate of Pebble, which is Let's
/// Encrypt's server for tests.
/// </summary>
[Trait("Firm edges", "11")]
public sealed class CertbotTests
{
    [Fact]
    public async Task A_certificate_that_certbot_renews_is_served_without_a_restart()
    {
        var (certbot, pebble) = (Needs.OnPath("certbot"), Needs.OnPath("pebble"));
        using var files = new TemporaryDirectory();
        using var data = new TemporaryDirectory();
        var pair = PemPair.Make(files, daysLeft: 5);
        var hooks = Directory.CreateDirectory(files.File("letsencrypt/renewal-hooks/deploy")).FullName;
        var hook = Path.Combine(hooks, "coffer");
        await File.WriteAllTextAsync(hook, (await HookAsync()).Replace("/etc/coffer/tls", files.Path,
            StringComparison.Ordinal).Replace("chown coffer ", "chown root ", StringComparison.Ordinal),
            TestContext.Current.CancellationToken);
        File.SetUnixFileMode(hook, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

        await using var coffer = await CofferProcess.StartAsync(
            ["serve", "--data", data.Path, "--listen", "https://127.0.0.1:0", "--tls-cert", pair.Cert,
                "--tls-key", pair.Key]);
        Assert.Equal("CN=127.0.0.1", await IssuerAsync(coffer.Url));
        Assert.Equal("it is good for 4 more days: renew it", await CertificateAsync(coffer.Url));

        var port = PostgresPrograms.FreePort();
        await File.WriteAllTextAsync(files.File("pebble.json"), $$$"""
            {"pebble": {"listenAddress": "127.0.0.1:{{{port}}}", "certificate": "{{{pair.Cert}}}",
             "privateKey": "{{{pair.Key}}}", "httpPort": 5002, "tlsPort": 5001}}
            """, TestContext.Current.CancellationToken);
        await using (var server = Beside.Start(pebble, ["-config", files.File("pebble.json")],
            new Dictionary<string, string>
            {
                ["PEBBLE_VA_ALWAYS_VALID"] = "1", // there is no name to be proven here
                ["PEBBLE_VA_NOSLEEP"] = "1",
                ["PEBBLE_WFE_NONCEREJECT"] = "0",
            }))
        {
            await Until.ListensAsync(port, () => server.HasEnded, () => server.Stderr);
            string[] where =
            [
                "--config-dir", files.File("letsencrypt"), "--work-dir", files.File("work"), "--logs-dir",
                files.File("logs"), "--non-interactive", "--no-verify-ssl",
            ];
            (await Ran.ProgramAsync(certbot,
            [
                "certonly", "--standalone", "--http-01-port", $"{PostgresPrograms.FreePort()}", "--server",
                $"https://127.0.0.1:{port}/dir", "-d", "coffer.example.com", "--agree-tos",
                "--register-unsafely-without-email", .. where,
            ])).EndedWith(0);
            (await Ran.ProgramAsync(certbot,
                ["renew", "--force-renewal", "--no-random-sleep-on-renew", .. where])).EndedWith(0);
        }

        await Until.SoAsync("the renewed certificate is served",
            async () => (await IssuerAsync(coffer.Url)).Contains("Pebble", StringComparison.Ordinal),
            TimeSpan.FromSeconds(10), () => coffer.Stderr);
        Assert.Null(await CertificateAsync(coffer.Url));
        Assert.Equal(0, await coffer.StopAsync());
        Assert.Single(coffer.Stderr.Split('\n'), line => line.Contains("was read again", StringComparison.Ordinal));
    }

    private static async Task<string> HookAsync()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Needs.Repository, "docs", "tls.md"),
            TestContext.Current.CancellationToken);
        const string Begin = "```sh\n#!/bin/sh\n";
        var from = page.IndexOf(Begin, StringComparison.Ordinal) + "```sh\n".Length;
        return page[from..page.IndexOf("```", from, StringComparison.Ordinal)];
    }

    private static async Task<string> IssuerAsync(Uri url)
    {
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(url.Host, url.Port, TestContext.Current.CancellationToken);
        await using var tls = new SslStream(tcp.GetStream(), leaveInnerStreamOpen: false, IsItself);
        await tls.AuthenticateAsClientAsync("coffer.example.com");
        return tls.RemoteCertificate!.Issuer;
    }

    // What readiness says of it; null is nothing.
    private static async Task<string?> CertificateAsync(Uri url)
    {
        using var http = new HttpClient(new SocketsHttpHandler
        {
            UseProxy = false,
            SslOptions = { RemoteCertificateValidationCallback = IsItself },
        });
        using var answer = await http.GetAsync(new Uri(url, "/readyz"), TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        var ready = JsonElement.Parse(await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        return ready.TryGetProperty("certificate", out var said) ? said.GetString() : null;
    }

    // Pebble makes an authority of its own at each start, and what is looked at is who has signed.
    private static bool IsItself(
        object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors) =>
        certificate is not null;
}
