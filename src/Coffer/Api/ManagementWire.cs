using System.Text;
using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;

namespace Coffer.Api;

/// <summary>
/// What the resources of the management plane share: lists, and writes whose answers are kept (docs/management.md).
/// </summary>
internal static class ManagementWire
{
    public const string Root = "/admin/v1";

    public const int LongestGrace = 604_800;

    private const int LongestText = 5_000;

    /// <summary>Writes the answer of a write, new or kept.</summary>
    /// <param name="request">What was asked.</param>
    /// <param name="shape">Writes an outcome.</param>
    /// <param name="write">Carries it out, or gives what was kept.</param>
    /// <param name="answer">Answers with what was written or kept; null answers it as it is.</param>
    public static async ValueTask<ApiError?> AnswerAsync<T>(
        ApiRequest request, Action<Utf8JsonWriter, T> shape, Func<ManagementWriter.Request<T>, Task<Reply>> write,
        Func<ApiRequest, SecretBytes, ValueTask>? answer = null)
    {
        var (method, path) = (request.Target.Method, request.Target.Path);
        var reply = await write(new ManagementWriter.Request<T>(
            request.Caller, request.IdempotencyKey, [.. Encoding.UTF8.GetBytes($"{method} {path}\n"),
                .. request.Form.Canonical()],
            outcome => StripeJson.Written(json => shape(json, outcome))));
        using (reply.Body)
        {
            if (answer is not null)
                await answer(request, reply.Body);
            else
                request.Json.WriteRawValue(reply.Body.Span, skipInputValidation: true);
        }

        if (reply.OriginalRequest is { } original)
        {
            request.Headers["Idempotent-Replayed"] = "true";
            request.Headers["Original-Request"] = original;
        }

        return null;
    }

    /// <summary>What a page is to be next to; null for the first one.</summary>
    /// <exception cref="ApiError">400: two cursors were sent.</exception>
    public static Cursor? ReadCursor(StripeForm form) =>
        (Text(form, "starting_after"), Text(form, "ending_before")) switch
        {
            (null, null) => null,
            ({ } after, null) => new Cursor(after, IsBefore: false),
            (null, { } before) => new Cursor(before, IsBefore: true),
            _ => throw ApiError.BothCursors(),
        };

    /// <summary>Writes a page of what was found with one more than the limit, nearest to the cursor first.</summary>
    public static ApiError? WriteList<T>(ApiRequest request, IReadOnlyList<T> found, int limit, Cursor? cursor,
        Action<Utf8JsonWriter, T> shape)
    {
        var page = found.Take(limit);
        request.WriteList(cursor is { IsBefore: true } ? page.Reverse() : page, found.Count > limit, shape);
        return null;
    }

    public static string? Text(StripeForm form, string param, int longest = LongestText) =>
        form.Text(param, longest) is { } utf8 ? Encoding.UTF8.GetString(utf8.Span) : null;

    public static string RequiredText(StripeForm form, string param, int longest = LongestText) =>
        Text(form, param, longest) ?? throw ApiError.ParameterMissing(param);

    /// <summary>A moment that narrows a list or a search, in Unix seconds; null if it was not sent.</summary>
    public static long? Time(StripeForm form, string param) => UnixTime.RequireBound(param, form.Integer(param));

    /// <summary>An id, or a word of the audit log, which has the same form; null if it was not sent.</summary>
    public static string? Id(StripeForm form, string param) =>
        Text(form, param) is { } id ? RequireId(param, id) : null;

    public static long Grace(StripeForm form) => form.Integer("grace_period") switch
    {
        null => throw ApiError.ParameterMissing("grace_period"),
        >= 0 and <= LongestGrace and var grace => grace,
        _ => throw ApiError.OutOfRange("grace_period", 0, LongestGrace),
    };

    /// <param name="form">What was sent.</param>
    /// <param name="most">Those that there are for such a key.</param>
    public static Permissions? ReadPermissions(StripeForm form, Permissions most)
    {
        if (!form.Has("permissions"))
            return null;
        return PermissionWords.Parse(form.Strings("permissions")) is { } permissions and not Permissions.None
            && (permissions & ~most) == Permissions.None
            ? permissions
            : throw ApiError.NotOneOf("permissions", [.. most.Words()]);
    }

    public static void WriteStrings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (var value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }

    private static string RequireId(string param, string id) => Authentication.IsAccount(id) ? id
        : throw ApiError.Unusable(param, "it must be 1 to 255 letters, digits, '_' and '-'");
}
