using System.Collections.Concurrent;
using System.Net;
using Coffer.Access;

namespace Coffer.Http;

/// <summary>
/// A request and its answer, as those learn of it who observe. What it has may be logged, but for <see cref="Caller"/>:
/// there is no query, header, name, user or payload in it, and no path but that of a known route.
/// </summary>
/// <param name="context">The request.</param>
/// <param name="began">When it began, as the clock's timestamp.</param>
internal sealed class Exchange(HttpContext context, long began)
{
    /// <summary>The status of a request whose client was gone before it was answered, as nginx has it.</summary>
    public const int ClientGone = 499;

    private const string OtherMethod = "_OTHER";

    /// <summary>The method; <c>_OTHER</c> of one that HTTP does not know, as OpenTelemetry has it.</summary>
    public string Method { get; } = Known(context.Request.Method);

    /// <summary>Whether it came over TLS to this server.</summary>
    public bool IsHttps { get; } = context.Request.IsHttps;

    /// <summary>The client: what the connection, or a trusted proxy, says. Null if there is none.</summary>
    public IPAddress? Address { get; } = Networks.Plain(context.Connection.RemoteIpAddress);

    /// <summary>
    /// What the answer's <c>Request-Id</c> says; null where there is none, as on health and on pages.
    /// </summary>
    public string? RequestId { get; set; }

    /// <summary>The path of the route, with <c>{name}</c> in place of an id; null if there is none.</summary>
    public string? Route { get; set; }

    /// <summary>Who asked; null as long as no key was proven. It has ids that are not for a log.</summary>
    public Caller? Caller { get; set; }

    /// <summary>What the answer refuses it with, or null.</summary>
    public ApiError? Refusal { get; set; }

    /// <summary>Bytes of the body that were read.</summary>
    public long BytesIn { get; set; }

    /// <summary>Bytes of the answer's body.</summary>
    public long BytesOut { get; private set; }

    /// <summary>The status that was answered, or <see cref="ClientGone"/>.</summary>
    public int Status { get; private set; }

    /// <summary>From when the whole head was there until the answer was given to the connection.</summary>
    public TimeSpan Duration { get; private set; }

    /// <summary>The id of the key, if it is a known one, refused or not.</summary>
    public string? KeyId => Caller?.KeyId ?? Refusal?.KeyId;

    /// <summary>Whether it succeeded: a status below 400.</summary>
    public bool IsSuccess => Status < StatusCodes.Status400BadRequest;

    /// <summary>Why it did not succeed, in one fixed word such as <c>revoked_key</c>; null if it did.</summary>
    public string? Reason => (Refusal, Status) switch
    {
        ({ } refusal, not ClientGone) => refusal.Reason,
        (_, ClientGone) => "client_gone",
        (_, StatusCodes.Status503ServiceUnavailable) => "not_ready",
        (_, >= StatusCodes.Status500InternalServerError) => "internal",
        _ => null,
    };

    /// <summary>Nobody is there to answer.</summary>
    public void Abandon() => Status = ClientGone;

    /// <summary>It is over.</summary>
    /// <param name="time">What measured its beginning.</param>
    /// <param name="isAnswered">Whether the answer was given to the connection.</param>
    public void End(TimeProvider time, bool isAnswered)
    {
        Duration = time.GetElapsedTime(began);
        if (!isAnswered && context.RequestAborted.IsCancellationRequested)
            Abandon();
        if (Status == ClientGone)
            return;
        Status = isAnswered ? context.Response.StatusCode : StatusCodes.Status500InternalServerError;
        BytesOut = context.Response.ContentLength ?? 0;
        // What a pipeline does not answer is a page, which is known by its whole path.
        if (isAnswered && RequestId is null)
            Route = context.Request.Path.Value;
    }

    private static string Known(string method) => method is "GET" or "HEAD" or "POST" or "PUT" or "PATCH" or "DELETE"
        or "OPTIONS" or "TRACE" or "CONNECT" ? method : OtherMethod;
}

