using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace Coffer.Client;

/// <summary>
/// How a server is reached, if not directly and with the certificates that the system trusts. No variable of the
/// environment (<c>http_proxy</c> and its like) is asked: a key must not go to a proxy that nobody thought of.
/// </summary>
public sealed record CofferConnection
{
    /// <summary>
    /// An http proxy, as <c>http://HOST:PORT</c>, with user and password in it if it asks for them; null is none. A
    /// server on this machine is never reached by one.
    /// </summary>
    public Uri? Proxy { get; init; }

    /// <summary>
    /// The certificates of the authorities, or of the server itself, that are trusted instead of the system's; null is
    /// the system's.
    /// </summary>
    public X509Certificate2Collection? Authorities { get; init; }

    /// <summary>What sends requests to a server, and follows nothing.</summary>
    internal static SocketsHttpHandler Handler(Uri url, CofferConnection? connection)
    {
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, UseProxy = false };
        if (connection?.Proxy is { } proxy && !IsHere(url))
            (handler.UseProxy, handler.Proxy) = (true, new WebProxy(proxy) { Credentials = CredentialsOf(proxy) });
        if (connection?.Authorities is { } authorities)
        {
            var policy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
            };
            policy.CustomTrustStore.AddRange(authorities);
            handler.SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = policy };
        }

        return handler;
    }

    /// <summary>Why there was no answer, in words that name the cause.</summary>
    internal static string Why(HttpRequestException e)
    {
        if (!IsOfCertificate(e))
            return e.Message;
        Exception cause = e;
        while (cause.InnerException is { } inner)
            cause = inner;
        return $"its certificate is not trusted, or TLS fails: {cause.Message}";
    }

    /// <summary>Whether TLS failed: another try would fail too.</summary>
    internal static bool IsOfCertificate(HttpRequestException e) =>
        e.HttpRequestError == HttpRequestError.SecureConnectionError && e.InnerException is AuthenticationException;

    private static NetworkCredential? CredentialsOf(Uri proxy) => proxy.UserInfo.Split(':', 2) switch
    {
        [var user, var password] => new(Uri.UnescapeDataString(user), Uri.UnescapeDataString(password)),
        [{ Length: > 0 } user] => new(Uri.UnescapeDataString(user), ""),
        _ => null,
    };

    private static bool IsHere(Uri url) => url.IsLoopback
        || (IPAddress.TryParse(url.Host.Trim('[', ']'), out var address)
            && IPAddress.IsLoopback(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address));
}
