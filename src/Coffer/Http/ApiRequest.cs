using Coffer.Access;

namespace Coffer.Http;

/// <summary>What a handler is given: who asks, with what parameters, and where to write the answer.</summary>
internal sealed class ApiRequest(Caller caller, Target target, StripeForm form, StripeJson json, string? idempotencyKey, IHeaderDictionary headers, CancellationToken ct)
{
    public Caller Caller => caller;

    public Target Target => target;

    public StripeForm Form => form;

    /// <summary>The answer of a handler that does not refuse. The status is 200: the .NET SDK takes no other for success.</summary>
    public System.Text.Json.Utf8JsonWriter Json => json.Writer;

    /// <summary>1 to 255 characters, on a POST that has one.</summary>
    public string? IdempotencyKey => idempotencyKey;

    public CancellationToken Cancelled => ct;

    /// <summary>Headers of the answer.</summary>
    public IHeaderDictionary Headers => headers;
}

/// <summary>Answers a request: null when it wrote the answer, or the error that refuses it.</summary>
internal delegate ValueTask<ApiError?> Handler(ApiRequest request);

/// <summary>An entry of the route table.</summary>
/// <param name="Method">GET, POST or DELETE.</param>
/// <param name="Path">The path, compared byte for byte; <c>{name}</c> in place of a segment is one id.</param>
/// <param name="Handler">What answers.</param>
internal sealed record ApiRoute(string Method, string Path, Handler Handler);

/// <summary>What a request is about: its method and path, and the ids in the path.</summary>
internal sealed record Target(string Method, string Path, IReadOnlyDictionary<string, string> Ids)
{
    /// <summary>The id in the place of <c>{name}</c>: 1 to 255 letters, digits, <c>_</c> and <c>-</c>.</summary>
    public string Id(string name) => Ids[name];
}
