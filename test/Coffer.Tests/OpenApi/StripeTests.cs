using System.Text.Json;
using System.Text.Json.Nodes;

namespace Coffer.Tests.OpenApi;

/// <summary>
/// Where openapi/v1.json and Stripe's published document overlap they say the same, but for what is listed here with a
/// reason. What Stripe's says was recorded in test/fixtures/stripe-openapi.json, which names its version and origin.
/// </summary>
public sealed class StripeTests
{
    /// <summary>What only Stripe's document says (-), or only ours (+), and why.</summary>
    private const string Policies = "content_security_policy_granted, content_security_policy_pending";

    private static readonly (string Why, string[] Facts)[] Differences =
    [
        ("What may be expanded is a few words, and anything else is refused: the document says which", [
            .. Expandable("GET /v1/apps/secrets", "data, data.payload, data.scope"),
            .. Expandable("GET /v1/apps/secrets/find", "payload, scope"),
            .. Expandable("POST /v1/apps/secrets", "payload, scope"),
            .. Expandable("POST /v1/apps/secrets/delete", "payload, scope"),
        ]),
        ("Compare and set is an extension, which plain clients do not notice", [
            "+ POST /v1/apps/secrets takes if_version", "+ POST /v1/apps/secrets/delete takes if_version",
        ]),
        ("A payload that was not asked for is left out, as Stripe does too, and is never null", [
            "- apps.secret.payload is string or null", "+ apps.secret.payload is string",
        ]),
        ("It is null and not left out, as in the examples of Stripe's reference", [
            "+ apps.secret always has expires_at",
        ]),
        ("An ephemeral key is for a user of an account, and not for an object of payments; it has nothing to expand", [
            "- POST /v1/ephemeral_keys takes customer", "- POST /v1/ephemeral_keys takes issuing_card",
            "- POST /v1/ephemeral_keys takes nonce", "- POST /v1/ephemeral_keys takes verification_session",
            "- POST /v1/ephemeral_keys takes expand", "- DELETE /v1/ephemeral_keys/{key} takes expand",
            "+ POST /v1/ephemeral_keys takes user", "+ POST /v1/ephemeral_keys needs user",
            "+ POST /v1/ephemeral_keys takes expires_in", "+ POST /v1/ephemeral_keys takes permissions",
            "+ ephemeral_key has account", "+ ephemeral_key always has account",
            "+ ephemeral_key has user", "+ ephemeral_key has permissions",
        ]),
        ("An id in a path has at most 255 characters of a few kinds, which its pattern says", [
            "- DELETE /v1/ephemeral_keys/{key} key has at most 5000 characters",
            "- GET /v1/apps/installs/{install} install has at most 5000 characters",
            "- POST /v1/apps/installs/{install} install has at most 5000 characters",
            "- POST /v1/apps/installs/{install}/uninstall install has at most 5000 characters",
        ]),
        ("There are no cards and payments, and no dashboard", [
            "- api_errors has advice_code", "- api_errors has charge", "- api_errors has decline_code",
            "- api_errors has network_advice_code", "- api_errors has network_decline_code",
            "- api_errors has payment_intent", "- api_errors has payment_method",
            "- api_errors has payment_method_type", "- api_errors has request_log_url",
            "- api_errors has setup_intent", "- api_errors has source",
            "- api_errors.type is one of api_error, card_error, idempotency_error, invalid_request_error",
            "+ api_errors.type is one of api_error, idempotency_error, invalid_request_error",
        ]),
        ("Every error says what to do", ["+ api_errors always has message"]),
        ("No app has an authorization code, nobody approves, and nobody is noted as who installed", [
            "- apps.install.auth_code is string or null", "+ apps.install.auth_code is null",
            "- apps.install.created_by is string or null", "+ apps.install.created_by is null",
            "+ apps.install always has auth_code", "+ apps.install always has created_by",
            "+ apps.install.approval_required is one of false",
            "+ POST /v1/apps/installs code_challenge_method is one of S256",
            "- POST /v1/apps/installs code_challenge_method has at most 5000 characters",
            "- POST /v1/apps/installs code_challenge has at most 5000 characters",
        ]),
        ("What an install can be here is less", [
            "+ apps.install.permissions_granted[] is one of secret_write",
            "- apps.install.channel is one of private_live, private_test, public, review, testing",
            "+ apps.install.channel is one of private_live, private_test, public, testing",
            "- apps.install.status is one of install_failed, installed, installing, uninstall_failed, uninstalling",
            "+ apps.install.status is one of installed, uninstalling",
            "- GET /v1/apps/installs status has at most 5000 characters",
        ]),
        ("Of events there is no filter yet, and nothing to expand; names are for those who ask", [
            "- GET /v1/events takes created", "- GET /v1/events takes delivery_success",
            "- GET /v1/events takes type", "- GET /v1/events takes types", "- GET /v1/events takes expand",
            "- GET /v1/events/{event} takes expand", "+ GET /v1/events takes names",
            "+ GET /v1/events/{event} takes names", "- GET /v1/events/{event} event has at most 5000 characters",
        ]),
        ("An event is an app's, and always has its version and what did it; how far it is sent operators see", [
            "+ event has app", "- event has context", "+ event always has api_version",
            "- event.api_version is string or null", "+ event.api_version is string",
            "- event.pending_webhooks is integer", "+ event.pending_webhooks is one of 0",
            "+ event always has request", "- event.request is null", "+ event.request is object",
            "+ event.request has id", "+ event.request always has id", "+ event.request has idempotency_key",
            "+ event.request always has idempotency_key",
        ]),
        ("What it happened to is one of a few kinds, of which the document says the fields; none has earlier values", [
            "- event.data has previous_attributes", "+ event.data.object always has object",
            .. Fields("event.data.object", "account app channel created damaged deleted expires_at id livemode name "
                + "object receipt receipt_id replaced_by scope secrets status type version"),
        ]),
        ("Only both policies can be expanded", [
            .. Expandable("GET /v1/apps/installs",
                "data, data.content_security_policy_granted, data.content_security_policy_pending"),
            .. Expandable("POST /v1/apps/installs", Policies),
            .. Expandable("GET /v1/apps/installs/{install}", Policies),
            .. Expandable("POST /v1/apps/installs/{install}", Policies),
            .. Expandable("POST /v1/apps/installs/{install}/uninstall", Policies),
        ]),
    ];