/// <summary>
/// Who is told of each request once it is answered, and of what was refused before it was a request. They are called
/// where the request is served: they neither throw, nor wait, nor keep it.
/// </summary>
internal sealed class Observers
{
    private Action<Exchange>? ofRequests;
    private Action<EarlyRefusal, IPAddress?>? ofRefusals;
    private readonly long[] refusals = new long[Enum.GetValues<EarlyRefusal>().Length];
    private readonly ConcurrentDictionary<string, IPAddress> connected = [];

    /// <summary>Whether anybody observes requests. Without, nothing is made for them.</summary>
    public bool AreThere => ofRequests is not null;

    /// <summary>Before the server answers: from then on there is no lock.</summary>
    public void Add(Action<Exchange> observer) => ofRequests += observer;

    /// <inheritdoc cref="Add(Action{Exchange})"/>
    public void Add(Action<EarlyRefusal, IPAddress?> observer) => ofRefusals += observer;

    /// <summary>A request was answered.</summary>
    public void Tell(Exchange exchange) => ofRequests?.Invoke(exchange);

    /// <summary>Something was refused before it was a request.</summary>
    /// <param name="kind">What.</param>
    /// <param name="address">Who was at the other end of the connection, if that is known.</param>
    public void Tell(EarlyRefusal kind, IPAddress? address)
    {
        Interlocked.Increment(ref refusals[(int)kind]);
        ofRefusals?.Invoke(kind, Networks.Plain(address));
    }

    /// <summary>A connection was made: what refuses something on it may know no more than its id.</summary>
    public void Connect(string connectionId, IPAddress? address)
    {
        if (ofRefusals is not null && address is not null)
            connected[connectionId] = address;
    }

    /// <summary>A connection is over.</summary>
    public void Disconnect(string connectionId) => connected.TryRemove(connectionId, out _);

    /// <summary>Who is at the other end of a connection, if that is known.</summary>
    public IPAddress? AddressOf(string? connectionId) =>
        connectionId is null ? null : connected.GetValueOrDefault(connectionId);

    /// <summary>How often that was refused since the start.</summary>
    public long CountOf(EarlyRefusal kind) => Volatile.Read(ref refusals[(int)kind]);
}

/// <summary>The request that is being served, for what is said meanwhile.</summary>
internal static class CurrentRequest
{
    private static readonly AsyncLocal<string?> Served = new();

    /// <summary>Its id; null where none is served. What a request begins and does not wait for has it too.</summary>
    public static string? Id
    {
        get => Served.Value;
        set => Served.Value = value;
    }
}

/// <summary>What is refused before the pipeline knows of a request.</summary>
internal enum EarlyRefusal
{
    /// <summary>A connection for which there is no room.</summary>
    NoRoom,

    /// <summary>A connection on which TLS was not agreed on, or that ended before it was.</summary>
    TlsFailed,

    /// <summary>A head that was not whole in time.</summary>
    SlowHead,

    /// <summary>A body that is sent, or an answer that is read, too slowly.</summary>
    TooSlow,

    /// <summary>What is no request of HTTP.</summary>
    Malformed,

    /// <summary>A request line or headers that are too large or too many.</summary>
    HeadTooLarge,

    /// <summary>Frames or compressed headers that HTTP/2 does not have.</summary>
    Http2Error,
}

/// <summary>Early refusals as words.</summary>
internal static class EarlyRefusalWords
{
    public static string Word(this EarlyRefusal kind) => kind switch
    {
        EarlyRefusal.NoRoom => "no_room",
        EarlyRefusal.TlsFailed => "tls_failed",
        EarlyRefusal.SlowHead => "slow_head",
        EarlyRefusal.TooSlow => "too_slow",
        EarlyRefusal.Malformed => "malformed",
        EarlyRefusal.HeadTooLarge => "head_too_large",
        _ => "http2_error",
    };
}
