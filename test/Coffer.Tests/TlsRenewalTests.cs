using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Coffer.Hosting;

namespace Coffer.Tests;

/// <summary>Certificates that are renewed in time, or not, or by ones that no client can use.</summary>
[Trait("Firm edges", "11")]
public sealed class TlsRenewalTests : IDisposable
{
    // Of openssl req -x509 -newkey ed25519; no key is needed for it to be refused.
    private const string Ed25519 = """
        -----BEGIN CERTIFICATE-----
        MIIBOjCB7aADAgECAhQEnxgjE9Rd4on2XwlaOknsktBYLDAFBgMrZXAwEjEQMA4G
        A1UEAwwHZWQyNTUxOTAgFw0yNjExMzAwMjE3NDRaGA8yMTI2MTEwNjAyMTc0NFow
        EjEQMA4GA1UEAwwHZWQyNTUxOTAqMAUGAytlcAMhAFkoEDhGC/tJ01KVGWoRN/w0
        Xt/QBmXjQECBtSMDhm65o1MwUTAdBgNVHQ4EFgQUwOXQ+VKSkejVBjK2dkWquRgb
        EtIwHwYDVR0jBBgwFoAUwOXQ+VKSkejVBjK2dkWquRgbEtIwDwYDVR0TAQH/BAUw
        AwEB/zAFBgMrZXADQQCkYgBapOEfRs0yffZv9RnyyWmBPDxveymAGslgPryLWgBD
        qCtmEYMiAiqB/YH3+UHy0GIHX5/qU3rquvvLy5wI
        -----END CERTIFICATE-----
        """;

    private static readonly DateTimeOffset Now = TimeProvider.System.GetUtcNow();

    private readonly PemFiles files = new();
    private readonly ManualTime time = new();
    private readonly KeptLog<TlsCertificate> log = new();

    [Fact]
    public void A_renewed_pair_of_the_same_size_and_time_is_noticed()
    {
        using var certificate = New();
        var (size, keySize, written) = (Size(files.Cert), Size(files.Key), File.GetLastWriteTimeUtc(files.Cert));
        for (var tries = 0; ; tries++)
        {
            Assert.True(tries < 500, "no pair had the same size");
            files.Renew("renew"); // as long as "first"
            if ((Size(files.Cert), Size(files.Key)) == (size, keySize))
                break;
        }

        File.SetLastWriteTimeUtc(files.Cert, written);
        File.SetLastWriteTimeUtc(files.Key, written);
        time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal("CN=renew", Subject(certificate));
        Assert.Matches("was read again, and is good until", Assert.Single(log.Texts));
        time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal("CN=renew", Subject(certificate));
        Assert.Single(log.Texts);

        static long Size(string file) => new FileInfo(file).Length;
    }

    [Fact]
    public void Each_different_failure_is_logged_once_and_so_is_that_it_is_over()
    {
        using var certificate = New();
        var key = File.ReadAllText(files.Key);
        File.Delete(files.Key);
        Look(3);
        Assert.Contains("cannot be read", Assert.Single(log.Texts), StringComparison.Ordinal);
        Assert.Contains("a newer one cannot be used: the TLS key file", certificate.Warning, StringComparison.Ordinal);
        files.Renew("second");
        var good = File.ReadAllText(files.Key);
        File.WriteAllText(files.Key, key);
        Look(3);
        Assert.Contains("is not the key of", log.Texts[^1], StringComparison.Ordinal);
        Assert.Equal(2, log.Texts.Count);
        File.WriteAllText(files.Key, good);
        Look(3);
        Assert.Equal("CN=second", Subject(certificate));
        Assert.Contains("was read again", log.Texts[^1], StringComparison.Ordinal);
        Assert.Equal(3, log.Texts.Count);
        Assert.Null(certificate.Warning);

        void Look(int times)
        {
            for (var i = 0; i < times; i++)
            {
                time.Move(TimeSpan.FromSeconds(1));
                Subject(certificate);
            }
        }
    }

    [Fact]
    public async Task The_days_that_are_left_are_said_once_a_day_before_they_run_out()
    {
        files.Write("short", from: time.Now.AddDays(-60), until: time.Now.AddDays(30));
        using var certificate = New();
        Assert.Null(certificate.Warning);
        certificate.Loop.Start();
        time.Move(TimeSpan.FromDays(10) + TimeSpan.FromHours(1));
        foreach (var (days, hours) in ((int, int)[])[(19, 0), (19, 1), (19, 20), (18, 24), (17, 24)])
        {
            time.Move(TimeSpan.FromHours(hours));
            certificate.Loop.Wake();
            await SaidAsync($"is good for {days} more days: renew it");
            Assert.Equal($"it is good for {days} more days: renew it", certificate.Warning);
        }

        Assert.Equal(3, log.Texts.Count);
        time.Move(TimeSpan.FromDays(20));
        Assert.Equal("it has expired: clients refuse it", certificate.Warning);
        files.Write("new", from: time.Now, until: time.Now.AddDays(90));
        time.Move(TimeSpan.FromSeconds(1));
        certificate.Loop.Wake(); // where nobody connects
        await SaidAsync("was read again");
        Assert.Null(certificate.Warning);
    }

    [Fact]
    public void A_certificate_of_days_is_spoken_of_in_the_last_quarter_of_them()
    {
        files.Write("week", from: time.Now.AddDays(-1), until: time.Now.AddDays(6));
        using var certificate = New();
        Assert.Null(certificate.Warning);
        time.Move(TimeSpan.FromDays(4) + TimeSpan.FromHours(7));
        Assert.Equal("it is good for 1 more day: renew it", certificate.Warning);
    }

