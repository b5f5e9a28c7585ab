using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Coffer.Hosting;

namespace Coffer.Tests.Support;

/// <summary>
/// A certificate for 127.0.0.1, signed by an intermediate that is signed by a root, and its key, as PEM files.
/// </summary>
internal sealed class PemFiles : IDisposable
{
    // The system's clock checks the chain, not the test's.
    private static readonly DateTimeOffset Now = TimeProvider.System.GetUtcNow();

    private readonly TemporaryDirectory directory = new();
    private readonly X509Certificate2 root = Issue("root", null, Now.AddYears(10));
    private readonly X509Certificate2 intermediate;

    public PemFiles()
    {
        intermediate = Issue("intermediate", root, Now.AddYears(5));
        Renew("first");
    }

    public string Cert => directory.File("cert.pem");

    public string Key => directory.File("key.pem");

    public TlsPair Pair => new(Cert, Key);

    public X509Certificate2 Root => root;

    /// <summary>Writes a new pair over the old one.</summary>
    /// <param name="name">The certificate's common name.</param>
    /// <param name="until">When it expires; null is in a year.</param>
    /// <param name="form">The label of the key's PEM.</param>
    public void Renew(string name, DateTimeOffset? until = null, string form = "PRIVATE KEY")
    {
        using AsymmetricAlgorithm key = form == "RSA PRIVATE KEY"
            ? RSA.Create(2048)
            : ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = Issue(name, intermediate, until ?? Now.AddYears(1), key);
        Write(Cert, $"{certificate.ExportCertificatePem()}\n{intermediate.ExportCertificatePem()}\n");
        Write(Key, form switch
        {
            "RSA PRIVATE KEY" => ((RSA)key).ExportRSAPrivateKeyPem(),
            "EC PRIVATE KEY" => ((ECDsa)key).ExportECPrivateKeyPem(),
            "ENCRYPTED PRIVATE KEY" =>
                key.ExportEncryptedPkcs8PrivateKeyPem("password",
                    new PbeParameters(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 1000)),
            _ => key.ExportPkcs8PrivateKeyPem(),
        });
    }

    /// <summary>Writes a pair of another kind over the old one.</summary>
    /// <param name="name">The certificate's common name.</param>
    /// <param name="key">Its key; null is one of P-256.</param>
    /// <param name="purpose">What it is for, by its object identifier; null does not say.</param>
    /// <param name="from">From when it is good; null is for two years.</param>
    /// <param name="until">When it expires; null is in a year.</param>
    public void Write(
        string name, AsymmetricAlgorithm? key = null, string? purpose = null, DateTimeOffset? from = null,
        DateTimeOffset? until = null)
    {
        using var usual = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = Issue(name, intermediate, until ?? Now.AddYears(1), key ?? usual, purpose, from);
        Write(Cert, $"{certificate.ExportCertificatePem()}\n{intermediate.ExportCertificatePem()}\n");
        Write(Key, (key ?? usual).ExportPkcs8PrivateKeyPem());
    }

    public void Dispose()
    {
        root.Dispose();
        intermediate.Dispose();
        directory.Dispose();
    }

    private static void Write(string path, string text)
    {
        File.WriteAllText(path, text);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    private static X509Certificate2 Issue(string name, X509Certificate2? issuer, DateTimeOffset until,
        AsymmetricAlgorithm? leafKey = null, string? purpose = null, DateTimeOffset? since = null)
    {
        using var made = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = leafKey is RSA rsa ? new CertificateRequest($"CN={name}", rsa, HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1)
            : new CertificateRequest($"CN={name}", (ECDsa?)leafKey ?? made, HashAlgorithmName.SHA256);
        if (leafKey is null)
        {
            request.CertificateExtensions.Add(
                new X509BasicConstraintsExtension(certificateAuthority: true, false, 0, critical: true));
        }
        else
        {
            var names = new SubjectAlternativeNameBuilder();
            names.AddIpAddress(System.Net.IPAddress.Loopback);
            names.AddIpAddress(System.Net.IPAddress.IPv6Loopback);
            foreach (var host in (string[])[WebServer.Name, "localhost", "coffer.localhost"])
                names.AddDnsName(host);
            request.CertificateExtensions.Add(names.Build());
        }

        if (purpose is not null)
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], critical: false));
        var from = since ?? Now.AddYears(-2);
        if (issuer is null)
            return request.CreateSelfSigned(from, until);
        var issued = request.Create(
            issuer.SubjectName, X509SignatureGenerator.CreateForECDsa(issuer.GetECDsaPrivateKey()!), from, until,
            RandomNumberGenerator.GetBytes(8));
        return leafKey is null ? issued.CopyWithPrivateKey(made) : issued;
    }
}