    [Fact]
    public void The_documents_agree_but_for_what_is_listed_with_a_reason()
    {
        var shared = ApiDocument.Api.Operations.Select(Named)
            .Intersect(ApiDocument.Stripe.Operations.Select(Named)).ToHashSet();
        var (ours, theirs) = (Facts(ApiDocument.Api, shared), Facts(ApiDocument.Stripe, shared));
        List<string> found = [.. Whole(theirs.Except(ours)).Select(fact => $"- {fact}"),
            .. Whole(ours.Except(theirs)).Select(fact => $"+ {fact}")];
        var listed = Differences.SelectMany(each => each.Facts).ToList();
        Assert.True(!found.Except(listed).Any(), $"not listed:\n{string.Join('\n', found.Except(listed).Order())}");
        Assert.True(!listed.Except(found).Any(), $"not so:\n{string.Join('\n', listed.Except(found).Order())}");
        Assert.True(ours.Intersect(theirs).Count() > 60, "hardly anything was compared");
    }

    [Fact]
    public void Every_operation_of_the_extract_is_compared() => Assert.Empty(
        ApiDocument.Stripe.Operations.Select(Named).Except(ApiDocument.Api.Operations.Select(Named)));

    [Fact]
    public void The_version_is_that_of_Stripes_document() =>
        Assert.Equal((string)ApiDocument.Stripe.Root["info"]!["version"]!,
            (string)ApiDocument.Api.Root["info"]!["version"]!);

    // An install and an event have names in our paths, and are ids in Stripe's.
    private static string Named(ApiOperation operation) => $"{operation}"
        .Replace("/installs/{id}", "/installs/{install}", StringComparison.Ordinal)
        .Replace("/events/{id}", "/events/{event}", StringComparison.Ordinal);

    private static string[] Expandable(string operation, string words) =>
        [$"- {operation} expand[] has at most 5000 characters", $"+ {operation} expand[] is one of {words}"];