    [Fact]
    public void One_that_is_not_good_yet_is_spoken_of_once_until_it_is()
    {
        files.Write("early", from: time.Now.AddHours(1), until: time.Now.AddDays(90));
        using var certificate = New();
        const string Only = "only: clients refuse it until then";
        Assert.Matches("is good from .* only: clients will refuse it until then", Assert.Single(log.Texts));
        Assert.EndsWith(Only, certificate.Warning, StringComparison.Ordinal);
        time.Move(TimeSpan.FromHours(1));
        Assert.Null(certificate.Warning);
        Assert.Single(log.Texts);
    }

    [Fact]
    public async Task A_key_that_is_given_to_this_user_is_noticed_though_it_holds_the_same()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows() || !Environment.IsPrivilegedProcess,
            "only root gives files to others");
        using var certificate = New();
        files.Renew("second");
        await ChownAsync("nobody");
        Assert.Equal("CN=first", Look());
        Assert.Contains("belongs to another user", Assert.Single(log.Texts), StringComparison.Ordinal);
        await ChownAsync("root");
        Assert.Equal("CN=second", Look());
        Assert.Null(certificate.Warning);

        string Look()
        {
            time.Move(TimeSpan.FromSeconds(1));
            return Subject(certificate);
        }

        async Task ChownAsync(string user)
        {
            using var chown = System.Diagnostics.Process.Start("chown", [user, files.Key]);
            await chown.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Equal(0, chown.ExitCode);
        }
    }

    [Fact]
    public void What_no_client_can_use_is_refused_in_one_plain_sentence()
    {
        File.WriteAllText(files.Cert, Ed25519);
        Says("has a key of Ed25519, which cannot be served here: use RSA with 2048 bits or more, or ECDSA");
        using (var small = RSA.Create(1024))
            files.Write("small", key: small);
        Says("has an RSA key of 1024 bits, which clients refuse: use RSA with 2048 bits or more");
        using (var curve = ECDsa.Create(ECCurve.CreateFromValue("1.3.132.0.10"))) // secp256k1
            files.Write("curve", key: curve);
        Says("has a key on a curve that TLS clients do not know: use RSA with 2048 bits or more, or ECDSA with");
        files.Write("client", purpose: "1.3.6.1.5.5.7.3.2");
        Says("is not for servers");
        files.Renew("leaf");
        using (var others = new PemFiles())
        {
            var own = File.ReadAllText(files.Cert);
            var theirs = File.ReadAllText(others.Cert);
            const string Begin = "-----BEGIN CERTIFICATE-----";
            File.WriteAllText(files.Cert, own[..own.LastIndexOf(Begin, StringComparison.Ordinal)]
                + theirs[theirs.LastIndexOf(Begin, StringComparison.Ordinal)..]);
        }

        Says("is followed by certificates that did not issue it: put the intermediates of its authority after it");

        void Says(string problem)
        {
            var said = files.Pair.Problem();
            Assert.StartsWith($"the certificate in {files.Cert} {problem}", said, StringComparison.Ordinal);
            Assert.DoesNotContain("\n", said, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void What_is_usual_is_accepted()
    {
        foreach (var curve in (ECCurve[])[ECCurve.NamedCurves.nistP384, ECCurve.NamedCurves.nistP521])
        {
            using var key = ECDsa.Create(curve);
            files.Write("leaf", key: key);
            Assert.Null(files.Pair.Problem());
        }

        files.Write("server", purpose: "1.3.6.1.5.5.7.3.1");
        Assert.Null(files.Pair.Problem());
        using var own = RSA.Create(3072); // as openssl req -x509 makes them
        var request = new CertificateRequest("CN=own", own, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, critical: true));
        using var made = request.CreateSelfSigned(Now.AddDays(-1), Now.AddDays(30));
        File.WriteAllText(files.Cert, made.ExportCertificatePem());
        File.WriteAllText(files.Key, own.ExportPkcs8PrivateKeyPem());
        Assert.Null(files.Pair.Problem());
    }

    [Fact]
    public async Task Of_TLS_1_2_only_suites_are_offered_that_encrypt_and_prove_at_once()
    {
        await using var server = await WebServer.StartAsync(files);
        foreach (var suite in (TlsCipherSuite[])[
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256])
        {
            await using var connection = await server.ConnectAsync(files.Root, SslProtocols.Tls12, suite);
            Assert.Equal(suite, connection.NegotiatedCipherSuite);
        }

        foreach (var suite in (TlsCipherSuite[])[
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384, TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_CCM])
            await Assert.ThrowsAnyAsync<Exception>(() => server.ConnectAsync(files.Root, SslProtocols.Tls12, suite));
    }

    public void Dispose() => files.Dispose();

    private TlsCertificate New() => new(files.Pair, time, log);

    private static string Subject(TlsCertificate certificate) =>
        certificate.Handshake().ServerCertificateContext!.TargetCertificate.Subject;

    private async Task SaidAsync(string text)
    {
        for (var tries = 0; !log.Texts.TakeLast(1).Any(
            line => line.Contains(text, StringComparison.Ordinal)); tries++)
        {
            Assert.True(tries < 500, $"'{text}' was not said, but: {string.Join('\n', log.Texts)}");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }
}
