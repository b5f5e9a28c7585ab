using System.Text.Json;

namespace Coffer.Client;

/// <summary>The server refused a request, or could not be used.</summary>
public sealed class CofferException : Exception
{
    /// <summary>An answer that never came or made no sense.</summary>
    /// <param name="message">What happened.</param>
    /// <param name="inner">Why.</param>
    public CofferException(string message, Exception inner) : base(message, inner)
    {
    }

    internal CofferException(string message) : base(message)
    {
    }

    /// <summary>The HTTP status, or 0 if there was no answer.</summary>
    public int Status { get; private init; }

    /// <summary>Whether the request was understood and what it names is not there.</summary>
    public bool IsAbsent => this is { Status: 404, Code: "resource_missing" };

    /// <summary>A stable word such as <c>resource_missing</c>, or null.</summary>
    public string? Code { get; private init; }

    /// <summary>The parameter at fault, or null.</summary>
    public string? Param { get; private init; }

    /// <summary>The id under which the server's log has more, or null.</summary>
    public string? RequestId { get; private init; }

    /// <summary>What answered is not Coffer, or not what was asked for.</summary>
    /// <param name="why">What is wrong with the answer.</param>
    /// <param name="inner">Why, or null.</param>
    internal static CofferException NotCoffers(string why, Exception? inner = null) =>
        new($"the answer is not what was asked for, {why}: check that a Coffer server is at that address", inner!);

    /// <summary>A refusal.</summary>
    internal static CofferException From(HttpResponseMessage response, JsonElement body)
    {
        var status = (int)response.StatusCode;
        var error = body.ValueKind == JsonValueKind.Object && body.TryGetProperty("error", out var found)
            ? found
            : default;
        var message = Field("message") ?? $"the server answered {status}";
        if (response.Headers.Location is { } elsewhere)
            message = $"the server answered {status} and names {Shown(elsewhere)}, which is not followed: give the " +
                "address of Coffer itself";
        return new CofferException(message)
        {
            Status = status,
            Code = Field("code"),
            Param = Field("param"),
            RequestId = response.Headers.TryGetValues("Request-Id", out var ids) ? ids.FirstOrDefault() : null,
        };

        string? Field(string name) =>
            error.ValueKind == JsonValueKind.Object && error.TryGetProperty(name, out var value)
                && value.ValueKind == JsonValueKind.String
                ? value.GetString()
                : null;
    }

    // Neither a password nor what a query may have in it.
    private static string Shown(Uri address) =>
        address.IsAbsoluteUri ? address.GetLeftPart(UriPartial.Authority).Replace($"{address.UserInfo}@", "",
            StringComparison.Ordinal) : "another path";
}
