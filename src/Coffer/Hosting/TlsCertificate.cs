using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Coffer.Hosting;

/// <summary>
/// The certificate that https is served with, from two PEM files. They are read again at a handshake, at most once a
/// second, and every hour; what has changed is served from then on, and connections that are open stay as they are. A
/// new pair that is broken is not served: the one before is. The log says each once.
/// </summary>
internal sealed class TlsCertificate : IDisposable
{
    /// <summary>
    /// How long before its end a certificate is spoken of: certbot renews 30 days before it. Of one that is good for
    /// days only, in the last quarter of its time.
    /// </summary>
    public static readonly TimeSpan Early = TimeSpan.FromDays(21);

    private const int EarlyShare = 4;

    private static readonly TimeSpan BetweenHours = TimeSpan.FromHours(1);

    /// <summary>
    /// All of TLS 1.3, and of 1.2 what encrypts and proves at once: CBC has been attacked too often. With a list of its
    /// own .NET resumes no session, which costs a handshake. On Windows the system's settings say what is offered.
    /// </summary>
    private static readonly CipherSuitesPolicy? Suites = OperatingSystem.IsWindows() ? null : new CipherSuitesPolicy(
    [
        TlsCipherSuite.TLS_AES_128_GCM_SHA256, TlsCipherSuite.TLS_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]);

