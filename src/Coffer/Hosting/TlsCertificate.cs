using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Coffer.Hosting;

/// <summary>
/// The certificate that https is served with, from two PEM files. They are looked at again at a handshake, at most once
/// a second, and what has changed is served from then on; connections that are open stay as they are. A new pair that
/// is broken is logged once and not served: the one before is.
/// </summary>
internal sealed class TlsCertificate
{
    private static readonly List<SslApplicationProtocol> Both =
        [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromSeconds(1);

    private readonly string certFile;
    private readonly string keyFile;
    private readonly TimeProvider time;
    private readonly ILogger<TlsCertificate> log;
    private readonly Lock looking = new();

    private volatile SslStreamCertificateContext served;
    private (Stamp? Cert, Stamp? Key) seen;
    private DateTimeOffset looked;

    /// <exception cref="ConfigurationException">The files are no pair that can be served.</exception>
    public TlsCertificate(string certFile, string keyFile, TimeProvider time, ILogger<TlsCertificate> log)
    {
        (this.certFile, this.keyFile, this.time, this.log, looked) = (certFile, keyFile, time, log, time.GetUtcNow());
        seen = (StampOf(certFile), StampOf(keyFile));
        served = Load();
    }

    /// <summary>What is wrong with the files; null if they can be served.</summary>
    public static string? Problem(string certFile, string keyFile)
    {
        try
        {
            using (Read(certFile, keyFile, out _))
                return null;
        }
        catch (ConfigurationException e)
        {
            return e.Message;
        }
    }

    /// <summary>From when until when all certificates of the file are good.</summary>
    /// <exception cref="ConfigurationException">The files are no pair that can be served.</exception>
    public static (DateTimeOffset From, DateTimeOffset Until) LifetimeOf(string certFile, string keyFile)
    {
        using var certificate = Read(certFile, keyFile, out var chain);
        X509Certificate2[] all = [certificate, .. chain];
        return (new DateTimeOffset(all.Max(each => each.NotBefore.ToUniversalTime())),
            new DateTimeOffset(all.Min(each => each.NotAfter.ToUniversalTime())));
    }

    /// <summary>
    /// What a handshake is made with: TLS 1.2 or 1.3, HTTP/2 or 1.1, and the chain as the file has it.
    /// </summary>
    /// <param name="withHttp2">Whether HTTP/2 is offered beside HTTP/1.1.</param>
    public SslServerAuthenticationOptions Handshake(bool withHttp2 = true)
    {
        LookAgain();
        return new SslServerAuthenticationOptions
        {
            ServerCertificateContext = served,
#pragma warning disable CA5398 // Older versions stay refused, whatever the system's configuration allows.
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
#pragma warning restore CA5398
            ApplicationProtocols = withHttp2 ? Both : [SslApplicationProtocol.Http11],
            AllowRenegotiation = false,
        };
    }

    /// <summary>Reads the files now, whether or not they seem to have changed.</summary>
    public void Reload()
    {
        lock (looking)
        {
            try
            {
                (looked, seen) = (time.GetUtcNow(), (StampOf(certFile), StampOf(keyFile)));
                served = Load();
                log.LogInformation("The TLS certificate was read again, and is good until {Until:yyyy-MM-ddTHH:mm:ssZ}",
                    served.TargetCertificate.NotAfter.ToUniversalTime());
            }
            catch (ConfigurationException e)
            {
                Complain(e);
            }
        }
    }

    private void Complain(ConfigurationException e) => log.LogError(
        "The changed TLS certificate cannot be used, so the previous one stays in use: {Problem}", e.Message);

    private void LookAgain()
    {
        // One handshake looks, the others continue with what there is.
        if (!looking.TryEnter())
            return;
        try
        {
            var now = time.GetUtcNow();
            if ((now - looked).Duration() < BetweenLooks)
                return;
            looked = now;
            var found = (StampOf(certFile), StampOf(keyFile));
            if (found == seen)
                return;
            // Before they are read: what is written meanwhile is a change to be seen at the next look.
            seen = found;
            served = Load();
        }
        catch (ConfigurationException e)
        {
            Complain(e);
        }
        finally
        {
            looking.Exit();
        }
    }

    // A certificate that is not served any more is left to the garbage collector: a handshake may still be at it.
    private SslStreamCertificateContext Load()
    {
        var certificate = Read(certFile, keyFile, out var chain);
        if (certificate.NotAfter.ToUniversalTime() <= time.GetUtcNow().UtcDateTime)
            log.LogWarning(
                "The TLS certificate in {File} expired at {Time:yyyy-MM-ddTHH:mm:ssZ}: clients will refuse it",
                certFile, certificate.NotAfter.ToUniversalTime());
        return SslStreamCertificateContext.Create(certificate, chain, offline: true);
    }

    private static X509Certificate2 Read(string certFile, string keyFile, out X509Certificate2Collection chain)
    {
        chain = [];
        var cert = ReadText(certFile, "certificate file");
        try
        {
            chain.ImportFromPem(cert);
        }
        catch (CryptographicException e)
        {
            throw Unusable($"the certificate file {certFile} is damaged: {e.Message}");
        }

        if (chain.Count == 0)
            throw Unusable($"the certificate file {certFile} holds no certificate in PEM form");
        chain.RemoveAt(0);
        var key = ReadText(keyFile, "TLS key file", ownersAlone: true);
        try
        {
            return X509Certificate2.CreateFromPem(cert, key);
        }
        // the latter for a key that is another's
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            if (key.Contains("ENCRYPTED", StringComparison.Ordinal))
                throw Unusable($"the TLS key file {keyFile} is encrypted: decrypt it, with mode 0600");
            if (!key.Contains("PRIVATE KEY-----", StringComparison.Ordinal))
                throw Unusable($"the TLS key file {keyFile} holds no private key in PEM form");
            throw Unusable(
                $"the TLS key file {keyFile} is not the key of the first certificate in {certFile}, or is damaged");
        }
    }

    private static string ReadText(string path, string what, bool ownersAlone = false)
    {
        try
        {
            // By the open file and not by its name, which may be a link: a link has a mode and a time of its own.
            using var file = Open(path);
            if (ownersAlone
                && FileRule.ProblemOf(path, $"the {what}", open: file.SafeFileHandle) is var (problem, hint))
                throw Unusable($"{problem}. {hint.TrimEnd('.')}");
            using var reader = new StreamReader(file);
            return reader.ReadToEnd();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unusable($"the {what} {path} cannot be read: {e.Message.TrimEnd('.')}");
        }
    }

    /// <returns>Null if there is no such file.</returns>
    private static Stamp? StampOf(string path)
    {
        try
        {
            using var file = Open(path);
            return new Stamp(File.GetLastWriteTimeUtc(file.SafeFileHandle), file.Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static FileStream Open(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    private static ConfigurationException Unusable(string problem) =>
        new(problem, "Correct these files, or change --tls-cert and --tls-key.");

    private readonly record struct Stamp(DateTime Written, long Length);
}
