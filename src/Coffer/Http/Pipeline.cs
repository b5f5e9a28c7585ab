using System.Buffers;
using System.Text.RegularExpressions;
using Coffer.Access;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;

namespace Coffer.Http;

/// <summary>
/// Every request under /v1 or, without CORS and accounts, under /admin/v1, in the order in which its answer is decided
/// (docs/wire.md, "Order of checks"): route, then key and account, Stripe-Version, Idempotency-Key, parameters, and
/// last the handler. Whatever happens, the answer is JSON, complete, and has the headers that were recorded of
/// Stripe's.
/// </summary>
internal sealed partial class Pipeline
{
    /// <summary>The largest body that is read, in bytes, before anything is parsed.</summary>
    public const int LargestBody = 64 * 1024;

    /// <summary>
    /// What <c>Stripe-Version</c> says when the client asks for none: the version of the specification that was
    /// implemented.
    /// </summary>
    private const string OwnStripeVersion = "2026-09-30.endive";

    private const int LongestIdempotencyKey = 255;
    private const string RequestIdPrefix = "req_";
    private const string RequestIdAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    private readonly Routes routes;
    private readonly Authentication authentication;
    private readonly Gate gate;
    private readonly bool isAdmin;
    private readonly string docs;
    private readonly Faults faults;

    /// <param name="routes">Who answers what.</param>
    /// <param name="authentication">Who asks.</param>
    /// <param name="gate">What decides about acts, and where damaged rows are reported.</param>
    /// <param name="isAdmin">
    /// Whether it is the management plane: no page in a browser may use it, and no header names an account.
    /// </param>
    /// <param name="docs">Address of the documentation page that errors point to.</param>
    /// <param name="faults">Where failures go, under the request's id.</param>
    public Pipeline(
        IEnumerable<ApiRoute> routes, Authentication authentication, Gate gate, bool isAdmin, Uri docs,
        Faults faults)
    {
        if (routes.FirstOrDefault(route => isAdmin && route.Act is null) is { } open)
            throw new InvalidOperationException($"{open.Method} {open.Path} names no act: nobody decides about it");
        this.routes = new Routes(routes);
        this.authentication = authentication;
        this.gate = gate;
        this.isAdmin = isAdmin;
        this.docs = docs.ToString();
        this.faults = faults;
    }

    /// <param name="context">The request.</param>
    /// <param name="exchange">What observers are given of it; null if there are none.</param>
    public async Task RunAsync(HttpContext context, Exchange? exchange = null)
    {
        var requestId = NewRequestId();
        exchange?.RequestId = requestId;
        // Whatever the log has from here on, the framework's lines too, has this id.
        CurrentRequest.Id = context.TraceIdentifier = requestId;
        SetCommonHeaders(context);
        if (HttpMethods.IsOptions(context.Request.Method) && !isAdmin)
        {
            SetPreflightHeaders(context);
            return;
        }

        using var json = StripeJson.Begin();
        ApiError? error;
        try
        {
            error = await AnswerAsync(context, requestId, json, exchange);
        }
        catch (ApiError refused)
        {
            error = refused;
        }
        catch (OperationCanceledException e) when (context.RequestAborted.IsCancellationRequested
            || Cause.Find<ConnectionAbortedException>(e) is not null)
        {
            exchange?.Abandon();
            return; // nobody is there to answer
        }
        catch (BadHttpRequestException e)
        {
            error = e.StatusCode == StatusCodes.Status413PayloadTooLarge
                ? ApiError.BodyTooLarge(LargestBody)
                : ApiError.UnreadableRequest(e.StatusCode);
        }
        catch (Exception e)
        {
            error = ApiError.Internal(e);
        }

        if (error is not null)
        {
            exchange?.Refusal = error;
            // A damaged row is named once in a while: who asks for it again and again must not fill the log.
            if (error.Damage is { } damage)
                await gate.ReportAsync([damage], requestId);
            else if (error.IsFault)
                faults.Report(error, requestId);
            SetError(context.Response, error, json);
        }

        if (context.Response.StatusCode == StatusCodes.Status401Unauthorized)
        {
            // As recorded: a stranger receives no version. The request id is not as recorded: operators look for it.
            context.Response.Headers.WWWAuthenticate = "Bearer realm=\"Coffer\"";
            context.Response.Headers.Remove("Stripe-Version");
        }

        context.Response.Headers["Request-Id"] = requestId;
        var body = json.Finish();
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = body.Length;
        await context.Response.BodyWriter.WriteAsync(body, context.RequestAborted);
    }

