using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace Coffer.Hosting;

/// <summary>
/// The certificate that https is served with, from two PEM files. They are read again at a handshake, at most once a
/// second, and every hour; what has changed is served from then on, and connections that are open stay as they are. A
/// new pair that is broken is not served: the one before is. The log says each once.
/// </summary>
internal sealed class TlsCertificate : IDisposable
{
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

    // Beside the days that are left: the certificate is not good yet, or is good for long.
    private const long NotYet = long.MinValue, Long = long.MaxValue;

    private static readonly List<SslApplicationProtocol> Both =
        [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromSeconds(1);

    private readonly TlsPair files;
    private readonly TimeProvider time;
    private readonly ILogger<TlsCertificate> log;
    private readonly Lock looking = new();

    private volatile SslStreamCertificateContext served;
    private TlsPair.Lifetime lifetime;
    private string seen = "";
    private string? failure;
    private long reminded = Long;
    private DateTimeOffset looked;

    /// <exception cref="ConfigurationException">The files are no pair that can be served.</exception>
    public TlsCertificate(TlsPair files, TimeProvider time, ILogger<TlsCertificate> log)
    {
        (this.files, this.time, this.log, looked) = (files, time, log, time.GetUtcNow());
        seen = files.State();
        served = Load();
        Remind();
        Loop = new Loop("certificate", HourAsync, time, log);
    }

    /// <summary>Looks at the files where nobody connects, and at how long they are good.</summary>
    public Loop Loop { get; }

    /// <summary>How long the one that is served is still good; less than nothing once it has expired.</summary>
    public TimeSpan Left => lifetime.Until - time.GetUtcNow();

    /// <summary>That it is soon not good any more, or is not, and why no other is served; null is well.</summary>
    public string? Warning
    {
        get
        {
            var newer = Volatile.Read(ref failure) is { } found ? $"a newer one cannot be used: {found}" : null;
            string[] all = [.. ((string?[])[TroubleWithTime(), newer]).OfType<string>()];
            return all.Length == 0 ? null : string.Join("; ", all);
        }
    }

    /// <summary>
    /// What a handshake is made with: TLS 1.2 or 1.3, HTTP/2 or 1.1, and the chain as the file has it.
    /// </summary>
    /// <param name="withHttp2">Whether HTTP/2 is offered beside HTTP/1.1.</param>
    public SslServerAuthenticationOptions Handshake(bool withHttp2 = true)
    {
        LookAgain();
        return Options(served, withHttp2);
    }

    /// <summary>The same of any certificate.</summary>
    /// <param name="context">The certificate, and its chain.</param>
    /// <param name="withHttp2">Whether HTTP/2 is offered beside HTTP/1.1.</param>
    public static SslServerAuthenticationOptions Options(SslStreamCertificateContext context, bool withHttp2) => new()
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
            var found = files.State();
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
        var now = time.GetUtcNow();
        var (stands, left) = (lifetime.At(now), lifetime.DaysLeft(now));
        var said = stands switch
        {
            CertificateTime.Good => Long,
            CertificateTime.ToCome => NotYet,
            _ => left,
        };
        if (said == Interlocked.Exchange(ref reminded, said))
            return;
        if (stands == CertificateTime.ToCome)
            log.LogWarning(
                "The TLS certificate in {File} is good from {Time:yyyy-MM-ddTHH:mm:ssZ} only: clients will refuse it "
                    + "until then", files.Cert, lifetime.From.UtcDateTime);
        else if (stands == CertificateTime.Expired)
            log.LogWarning(
                "The TLS certificate in {File} expired at {Time:yyyy-MM-ddTHH:mm:ssZ}: clients will refuse it",
                files.Cert, lifetime.Until.UtcDateTime);
        else if (stands == CertificateTime.Ending)
            log.LogWarning("The TLS certificate in {File} is good for {Days}: renew it", files.Cert, Days(left));
    }

    private string? TroubleWithTime()
    {
        var now = time.GetUtcNow();
        return lifetime.At(now) switch
        {
            CertificateTime.ToCome =>
                $"it is good from {UnixTime.Shown(lifetime.From.ToUnixTimeSeconds())} only: clients refuse it until "
                    + "then",
            CertificateTime.Expired => "it has expired: clients refuse it",
            CertificateTime.Ending => $"it is good for {Days(lifetime.DaysLeft(now))}: renew it",
            _ => null,
        };
    }

    private static string Days(long left) => left switch
    {
        0 => "less than a day",
        1 => "1 more day",
        _ => $"{left} more days",
    };

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
        var certificate = files.Read(out var chain);
        lifetime = TlsPair.Lifetime.Of([certificate, .. chain]);
        return SslStreamCertificateContext.Create(certificate, chain, offline: true);
    }
}
