// Api: one file a resource: routes, handlers and the shape of its JSON together. It translates between the wire and
// the rules and decides nothing itself.

using System.Globalization;
using System.Text.Json;
using Coffer.Http;
using Coffer.Management;
using Coffer.Secrets;

namespace Coffer.Api;

/// <summary>The four verbs of the Secret Store: set, find, list, delete (docs/wire.md).</summary>
/// <param name="store">What carries them out.</param>
/// <param name="teaches">Whether to say once, in a header that SDKs print, how a payload is asked for.</param>
internal sealed class SecretsApi(SecretStore store, bool teaches)
{
    private const string Lesson = "Coffer: this secret's payload is left out. Ask for it with expand[]=payload, and in "
        + "a list with expand[]=data.payload.";

    private int isTaught = teaches ? 0 : 1;

    private const string Root = "/v1/apps/secrets";
    private const int LongestCursor = 5_000;

    public IEnumerable<ApiRoute> Routes =>
    [
        new("POST", Root, SetAsync) { IsBrief = true },
        new("GET", Root, ListAsync),
        new("GET", $"{Root}/find", FindAsync) { IsBrief = true },
        new("POST", $"{Root}/delete", DeleteAsync) { IsBrief = true },
    ];

    private async ValueTask<ApiError?> SetAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("name", "payload", "scope", "expires_at", "if_version", "expand");
        var wantsPayload = WantsPayload(form, onList: false);
        var name = ReadName(form);
        var payload = form.RequiredText("payload", Secret.LongestPayload, isSecret: true);
        var scope = ReadScope(form);

