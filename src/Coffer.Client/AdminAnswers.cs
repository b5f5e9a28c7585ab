using System.Text.Json;
using static Coffer.Client.AnswerField;

namespace Coffer.Client;

/// <summary>What each route of the management plane answers with (docs/management.md).</summary>
internal static class AdminAnswers
{
    private static readonly AnswerField Secrets = Thing("secrets", Number("live"), Number("test"));

    private static readonly AnswerForm App = new("app", Token("id"), Text("account"), Number("created"),
        Flag("disabled"), Text("name"), Texts("origins"), Number("secrets_per_scope").OrNull(),
        Thing("signing_secrets", Number("live"), Number("test")))
    { MayBeDamaged = true };

    private static readonly AnswerForm Account = new("account", Token("id"), Text("app"), Number("created"), Secrets)
    {
        MayBeDamaged = true,
    };

    private static readonly AnswerForm Forgotten = new("account.forgotten", Token("account"), Token("app"),
        Number("forgotten_at"), Secrets, Texts("done"), Texts("pending"), Token("receipt_id"),
        OneOf("receipt_status", "pending", "signed"), Receipt("receipt_status"));

    private static readonly AnswerForm Install = new("apps.install", Token("id"), Text("account"), Token("app"),
        Text("channel"), Number("created"), Flag("livemode"), Token("receipt_id").OrNull(), Text("status"));

    private static readonly AnswerForm ApiKey = new("api_key", Token("id"), Text("account").OrNull(),
        Texts("addresses"), Text("app").OrNull(), Number("created"), Number("expires_at").OrNull(),
        Number("last_used").OrNull(), Flag("livemode").OrNull(), Texts("permissions").OrNull(), Text("type"))
    { MayBeDamaged = true };

    private static readonly AnswerForm Secret = new("apps.secret", Token("id"), Text("account"), Text("app"),
        Number("created"), Number("expires_at").OrNull(), Flag("livemode"), Text("name"), Thing("scope", Text("type")),
        Number("version"))
    { MayBeDamaged = true };

    private static readonly AnswerForm Settings = new("settings", Text("instance"), Text("version"),
        Thing("receipt_key", Text("crv"), Text("kty"), Text("x"), Text("y")),
        Things("settings", Text("name"), Text("source"), Text("value").OrNull()));

    private static readonly AnswerForm Status = new("status", Text("commit").OrNull(), Text("dotnet"),
        Thing("engine", Text("name"), Text("version")), Text("node"), Number("started"), Number("uptime"),
        Text("version"), Things("settings", Text("name"), Text("source"), Text("value").OrNull()));

    private static readonly AnswerField Wrappers = Things("wrappers", Text("id"), Text("url").OrNull());

    private static readonly AnswerForm RootKeys = new("root_keys", Texts("damaged"),
        Things("keys", Number("version"), Number("created"), Text("state"), Wrappers),
        Things("back_ups", Token("id"), Number("created"), Text("file"), Wrappers).OrNull(),
        Number("left"), Number("serial"), Texts("waiting_for"),
        Thing("renewal", Number("created"), Number("pepper"), Text("state")).OrNull());

    private static readonly AnswerForm Confirmation = new("confirmation", Token("keys"), Number("count"));

    private static readonly AnswerForm Shares = new("recovery_shares", Token("anchor"), Token("store"),
        Token("id").OrNull(), Token("shares").OrNull(), Number("count").OrNull(), Number("threshold").OrNull());

    private static readonly AnswerForm TenantKeys = new("tenant_keys", Texts("may_remain"),
        Things("rotations", Token("id"), Text("account").OrNull(), Text("app").OrNull(), Number("created"),
            Number("damaged"), Number("ended").OrNull(), Number("rows"), Text("state"), Number("tenants"),
            Number("tenants_done")),
        Texts("waiting_for"));

    private static readonly AnswerForm Proof = new("receipt", Token("id"), Text("account"), Text("app"), Texts("done"),
        Number("forgotten_at"), Texts("not_reached"), Texts("pending"), Secrets, Number("signed_at").OrNull(),
        OneOf("status", "pending", "signed"), Receipt("status"));

    private static readonly AnswerForm Endpoint = new("webhook_endpoint", Token("id"), Text("api_version"),
        Text("app").OrNull(), Number("created"), Thing("deliveries", Number("failed"), Number("waiting")),
        Text("description"), Texts("enabled_events"), Number("last_delivered").OrNull(), Flag("livemode"),
        Flag("names"), Number("secrets"), OneOf("status", "enabled", "disabled", "failed"), Text("url"))
    { MayBeDamaged = true };

    private static readonly AnswerForm Delivery = new("webhook_delivery", Token("id"), Text("account").OrNull(),
        Number("attempts"), Number("created"), Number("failed").OrNull(), Number("last_status").OrNull(),
        Number("next_attempt").OrNull(), Flag("out_of_order"), Text("type"));