    private async ValueTask<ApiError?> AnswerAsync(
        HttpContext context, string requestId, StripeJson json, Exchange? exchange)
    {
        var (request, response) = (context.Request, context.Response);

        // 1. The raw path, as it was sent: no decoding, no trailing slash, no other case.
        var target = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
        if (!target.StartsWith('/'))
            target = WithoutAuthority(target);
        var mark = target.IndexOf('?', StringComparison.Ordinal);
        var path = mark < 0 ? target : target[..mark];
        // Generated documents put a base that ends in a slash before paths that begin with one.
        if (path.StartsWith("//v1/", StringComparison.Ordinal))
            path = path[1..];
        if (routes.Find(request.Method, path) is not var (route, about))
            return ApiError.UnknownRoute(request.Method, path);
        exchange?.Route = route.Path;
        if (!route.IsBrief)
            await ReadingThread.LeaveAsync();

        // 2.
        var (caller, refusal) = await authentication.FindCallerAsync(
            context, requestId, readsAccount: !isAdmin, isUrgent: route.IsUrgent);
        if (caller is null)
            return refusal;
        exchange?.Caller = caller;
        // As Stripe does: by whichever header it came.
        if (!isAdmin && caller.Account is { } account
            && request.Headers["Stripe-Account"].Count + request.Headers["Stripe-Context"].Count > 0)
            response.Headers["Stripe-Account"] = account;
        // An app that has chosen its origins answers to each of them by name.
        if (!isAdmin && caller is { App.Origins.Count: > 0, Origin.WebOrigin: { } origin })
            response.Headers.AccessControlAllowOrigin = origin;

        // 3. Any well-formed version is accepted, however new: SDKs are released more often than servers.
        if (request.Headers["Stripe-Version"] is { Count: > 0 } version)
        {
            if (version.Count > 1)
                return ApiError.RepeatedHeader("Stripe-Version");
            if (!StripeVersion().IsMatch(version.ToString()))
                return ApiError.MalformedStripeVersion(version.ToString());
            response.Headers["Stripe-Version"] = version;
        }

        // 4. Only a POST is claimed by its key.
        string? idempotencyKey = null;
        if (request.Headers["Idempotency-Key"] is { Count: > 0 } key && HttpMethods.IsPost(request.Method))
        {
            if (key.Count > 1)
                return ApiError.RepeatedHeader("Idempotency-Key");
            idempotencyKey = key.ToString();
            if (idempotencyKey.Length is 0 or > LongestIdempotencyKey
                || idempotencyKey.AsSpan().ContainsAnyExceptInRange(' ', '~'))
                return ApiError.MalformedIdempotencyKey();
            response.Headers["Idempotency-Key"] = idempotencyKey;
            response.Headers["Original-Request"] = requestId;
        }

        // 5. What had to be waited for may come after its key was revoked: the key is proven again.
        var reading = ReadBodyAsync(request, context.RequestAborted);
        var isLate = !reading.IsCompleted;
        using var body = await reading;
        exchange?.BytesIn = body?.Length ?? 0;
        if (isLate)
            (caller, refusal) = await authentication.FindCallerAsync(context, requestId, readsAccount: !isAdmin,
                isAgain: true);
        if (caller is null)
            return refusal;
        using var form = new StripeForm(mark < 0 ? default : target.AsSpan(mark + 1),
            body is null ? default : body.Span);

        // 6.
        if (route.Act is { } act)
            gate.Require(caller, act);
        var error = await route.Handler(new ApiRequest(caller, about, form, json, context)
        {
            IdempotencyKey = idempotencyKey,
        });
        if (error is null && idempotencyKey is not null)
            response.Headers["Stripe-Should-Retry"] = "false";
        return error;
    }

    /// <summary>
    /// Path and query of the absolute form, which proxies send; as they were sent, too, where the framework has decoded
    /// them.
    /// </summary>
    private static string WithoutAuthority(string target)
    {
        var scheme = target.IndexOf("://", StringComparison.Ordinal);
        var end = scheme < 0 ? -1 : target.AsSpan(scheme + 3).IndexOfAny('/', '?', '#');
        return end >= 0 && target[scheme + 3 + end] == '/' ? target[(scheme + 3 + end)..] : "/";
    }

#pragma warning disable RS0030 // A request id is a name, not a secret: it need not be unguessable.
    private static string NewRequestId() => string.Create(RequestIdPrefix.Length + 14, 0, static (id, _) =>
    {
        RequestIdPrefix.CopyTo(id);
        Random.Shared.GetItems(RequestIdAlphabet, id[RequestIdPrefix.Length..]);
    });
#pragma warning restore RS0030