        var outcome = await store.SetAsync(
            request.Caller, scope, name, payload, form.Integer("expires_at"), ReadVersion(form), Claim(request),
            request.Cancelled);
        return Answer(request, outcome, wantsPayload, deleted: false);
    }

    private async ValueTask<ApiError?> FindAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("name", "scope", "expand");
        var wantsPayload = WantsPayload(form, onList: false);
        var name = ReadName(form);

        using var secret = await store.FindAsync(request.Caller, ReadScope(form), name, wantsPayload,
            request.Cancelled);
        if (secret is null)
            return ApiError.NoSuchSecret(name.Text);
        Teach(request, wantsPayload);
        Write(request, secret, wantsPayload);
        return null;
    }

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("scope", "limit", "starting_after", "ending_before", "expand");
        var wantsPayload = WantsPayload(form, onList: true);
        var scope = ReadScope(form);
        var limit = request.Limit;

        var page = await store.ListAsync(
            request.Caller, scope, ReadCursor(form, "starting_after"), ReadCursor(form, "ending_before"), limit,
            wantsPayload, request.Cancelled);
        request.Hold(page.Room);
        if (page.Secrets.Count > 0)
            Teach(request, wantsPayload);
        if (page.Damaged > 0)
            request.Headers["Coffer-Damaged-Secrets"] = page.Damaged.ToString(CultureInfo.InvariantCulture);
        request.WriteList(page.Secrets, page.HasMore, (json, secret) =>
        {
            using (secret)
                WriteSecret(json, secret, wantsPayload, deleted: false);
        });
        return null;
    }

    private void Teach(ApiRequest request, bool wantsPayload)
    {
        if (!wantsPayload && Interlocked.Exchange(ref isTaught, 1) == 0)
            request.Headers["Stripe-Notice"] = Lesson;
    }

    private async ValueTask<ApiError?> DeleteAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("name", "scope", "if_version", "expand");
        var wantsPayload = WantsPayload(form, onList: false);
        var name = ReadName(form);

        var outcome = await store.DeleteAsync(
            request.Caller, ReadScope(form), name, wantsPayload, ReadVersion(form), Claim(request), request.Cancelled);
        return Answer(request, outcome, wantsPayload, deleted: true);
    }

    private static SecretName ReadName(StripeForm form) => new(form.RequiredText("name", SecretName.LongestName).Span);

    private static Scope ReadScope(StripeForm form)
    {
        if (!form.Has("scope"))
            throw ApiError.ParameterMissing("scope");
        form.ObjectOf("scope", "type", "user");
        var type = form.RequiredText("scope[type]", 5_000).Span;
        var isUser = type.SequenceEqual("user"u8);
        if (!isUser && !type.SequenceEqual("account"u8))
            throw ApiError.NotOneOf("scope[type]", "account", "user");

        var user = form.Text("scope[user]", Scope.LongestUser);
        return (isUser, user) switch
        {
            (true, null) => throw ApiError.ParameterMissing("scope[user]"),
            (true, { } id) => Scope.ForUser(id.Span),
            (false, null) => Scope.Account,
            (false, _) => throw ApiError.UserWithAccountScope(),
        };
    }

    private static long? ReadVersion(StripeForm form) =>
        form.Integer("if_version") switch
        {
            null => null,
            >= 0 and var version => version,
            _ => throw ApiError.IntegerTooSmall("if_version", 0),
        };

    private static SecretStore.Cursor? ReadCursor(StripeForm form, string param) =>
        form.Text(param, LongestCursor) is { } id
            ? new SecretStore.Cursor(System.Text.Encoding.UTF8.GetString(id.Span), param)
            : null;

    private static bool WantsPayload(StripeForm form, bool onList)
    {
        var (payload, scope) = onList ? ("data.payload", "data.scope") : ("payload", "scope");
        var wants = false;
        foreach (var property in form.Strings("expand"))
        {
            if (property == payload)
                wants = true;
            else if (property != scope && !(onList && property == "data")) // both are there anyway
                throw ApiError.NotExpandable(property, onList);
        }

        return wants;
    }

    private static IdempotencyClaim? Claim(ApiRequest request) =>
        request.IdempotencyKey is { } key ? new IdempotencyClaim(key, request.Caller.Origin.RequestId) : null;

    private static ApiError? Answer(ApiRequest request, WriteOutcome outcome, bool wantsPayload, bool deleted)
    {
        if (outcome.OriginalRequest is { } original)
        {
            request.Headers["Idempotent-Replayed"] = "true";
            request.Headers["Original-Request"] = original;
        }

        if (outcome.Secret is not { } secret)
            return outcome.Error;
        using (secret)
            Write(request, secret, wantsPayload, deleted);
        return null;
    }

    private static void Write(ApiRequest request, Secret secret, bool wantsPayload, bool deleted = false)
    {
        request.Headers["Coffer-Secret-Version"] = secret.Version.ToString(CultureInfo.InvariantCulture);
        WriteSecret(request.Json, secret, wantsPayload, deleted);
    }

    /// <summary>A secret as the management plane shows it: with whose it is, and its version.</summary>
    public static void WriteOwned(Utf8JsonWriter json, Owned owned, bool wantsPayload)
    {
        if (owned.Secret is { } secret)
            WriteSecret(json, secret, wantsPayload, deleted: false, owned);
        else
            WriteDamaged(json, owned);
    }

    // What the row says of itself, and that it may not be so. Its name, scope and payload are not known.
    private static void WriteDamaged(Utf8JsonWriter json, Owned owned)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, owned.Id);
        json.WriteString("object"u8, "apps.secret"u8);
        json.WriteString("account"u8, owned.Account);
        json.WriteString("app"u8, owned.App);
        json.WriteNumberOrNull("created"u8, owned.Created);
        json.WriteBoolean("damaged"u8, true);
        json.WriteNumberOrNull("expires_at"u8, owned.ExpiresAt);
        json.WriteBoolean("livemode"u8, owned.Livemode);
        json.WriteNull("name"u8);
        json.WriteNull("scope"u8);
        json.WriteNumber("version"u8, owned.Version);
        json.WriteEndObject();
    }

    // The order of the reference's example: id and object, then the alphabet.
    private static void WriteSecret(Utf8JsonWriter json, Secret secret, bool wantsPayload, bool deleted,
        Owned? owned = null)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, secret.Id);
        json.WriteString("object"u8, "apps.secret"u8);
        if (owned is not null)
        {
            json.WriteString("account"u8, owned.Account);
            json.WriteString("app"u8, owned.App);
        }

        json.WriteNumber("created"u8, secret.Created);
        if (deleted)
            json.WriteBoolean("deleted"u8, true);
        json.WriteNumberOrNull("expires_at"u8, secret.ExpiresAt);
        json.WriteBoolean("livemode"u8, secret.Livemode);
        json.WriteString("name"u8, secret.Name.Utf8.Span);
        if (wantsPayload)
            json.WriteString("payload"u8, secret.Payload!.Value.Span);
        json.WriteStartObject("scope"u8);
        json.WriteString("type"u8, secret.Scope.Type);
        if (secret.Scope.IsUser)
            json.WriteString("user"u8, secret.Scope.User.Span);
        json.WriteEndObject();
        if (owned is not null)
            json.WriteNumber("version"u8, secret.Version);
        json.WriteEndObject();
    }
}