    private static readonly AnswerForm Event = new("event", Token("id"), Text("api_version"), Number("created"),
        Thing("data", Thing("object")), Flag("livemode"), Number("pending_webhooks"),
        Thing("request", Text("id").OrNull()), Text("type"));

    // A segment in braces is the field of the answer that must say the same, or {} if none does.
    private static readonly (string Route, AnswerForm Form)[] Forms =
    [
        ("POST apps", App.With(Token("signing_secret_live"), Token("signing_secret_test"))),
        ("GET apps", App),
        ("GET apps/{id}", App),
        ("POST apps/{id}", App),
        ("DELETE apps/{id}", App.With(True("deleted"))),
        ("POST apps/{id}/signing_secret/roll", App.With(OneSigningSecret())),
        ("GET apps/{app}/accounts", Account),
        ("POST apps/{app}/accounts/{account}/export", Secret.With(Text("payload"))),
        ("POST apps/{app}/accounts/{account}/forget", Forgotten),
        ("POST apps/{app}/accounts/{account}/secrets/{id}/reveal", Secret.With(Text("payload"))),
        ("GET apps/{app}/installs", Install),
        ("POST apps/{app}/installs", Install),
        ("POST apps/{app}/installs/{id}/uninstall", Install.With(Token("receipt_id"))),
        ("GET secrets/search", Secret),
        ("POST api_keys", ApiKey.With(Token("secret"))),
        ("GET api_keys", ApiKey),
        ("GET api_keys/{id}", ApiKey),
        ("POST api_keys/{}/roll", ApiKey.With(Token("secret"))),
        ("POST api_keys/{id}/revoke", ApiKey.With(True("revoked"))),
        ("GET receipts/{id}", Proof),
        ("POST webhook_endpoints", Endpoint.With(Token("secret"))),
        ("GET webhook_endpoints", Endpoint),
        ("GET webhook_endpoints/{id}", Endpoint),
        ("POST webhook_endpoints/{id}", Endpoint),
        ("DELETE webhook_endpoints/{id}", Endpoint.With(True("deleted"))),
        ("POST webhook_endpoints/{id}/secret/roll", Endpoint.With(Token("secret"))),
        ("POST webhook_endpoints/{id}/retry", Endpoint),
        ("GET webhook_endpoints/{}/deliveries", Delivery),
        ("GET events", Event),
        ("GET events/{id}", Event),
        ("GET audit", new("audit_entry", Token("id"))),
        ("GET root_keys", RootKeys),
        ("POST root_keys/rotate", RootKeys),
        ("GET root_keys/confirmation", Confirmation),
        ("POST root_keys/confirmation", RootKeys),
        ("POST root_keys/rewrap", RootKeys),
        ("POST root_keys/wrappers", RootKeys),
        ("POST root_keys/wrappers/remove", RootKeys),
        ("GET root_keys/shares", Shares),
        ("POST root_keys/shares", RootKeys),
        ("DELETE root_keys/{}", RootKeys),
        ("GET tenant_keys", TenantKeys),
        ("POST tenant_keys/rotate", TenantKeys),
        ("GET settings", Settings),
        ("POST settings", Settings),
        ("GET status", Status),
    ];

    /// <summary>The routes that have a form, with braces for what changes.</summary>
    public static IEnumerable<string> Routes => Forms.Select(form => form.Route);

    /// <summary>What an answer must be; of a route that is not known, anything that says what it is.</summary>
    /// <param name="method">The request's.</param>
    /// <param name="path">Below <c>/admin/v1/</c>.</param>
    public static AnswerForm Of(HttpMethod method, string path)
    {
        var sent = $"{method} {path}".Split('/', ' ');
        foreach (var (route, form) in Forms)
        {
            var parts = route.Split('/', ' ');
            if (parts.Length == sent.Length
                && parts.Zip(sent).All(pair => IsName(pair.First) || pair.First == pair.Second))
                return form.With(parts.Zip(sent).Where(pair => IsName(pair.First) && pair.First != "{}")
                    .Select(pair => Is(pair.First.Trim('{', '}'), pair.Second)));
        }

        return AnswerForm.Any;
    }

    private static bool IsName(string part) => part.StartsWith('{');

    private static AnswerField Receipt(string status) => new("receipt", "a text, or null while it is pending",
        (value, answer) => value.ValueKind == JsonValueKind.String
            || (value.ValueKind == JsonValueKind.Null && answer.GetProperty(status).ValueEquals("pending")));

    private static AnswerField OneSigningSecret() => new("signing_secret", "in it",
        (_, answer) => Token("signing_secret_live").IsIn(answer) || Token("signing_secret_test").IsIn(answer));
}
