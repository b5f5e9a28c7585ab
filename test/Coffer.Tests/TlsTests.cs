using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Coffer.Hosting;
using Coffer.Settings;
using Microsoft.Extensions.Logging;

namespace Coffer.Tests;

/// <summary>https, with real certificates on real sockets.</summary>
public sealed class TlsTests : IDisposable
{
    private readonly PemFiles files = new();
    private readonly ManualTime time = new();

    [Theory]
    [InlineData("2.0")]
    [InlineData("1.1")]
    public async Task HTTP_2_and_1_1_are_spoken_over_https_and_the_chain_is_sent(string version)
    {
        await using var server = await WebServer.StartAsync(files);
        Assert.Equal("https", server.Url.Scheme);
        // fails unless the intermediate is sent
        using var client = WebServer.Client(files.Root, Version.Parse(version));
        using var request = WebServer.Named(server.Url, version);
        using var answer = await client.SendAsync(request);
        Assert.Equal(Version.Parse(version), answer.Version);
        Assert.StartsWith($"HTTP/{version.Replace(".0", "", StringComparison.Ordinal)}",
            await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal("max-age=31556926", Assert.Single(answer.Headers.GetValues("Strict-Transport-Security")));
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("[::1]")]
    [InlineData("localhost")]
    [InlineData("Coffer.LocalHost")]
    [Trait("Reports from the field", "R2-24")]
    public async Task A_browser_is_not_bound_to_https_for_every_port_of_this_machine(string host)
    {
        await using var server = await WebServer.StartAsync(files);
        using var client = WebServer.Client(files.Root, HttpVersion.Version11);
        using var request = WebServer.Named(server.Url, "1.1", host);
        using var answer = await client.SendAsync(request);
        Assert.False(answer.Headers.Contains("Strict-Transport-Security"));
    }

    [Theory]
    [InlineData("none", null)]
    [InlineData("max-age=0", "max-age=0")]
    [InlineData("max-age=31556926; includeSubDomains; preload", "max-age=31556926; includeSubDomains; preload")]
    [Trait("Reports from the field", "R2-24")]
    public async Task An_operator_says_what_browsers_are_to_keep(string setting, string? header)
    {
        var options = Configuration.ForServe(
            new Dictionary<string, string>
            {
                ["data"] = "d",
                ["strict-transport"] = setting,
                ["listen"] = "https://127.0.0.1:0",
                ["tls-cert"] = files.Cert,
                ["tls-key"] = files.Key,
            }, null, new Dictionary<string, string>());
        Assert.Empty(options.Misread);
        await using var server = await WebServer.StartAsync(options);
        using var client = WebServer.Client(files.Root, HttpVersion.Version11);
        using var request = WebServer.Named(server.Url, "1.1");
        using var answer = await client.SendAsync(request);
        Assert.Equal(header, answer.Headers.TryGetValues("Strict-Transport-Security", out var sent)
            ? Assert.Single(sent) : null);
    }

    [Theory]
    [InlineData("PRIVATE KEY")]
    [InlineData("EC PRIVATE KEY")]
    [InlineData("RSA PRIVATE KEY")]
    public async Task Keys_in_every_usual_form_are_taken(string form)
    {
        files.Renew("leaf", form: form);
        await using var server = await WebServer.StartAsync(files);
        await using var connection = await server.ConnectAsync(files.Root);
        Assert.Equal("CN=leaf", connection.RemoteCertificate!.Subject);
    }

    [Theory]
    [InlineData(SslProtocols.Tls12)]
    [InlineData(SslProtocols.Tls13)]
    public async Task TLS_1_2_and_1_3_are_spoken(SslProtocols protocol)
    {
        await using var server = await WebServer.StartAsync(files);
        await using var connection = await server.ConnectAsync(files.Root, protocol);
        Assert.Equal(protocol, connection.SslProtocol);
    }

    [Fact]
    public async Task TLS_1_1_is_refused()
    {
        // By hand, because no client of this machine need be able to speak it.
        await using var server = await WebServer.StartAsync(files);
        var refused = await HelloAsync(server.Url, minor: 2);
        Assert.True(refused is [] or [21, ..], Convert.ToHexString(refused)); // an alert, or nothing; no ServerHello
        var taken = await HelloAsync(server.Url, minor: 3);
        Assert.Equal(22, taken[0]); // a handshake record: the hello itself is well-formed
    }

    [Fact]
    public async Task A_new_certificate_is_served_from_the_next_look_on_and_open_connections_stay()
    {
        await using var server = await WebServer.StartAsync(files, time);
        await using var open = await server.ConnectAsync(files.Root);
        Assert.Equal("CN=first", open.RemoteCertificate!.Subject);
        await AnswersAsync(open);

        files.Renew("second");
        await using (var within = await server.ConnectAsync(files.Root))
            Assert.Equal("CN=first", within.RemoteCertificate!.Subject); // at most one look a second
        time.Move(TimeSpan.FromSeconds(1));
        await using (var after = await server.ConnectAsync(files.Root))
        {
            Assert.Equal("CN=second", after.RemoteCertificate!.Subject);
            await AnswersAsync(after);
        }

        await AnswersAsync(open);
    }

    [Fact]
    public async Task A_certificate_behind_links_is_renewed_when_a_link_leads_elsewhere()
    {
        // As certbot and Kubernetes renew: the file that is named stays the same link.
        using var place = new TemporaryDirectory();
        using var renewed = new PemFiles();
        renewed.Renew("renewed");
        Directory.CreateSymbolicLink(place.File("current"), Path.GetDirectoryName(files.Cert)!);
        File.CreateSymbolicLink(place.File("cert.pem"), Path.Combine("current", "cert.pem"));
        File.CreateSymbolicLink(place.File("key.pem"), Path.Combine("current", "key.pem"));
        await using var server = await WebServer.StartAsync(
            new CofferOptions
            {
                Data = ".",
                Listen = "https://127.0.0.1:0",
                TlsCert = place.File("cert.pem"),
                TlsKey = place.File("key.pem")
            }, time);
        await using (var before = await server.ConnectAsync(files.Root))
            Assert.Equal("CN=first", before.RemoteCertificate!.Subject);

        Directory.Delete(place.File("current"));
        Directory.CreateSymbolicLink(place.File("current"), Path.GetDirectoryName(renewed.Cert)!);
        time.Move(TimeSpan.FromSeconds(1));
        await using (var after = await server.ConnectAsync(renewed.Root))
            Assert.Equal("CN=renewed", after.RemoteCertificate!.Subject);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_broken_renewal_is_logged_once_and_the_old_certificate_stays(bool gone)
    {
        var log = new KeptLog<TlsCertificate>();
        using var certificate = new TlsCertificate(files.Pair, time, log);
        var old = Served();
        var key = File.ReadAllText(files.Key);
        files.Renew("second");
        if (gone)
            File.Delete(files.Key);
        else
            File.WriteAllText(files.Key, key); // not its key
        for (var look = 0; look < 3; look++)
        {
            time.Move(TimeSpan.FromSeconds(1));
            Assert.Same(old, Served());
        }

        Assert.Contains(gone ? "cannot be read" : "is not the key of", Assert.Single(log.Texts),
            StringComparison.Ordinal);

        files.Renew("third");
        time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal("CN=third", Served().TargetCertificate.Subject);
        Assert.Equal(2, log.Texts.Count);
        Assert.Contains("was read again", log.Texts[1], StringComparison.Ordinal);

        SslStreamCertificateContext Served() => certificate.Handshake().ServerCertificateContext!;
    }

    [Fact]
    public void An_expired_certificate_is_served_with_a_warning()
    {
        files.Renew("late", until: TimeProvider.System.GetUtcNow().AddDays(-1));
        var log = new KeptLog<TlsCertificate>();
        using var certificate = new TlsCertificate(files.Pair, TimeProvider.System, log);
        Assert.Equal("CN=late", certificate.Handshake().ServerCertificateContext!.TargetCertificate.Subject);
        Assert.Contains("expired at", Assert.Single(log.Texts), StringComparison.Ordinal);
    }

    [Fact]
    public void A_pair_that_cannot_be_served_is_refused_at_start_with_its_reason()
    {
        Refuses("cannot be read", () => File.Delete(files.Cert));
        Refuses("holds no certificate in PEM form", () => File.WriteAllText(files.Cert, "nothing"));
        Refuses(
            "is damaged",
            () =>
                File.WriteAllText(
                    files.Cert,
                    File.ReadAllText(files.Cert).Replace("MII", "AII", StringComparison.Ordinal)
                        .Replace("MIH", "AIH", StringComparison.Ordinal).Replace("MIB", "AIB",
                            StringComparison.Ordinal)));
        Refuses("cannot be read", () => File.Delete(files.Key));
        Refuses("holds no private key in PEM form", () => File.WriteAllText(files.Key, File.ReadAllText(files.Cert)));
        Refuses("is encrypted", () => files.Renew("leaf", form: "ENCRYPTED PRIVATE KEY"));
        Refuses("is not the key of the first certificate", () =>
        {
            var key = File.ReadAllText(files.Key);
            files.Renew("other");
            File.WriteAllText(files.Key, key);
        });

        void Refuses(string problem, Action spoil)
        {
            files.Renew("leaf");
            spoil();
            var options = new CofferOptions
            {
                Data = ".",
                Listen = "https://127.0.0.1:0",
                TlsCert = files.Cert,
                TlsKey = files.Key,
            };
            var refused = Assert.Throws<ConfigurationException>(() => Preflight.Require(options));
            Assert.Contains(problem, refused.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(UnixFileMode.OtherRead, "0604")]
    [InlineData(UnixFileMode.OtherWrite, "0602")]
    [InlineData(UnixFileMode.GroupRead | UnixFileMode.OtherRead, "0644")]
    public void A_key_that_others_may_touch_is_refused(UnixFileMode open, string mode)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no Unix modes here");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(files.Key, File.GetUnixFileMode(files.Key) | open);
        Assert.Equal(
            $"the TLS key file {files.Key} can be read or written by other users than its owner (mode {mode}). "
                + $"Run: chmod 600 {files.Key}",
            files.Pair.Problem());
    }

    [Fact]
    [Trait("Firm edges", "8")]
    public void A_key_of_its_own_that_a_group_may_read_is_used()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no Unix modes here");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(files.Key, File.GetUnixFileMode(files.Key) | UnixFileMode.GroupRead);
        Assert.Null(files.Pair.Problem());
    }

    public void Dispose() => files.Dispose();

    private static async Task AnswersAsync(SslStream connection)
    {
        await connection.WriteAsync("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"u8.ToArray());
        var buffer = new byte[4096];
        Assert.StartsWith("HTTP/1.1 200 ", Encoding.ASCII.GetString(buffer, 0, await connection.ReadAsync(buffer)),
            StringComparison.Ordinal);
    }

    /// <summary>Sends a ClientHello for TLS 1.minor-1 and returns what comes first.</summary>
    private static async Task<byte[]> HelloAsync(Uri url, byte minor)
    {
        byte[] extensions = [
            0, 10, 0, 4, 0, 2, 0, 23, // groups: P-256
            0, 11, 0, 2, 1, 0, // uncompressed points
            0, 13, 0, 4, 0, 2, 4, 3, // signatures: ECDSA with SHA-256
        ];
        byte[] hello = [
            3, minor, .. new byte[32], 0, // version, random, no session
            0, 6, 0xC0, 0x09, 0xC0, 0x0A, 0xC0, 0x2B, // ECDHE-ECDSA: AES-CBC, as of TLS 1.1, and AES-GCM
            1, 0, // no compression
            0, (byte)extensions.Length, .. extensions,
        ];
        byte[] record = [22, 3, 1, 0, (byte)(hello.Length + 4), 1, 0, 0, (byte)hello.Length, .. hello];
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(url.Host, url.Port);
        await using var stream = tcp.GetStream();
        await stream.WriteAsync(record);
        var answer = new byte[5];
        var read = await stream.ReadAtLeastAsync(answer, answer.Length, throwOnEndOfStream: false);
        return answer[..read];
    }

    /// <summary>A log that can be read.</summary>
}
