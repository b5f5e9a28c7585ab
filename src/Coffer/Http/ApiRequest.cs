using Coffer.Access;

namespace Coffer.Http;

/// <summary>What a handler is given: who asks, with what parameters, and where to write the answer.</summary>
internal sealed class ApiRequest(Caller caller, Target target, StripeForm form, StripeJson json, HttpContext context)
{
    public Caller Caller => caller;

    public Target Target => target;

    public StripeForm Form => form;

    /// <summary>
    /// The answer of a handler that does not refuse. The status is 200: the .NET SDK accepts no other as success.
    /// </summary>
    public System.Text.Json.Utf8JsonWriter Json => json.Writer;

    /// <summary>1 to 255 characters, on a POST that has one.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>
    /// How many elements a list gives: <c>limit</c>, clamped to 1 to 100; 10 if it was not sent (docs/wire.md, "List").
    /// </summary>
    public int Limit => (int)Math.Clamp(form.Integer("limit") ?? 10, 1, 100);

    /// <summary>Writes a page of a list.</summary>
    /// <param name="page">Its elements.</param>
    /// <param name="hasMore">Whether more follow in the direction of the walk.</param>
    /// <param name="shape">Writes an element.</param>
    public void WriteList<T>(IEnumerable<T> page, bool hasMore, Action<System.Text.Json.Utf8JsonWriter, T> shape)
    {
        Json.WriteStartObject();
        Json.WriteString("object"u8, "list"u8);
        Json.WriteStartArray("data"u8);
        foreach (var element in page)
            shape(Json, element);
        Json.WriteEndArray();
        Json.WriteBoolean("has_more"u8, hasMore);
        Json.WriteString("url"u8, target.Path);
        Json.WriteEndObject();
    }

    /// <summary>Something that the answer needs until it is sent, and that is then disposed of.</summary>
    public void Hold(IDisposable? held)
    {
        if (held is not null)
            context.Response.RegisterForDispose(held);
    }

    public CancellationToken Cancelled => context.RequestAborted;

    /// <summary>Headers of the answer.</summary>
    public IHeaderDictionary Headers => context.Response.Headers;
}

/// <summary>Answers a request: null when it wrote the answer, or the error that refuses it.</summary>
internal delegate ValueTask<ApiError?> Handler(ApiRequest request);

/// <summary>An entry of the route table.</summary>
/// <param name="Method">GET, POST or DELETE.</param>
/// <param name="Path">The path, compared byte for byte; <c>{name}</c> in place of a segment is one id.</param>
/// <param name="Handler">What answers.</param>
internal sealed record ApiRoute(string Method, string Path, Handler Handler)
{
    /// <summary>
    /// Whether it takes rights away, or sets what an app may do: such requests have a rate of their own.
    /// </summary>
    public bool IsUrgent { get; init; }

    /// <summary>
    /// Whether an embedded store answers it within microseconds, but for what is waited for: it may begin where the
    /// connection is read (<see cref="ReadingThread"/>).
    /// </summary>
    public bool IsBrief { get; init; }

    /// <summary>What it does, on the management plane; null elsewhere.</summary>
    public Act? Act { get; init; }
}

/// <summary>What a request is about: its method and path, and the ids in the path.</summary>
internal sealed record Target(string Method, string Path, IReadOnlyDictionary<string, string> Ids)
{
    /// <summary>The id instead of <c>{name}</c>: 1 to 255 letters, digits, <c>_</c> and <c>-</c>.</summary>
    public string Id(string name) => Ids[name];
}