    private static async ValueTask<SecretBytes?> ReadBodyAsync(HttpRequest request, CancellationToken ct)
    {
        // The server knows whether a body may come. A length alone does not tell: HTTP/2 and chunked bodies have none.
        var detection = request.HttpContext.Features.GetRequiredFeature<IHttpRequestBodyDetectionFeature>();
        if (!detection.CanHaveBody || request.ContentLength == 0)
            return null;
        if (request.ContentLength is not null && RefusalOf(request) is { } refused)
            throw refused;

        // The server's own limit ends the reading of a body that is longer than it says.
        var reader = request.BodyReader;
        while (true)
        {
            var read = await reader.ReadAsync(ct);
            if (read.Buffer.Length > 0 && request.ContentLength is null && RefusalOf(request) is { } refusal)
            {
                reader.AdvanceTo(read.Buffer.Start);
                throw refusal;
            }

            if (read.IsCompleted)
            {
                var body = SecretBytes.Rent((int)read.Buffer.Length);
                read.Buffer.CopyTo(body.Span);
                reader.AdvanceTo(read.Buffer.End);
                return body;
            }

            reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        }
    }

    // Of a body that is there; one whose length was not told may yet turn out to be empty, and then it is none.
    private static ApiError? RefusalOf(HttpRequest request)
    {
        if (request.Headers.ContentEncoding.Count > 0)
            return ApiError.ContentEncoding();
        if (request.ContentLength > LargestBody)
            return ApiError.BodyTooLarge(LargestBody);
        var type = request.ContentType.AsSpan();
        if (type.IndexOf(';') is var parameters and >= 0)
            type = type[..parameters];
        type = type.Trim(' ');
        return type.IsEmpty || type.Equals("application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase)
            ? null
            : ApiError.NotFormEncoded();
    }

    private void SetCommonHeaders(HttpContext context)
    {
        var headers = context.Response.Headers;
        headers.CacheControl = "no-cache, no-store";
        headers.ContentSecurityPolicy = "default-src 'none'; frame-ancestors 'none'";
        headers.XContentTypeOptions = "nosniff";
        headers["Stripe-Version"] = OwnStripeVersion;
        if (isAdmin)
            return;

        // CORS: cookies are never read here, so any origin may ask; it still needs a key.
        headers.Vary = "Origin";
        headers.AccessControlAllowOrigin = "*";
        headers.AccessControlAllowCredentials = "true";
        headers.AccessControlAllowMethods = "GET, HEAD, PUT, PATCH, POST, DELETE";
        headers.AccessControlExposeHeaders =
            "Request-Id, Stripe-Manage-Version, Stripe-Should-Retry, X-Stripe-External-Auth-Required, "
                + "X-Stripe-Privileged-Session-Required, Coffer-Secret-Version, Retry-After, Idempotent-Replayed, "
                + "Original-Request";
        headers.AccessControlMaxAge = "300";
    }

    private static void SetPreflightHeaders(HttpContext context)
    {
        var response = context.Response;
        response.Headers.AccessControlAllowHeaders =
            "authorization, content-type, idempotency-key, stripe-account, stripe-context, stripe-version, " +
            "stripe-app, user-agent, x-stripe-client-user-agent, x-stripe-client-telemetry" +
            Tracing.AskedFor(context.Request.Headers.AccessControlRequestHeaders);
        response.Headers.Remove("Stripe-Version");
        response.ContentLength = 0;
    }

    private void SetError(HttpResponse response, ApiError error, StripeJson json)
    {
        response.StatusCode = error.Status;
        if (error.ShouldRetry is { } retry)
            response.Headers["Stripe-Should-Retry"] = retry ? "true" : "false";
        if (error.RetryAfter is { } after)
            response.Headers.RetryAfter = ((int)after.TotalSeconds).ToString(
                System.Globalization.CultureInfo.InvariantCulture);
        json.WriteError(error, docs);
    }

    [GeneratedRegex(
        @"\A[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(\.[a-z_]{1,32}){0,2}"
            + @"(; ?[a-z0-9_]{1,64}=v[0-9]{1,9}){0,20}\z",
        RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex StripeVersion();
}