    private static readonly List<SslApplicationProtocol> Both =
        [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromSeconds(1);

    private readonly string certFile;
    private readonly string keyFile;
    private readonly TimeProvider time;
    private readonly ILogger<TlsCertificate> log;
    private readonly Lock looking = new();

    private volatile SslStreamCertificateContext served;
    private (DateTimeOffset From, DateTimeOffset Until) lifetime;
    private string seen = "";
    private string? failure;
    private long reminded = long.MaxValue;
    private DateTimeOffset looked;

    /// <exception cref="ConfigurationException">The files are no pair that can be served.</exception>
    public TlsCertificate(string certFile, string keyFile, TimeProvider time, ILogger<TlsCertificate> log)
    {
        (this.certFile, this.keyFile, this.time, this.log, looked) = (certFile, keyFile, time, log, time.GetUtcNow());
        seen = Contents();
        served = Load();
        Remind();
        Loop = new Loop("certificate", HourAsync, time, log);
    }

    /// <summary>Looks at the files where nobody connects, and at how long they are good.</summary>
    public Loop Loop { get; }

    /// <summary>That it is soon not good any more, or is not, and why no other is served; null is well.</summary>
    public string? Warning
    {
        get
        {
            var left = DaysLeft();
            var why = Volatile.Read(ref failure) is { } found ? $"; a newer one cannot be used: {found}" : "";
            if (left is null)
                return why.Length > 0 ? why[2..] : null;
            return (left < 0 ? "it has expired: clients refuse it" : $"it is good for {Days(left)}: renew it") + why;
        }
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
        return LifetimeOf([certificate, .. chain]);
    }

    private static (DateTimeOffset From, DateTimeOffset Until) LifetimeOf(X509Certificate2[] all) =>
        (new DateTimeOffset(all.Max(each => each.NotBefore.ToUniversalTime())),
            new DateTimeOffset(all.Min(each => each.NotAfter.ToUniversalTime())));

    /// <summary>
    /// What a handshake is made with: TLS 1.2 or 1.3, HTTP/2 or 1.1, and the chain as the file has it.
    /// </summary>
    /// <param name="withHttp2">Whether HTTP/2 is offered beside HTTP/1.1.</param>
    public SslServerAuthenticationOptions Handshake(bool withHttp2 = true)
    {
        LookAgain();
        return Options(served, withHttp2);
    }

    private static SslServerAuthenticationOptions Options(SslStreamCertificateContext context, bool withHttp2) => new()
    {
        ServerCertificateContext = context,
#pragma warning disable CA5398 // Older versions stay refused, whatever the system's configuration allows.
        EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
#pragma warning restore CA5398
        CipherSuitesPolicy = Suites,
        ApplicationProtocols = withHttp2 ? Both : [SslApplicationProtocol.Http11],
        AllowRenegotiation = false,
    };

    /// <summary>Reads the files now, whether or not they seem to have changed.</summary>
    public void Reload()
    {
        lock (looking)
            Read(isAsked: true);
    }

    public void Dispose() => Loop.Dispose();

    // Before they are read: what is written meanwhile is a change to be seen at the next look.
    private void Read(bool isAsked)
    {
        looked = time.GetUtcNow();
        try
        {
            var found = Contents();
            if (found == seen && !isAsked)
                return;
            seen = found;
            served = Load();
            Volatile.Write(ref failure, null);
            log.LogInformation("The TLS certificate was read again, and is good until {Until:yyyy-MM-ddTHH:mm:ssZ}",
                lifetime.Until.UtcDateTime);
            Remind();
        }
        catch (ConfigurationException e)
        {
            if (isAsked || e.Message != failure)
                log.LogError("The changed TLS certificate cannot be used, so the previous one stays in use: {Problem}",
                    e.Message);
            Volatile.Write(ref failure, e.Message);
        }
    }

    // What the files hold, whatever their times say, which a copy may keep. One that cannot be read is a state too.
    private string Contents()
    {
        return $"{Of(certFile)} {Of(keyFile)}";

        static string Of(string path)
        {
            try
            {
                using var file = Open(path);
                return Convert.ToHexString(SHA256.HashData(file))
                    + (OperatingSystem.IsWindows() ? "" : File.GetUnixFileMode(file.SafeFileHandle));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return e.Message;
            }
        }
    }

    private Task<TimeSpan> HourAsync(CancellationToken ct)
    {
        lock (looking)
            Read(isAsked: false);
        Remind();
        return Task.FromResult(BetweenHours);
    }

    // Once a day, at most.
    private void Remind()
    {
        var left = DaysLeft();
        if (left == Interlocked.Exchange(ref reminded, left ?? long.MaxValue) || left is null)
            return;
        if (left < 0)
            log.LogWarning(
                "The TLS certificate in {File} expired at {Time:yyyy-MM-ddTHH:mm:ssZ}: clients will refuse it",
                certFile, lifetime.Until.UtcDateTime);
        else
            log.LogWarning("The TLS certificate in {File} is good for {Days}: renew it", certFile, Days(left));
    }

    private static string Days(long? left) => left switch
    {
        0 => "less than a day",
        1 => "1 more day",
        _ => $"{left} more days",
    };

    // Null while that is long.
    private long? DaysLeft()
    {
        var (from, until) = lifetime;
        var (left, share) = (until - time.GetUtcNow(), (until - from) / EarlyShare);
        return left > (share < Early ? share : Early) ? null : (long)Math.Floor(left.TotalDays);
    }

    private void LookAgain()
    {
        // One handshake looks, the others continue with what there is.
        if (!looking.TryEnter())
            return;
        try
        {
            if ((time.GetUtcNow() - looked).Duration() >= BetweenLooks)
                Read(isAsked: false);
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
        lifetime = LifetimeOf([certificate, .. chain]);
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
        var first = chain[0];
        chain.RemoveAt(0);
        if (TlsSoundness.Problem(first, chain) is { } problem)
            throw Unusable($"the certificate in {certFile} {problem}");
        var key = ReadText(keyFile, "TLS key file", ownersAlone: true);
        try
        {
            var certificate = X509Certificate2.CreateFromPem(cert, key);
            var context = SslStreamCertificateContext.Create(certificate, chain, offline: true);
            return TlsSoundness.Try(Options(context, withHttp2: false)) is { } refused
                ? throw Unusable($"no client can connect with the certificate in {certFile}: {refused}")
                : certificate;
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

    private static FileStream Open(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    private static ConfigurationException Unusable(string problem) =>
        new(problem, "Correct these files, or change --tls-cert and --tls-key.");
}