    private static IEnumerable<string> Fields(string of, string names) =>
        names.Split(' ').Select(name => $"+ {of} has {name}");

    // Of what only one of them has, what it is like says nothing more.
    private static IEnumerable<string> Whole(IEnumerable<string> facts)
    {
        var all = facts.ToList();
        var gone = all.Where(fact => !fact.Contains(" always has ", StringComparison.Ordinal)).Select(
            fact => fact.Replace(" takes ", " ", StringComparison.Ordinal).Replace(
                " has ", ".", StringComparison.Ordinal)).Except(all).ToList();
        return all.Where(fact => !gone.Any(each => fact.StartsWith($"{each} ", StringComparison.Ordinal)
            || fact.StartsWith($"{each}[", StringComparison.Ordinal)));
    }

    /// <summary>
    /// What a document says, one fact a line. How long texts of an answer may be is left out: that is Stripe's usual
    /// 5,000 for nearly everything, ids too.
    /// </summary>
    private static HashSet<string> Facts(ApiDocument document, HashSet<string> shared)
    {
        var facts = new HashSet<string>();
        foreach (var operation in document.Operations.Where(operation => shared.Contains(Named(operation))))
        {
            var called = Named(operation);
            foreach (var parameter in operation.Parameters.Where(parameter => parameter.In != "header"))
            {
                var name = parameter is { In: "path", Name: "id" }
                    ? called.Split('{', '}')[1]
                    : parameter.Name;
                facts.Add($"{called} takes {name}");
                if (parameter.IsRequired)
                    facts.Add($"{called} needs {name}");
                AddValue(document, parameter.Schema, $"{called} {name}", isSent: true, facts);
            }

            var answer = operation.Answer(200)!["content"]!["application/json"]!["schema"]!;
            AddValue(document, answer.AsObject(), $"{called} answer", isSent: false, facts);
            facts.Add($"{called} refuses with {operation.Answer(400)!["content"]!["application/json"]!["schema"]}");
        }

        foreach (var (name, schema) in document.Schemas.Where(each =>
            ApiDocument.Api.Schemas.ContainsKey(each.Key) && ApiDocument.Stripe.Schemas.ContainsKey(each.Key)))
            AddValue(document, schema!.AsObject(), name, isSent: false, facts);
        return facts;
    }

    private static void AddValue(
        ApiDocument document, JsonObject schema, string what, bool isSent, HashSet<string> facts)
    {
        // A reference to what is compared by itself.
        if ((string?)schema["$ref"] is { } reference && reference.Split('/')[^1] is var name
            && ApiDocument.Api.Schemas.ContainsKey(name) && ApiDocument.Stripe.Schemas.ContainsKey(name))
        {
            facts.Add($"{what} is {name}");
            return;
        }

        schema = document.Resolve(schema);
        if (Types(schema) is { Length: > 0 } types)
            facts.Add($"{what} is {types}");
        var words = schema["const"] is { } only ? [only] : schema["enum"]?.AsArray().ToList() ?? [];
        if (words.Count > 0)
            facts.Add($"{what} is one of {string.Join(", ", words.Select(word => $"{word}").Order())}");
        if (isSent && schema["maxLength"] is { } most)
            facts.Add($"{what} has at most {most} characters");
        foreach (var required in schema["required"]?.AsArray() ?? [])
            facts.Add($"{what} always has {required}");
        foreach (var (member, value) in schema["properties"]?.AsObject() ?? [])
        {
            facts.Add($"{what} has {member}");
            AddValue(document, value!.AsObject(), $"{what}.{member}", isSent, facts);
        }

        if (schema["items"] is JsonObject items)
            AddValue(document, items, $"{what}[]", isSent, facts);
    }

    // OpenAPI 3.0 has "nullable", and 3.1 a type of that name.
    private static string Types(JsonObject schema)
    {
        List<string> types = schema["type"] switch
        {
            null => [],
            JsonArray several => [.. several.Select(type => (string)type!)],
            var one => [(string)one!],
        };
        if (schema["const"]?.GetValueKind() == JsonValueKind.String)
            types.Add("string");
        if ((bool?)schema["nullable"] is true)
            types.Add("null");
        return string.Join(" or ", types);
    }
}
