using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Coffer.EndToEnd;

/// <summary>A self-signed certificate for 127.0.0.1 and its key, as PEM files in a directory.</summary>
public sealed record PemPair(string Cert, string Key)
{
    /// <param name="directory">Where they go.</param>
    /// <param name="daysLeft">How long it is good, after as many days and 25.</param>
    public static PemPair Make(TemporaryDirectory directory, int daysLeft = 30)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        var now = TimeProvider.System.GetUtcNow();
        using var certificate = request.CreateSelfSigned(now.AddDays(daysLeft - 31), now.AddDays(daysLeft));
        var pair = new PemPair(directory.File("cert.pem"), directory.File("key.pem"));
        File.WriteAllText(pair.Cert, certificate.ExportCertificatePem());
        File.WriteAllText(pair.Key, key.ExportPkcs8PrivateKeyPem());
        File.SetUnixFileMode(pair.Key, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return pair;
    }

    /// <summary>A client that trusts this certificate and no other.</summary>
    public HttpClient Client(Uri url)
    {
        var trust = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
        };
        trust.CustomTrustStore.Add(X509CertificateLoader.LoadCertificateFromFile(Cert));
        return new HttpClient(
            new SocketsHttpHandler { SslOptions = { CertificateChainPolicy = trust } })
        { BaseAddress = url };
    }
}
