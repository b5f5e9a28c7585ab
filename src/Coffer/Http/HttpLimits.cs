namespace Coffer.Http;

/// <summary>Limits that stand in front of all parsing.</summary>
internal static class HttpLimits
{
    /// <summary>
    /// All headers of a request, in bytes; over HTTP/2 with the request line. An honest one has under 2 KiB.
    /// </summary>
    public const int LargestHead = 32 * 1024;

    /// <summary>An official SDK sends about a dozen, proxies put a handful before them.</summary>
    public const int MostHeaders = 64;

    /// <summary>
    /// Requests at once on one HTTP/2 connection: what RFC 9113 asks for at least, and browsers and SDKs expect.
    /// </summary>
    public const int MostStreams = 100;

    /// <summary>The table that compresses HTTP/2 headers, in bytes each connection: the protocol's default.</summary>
    public const int HeaderTable = 4096;

    /// <summary>
    /// A head is one packet or a few, and a handshake is too. Who takes longer holds connections open on purpose.
    /// </summary>
    public static readonly TimeSpan HeadTimeout = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Longer than proxies and SDKs keep an idle connection, so that it is they who close it and no request meets a
    /// closed one.
    /// </summary>
    public static readonly TimeSpan IdleTimeout = TimeSpan.FromSeconds(130);
}
