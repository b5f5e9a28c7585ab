using System.Net.Security;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Coffer.Settings;

namespace Coffer.Hosting;

/// <summary>
/// Two PEM files, as they are at the moment: a certificate with what comes after it, and its key. What no client could
/// use is refused, and so is a key that others may have read.
/// </summary>
/// <param name="Cert">Where the certificate is, first in its file, and its chain.</param>
/// <param name="Key">Where its key is.</param>
internal sealed record TlsPair(string Cert, string Key)
{
    /// <summary>Null if https is not served.</summary>
    public static TlsPair? Of(CofferOptions options) =>
        options is { TlsCert: { } cert, TlsKey: { } key } ? new TlsPair(cert, key) : null;

    /// <summary>When all certificates of a file are good.</summary>
    /// <param name="From">The first moment.</param>
    /// <param name="Until">The last one.</param>
    [StructLayout(LayoutKind.Auto)]
    public readonly record struct Lifetime(DateTimeOffset From, DateTimeOffset Until)
    {
        // certbot renews 30 days before the end
        private static readonly TimeSpan Usual = TimeSpan.FromDays(21);

        private const int Share = 4;

        /// <summary>
        /// How long before its end a certificate is spoken of. Of one that is good for days only, that is the last
        /// quarter of its time.
        /// </summary>
        private TimeSpan Early => (Until - From) / Share is var share && share < Usual ? share : Usual;

        /// <summary>How they stand at a moment.</summary>
        public CertificateTime At(DateTimeOffset now)
        {
            if (Until < now)
                return CertificateTime.Expired;
            if (From > now)
                return CertificateTime.ToCome;
            return Until - now <= Early ? CertificateTime.Ending : CertificateTime.Good;
        }

        /// <summary>How many whole days are left; negative once it has expired.</summary>
        public long DaysLeft(DateTimeOffset now) => (long)Math.Floor((Until - now).TotalDays);

        public static Lifetime Of(X509Certificate2[] all) =>
            new(new DateTimeOffset(all.Max(each => each.NotBefore.ToUniversalTime())),
                new DateTimeOffset(all.Min(each => each.NotAfter.ToUniversalTime())));
    }

    /// <summary>What is wrong with the files; null if they can be served.</summary>
    public string? Problem()
    {
        try
        {
            using (Read(out _))
                return null;
        }
        catch (ConfigurationException e)
        {
            return e.Message;
        }
    }

    /// <exception cref="ConfigurationException">The files are no pair that can be served.</exception>
    public Lifetime ReadLifetime()
    {
        using var certificate = Read(out var chain);
        return Lifetime.Of([certificate, .. chain]);
    }

    /// <summary>
    /// What the files hold, whatever their times say, which a copy may keep; whose they are, and who may touch them.
    /// That one cannot be read is a state too.
    /// </summary>
    public string State()
    {
        return $"{Of(Cert)} {Of(Key)}";

        static string Of(string path)
        {
            try
            {
                using var file = Open(path);
                return Convert.ToHexString(SHA256.HashData(file))
                    + (OperatingSystem.IsWindows() ? "" : FileStatus.FactsOf(file.SafeFileHandle));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return e.Message;
            }
        }
    }

    /// <param name="chain">The certificates after the first.</param>
    /// <exception cref="ConfigurationException">The files are no pair that can be served.</exception>
    public X509Certificate2 Read(out X509Certificate2Collection chain)
    {
        chain = [];
        var cert = ReadText(Cert, "certificate file");
        try
        {
            chain.ImportFromPem(cert);
        }
        catch (CryptographicException e)
        {
            throw Unusable($"the certificate file {Cert} is damaged: {e.Message}");
        }

        if (chain.Count == 0)
            throw Unusable($"the certificate file {Cert} holds no certificate in PEM form");
        var first = chain[0];
        chain.RemoveAt(0);
        if (TlsSoundness.Problem(first, chain) is { } problem)
            throw Unusable($"the certificate in {Cert} {problem}");
        var key = ReadText(Key, "TLS key file", ownersAlone: true);
        try
        {
            var certificate = X509Certificate2.CreateFromPem(cert, key);
            var context = SslStreamCertificateContext.Create(certificate, chain, offline: true);
            return TlsSoundness.Try(TlsCertificate.Options(context, withHttp2: false)) is { } refused
                ? throw Unusable($"no client can connect with the certificate in {Cert}: {refused}")
                : certificate;
        }
        // the latter for a key that is another's
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            if (key.Contains("ENCRYPTED", StringComparison.Ordinal))
                throw Unusable($"the TLS key file {Key} is encrypted: decrypt it, with mode 0600");
            if (!key.Contains("PRIVATE KEY-----", StringComparison.Ordinal))
                throw Unusable($"the TLS key file {Key} holds no private key in PEM form");
            throw Unusable($"the TLS key file {Key} is not the key of the first certificate in {Cert}, or is damaged");
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

    private static FileStream Open(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    private static ConfigurationException Unusable(string problem) =>
        new(problem, "Correct these files, or change --tls-cert and --tls-key.");
}

/// <summary>How a certificate stands in time: good for long, or soon not any more; not good yet, or no more.</summary>
internal enum CertificateTime
{
    Good,
    Ending,
    ToCome,
    Expired,
}
