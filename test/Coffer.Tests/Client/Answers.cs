namespace Coffer.Tests.Client;

/// <summary>Right answers of every route of the management plane and of the four verbs, as Coffer gives them.</summary>
internal static class Answers
{
    private const string AppFields = """
        "object": "app", "account": "acct_1", "created": 1763712000, "disabled": false, "name": "Acme", "origins": [],
        "secrets_per_scope": null, "signing_secrets": {"live": 1, "test": 1}
        """;

    private const string KeyFields = """
        "object": "api_key", "account": null, "addresses": [], "app": "app_1", "created": 1763712000,
        "expires_at": null, "last_used": null, "livemode": false, "permissions": null, "type": "secret"
        """;

    private const string SecretFields = """
        "object": "apps.secret", "account": "acct_1", "app": "app_1", "created": 1763712000, "expires_at": null,
        "livemode": false, "name": "k", "scope": {"type": "account"}, "version": 1
        """;

    private const string ReceiptFields = """
        "account": "acct_1", "app": "app_1", "done": ["a"], "forgotten_at": 1763712000, "pending": [],
        "receipt": "rcpt.text", "secrets": {"live": 1, "test": 2}
        """;

    private const string InstallFields = """
        "object": "apps.install", "account": "acct_1", "app": "app_1", "channel": "public", "created": 1763712000,
        "livemode": false
        """;

    private const string EndpointFields = """
        "object": "webhook_endpoint", "api_version": "2026-01-28.clover", "app": "app_1", "created": 1763712000,
        "deliveries": {"failed": 0, "waiting": 0}, "description": "", "enabled_events": ["*"], "last_delivered": null,
        "livemode": false, "names": false, "secrets": 1, "status": "enabled", "url": "https://a.example/"
        """;

    private const string Event = """
        {"id": "evt_1", "object": "event", "api_version": "2026-01-28.clover", "created": 1763712000,
        "data": {"object": {}}, "livemode": false, "pending_webhooks": 0,
        "request": {"id": "req_1", "idempotency_key": null}, "type": "secret.created"}
        """;

    private const string SettingsFields = """
        "settings": [{"name": "listen", "source": "default", "value": null}], "version": "0.1.0"
        """;

    /// <summary>As the four verbs answer.</summary>
    public const string Secret = """
        {"id": "appsecret_1", "object": "apps.secret", "created": 1763712000, "expires_at": null, "livemode": false,
        "name": "k", "scope": {"type": "account"}}
        """;

    public const string Ephemeral = """
        {"id": "ephkey_1", "object": "ephemeral_key", "account": "acct_1", "created": 1763712000,
        "expires": 1763715600, "livemode": false}
        """;

    /// <summary>By the route, with braces for what changes; of a list it is an element.</summary>
    private const string TenantKeys = """
        {"object": "tenant_keys", "may_remain": [], "waiting_for": [], "rotations": [{"id": "tkr_1", "account": null,
        "app": "app_1", "created": 1, "damaged": 0, "ended": null, "rows": 0, "state": "sealing", "tenants": 1,
        "tenants_done": 0}]}
        """;

    private const string RootKeys = """
        {"object": "root_keys", "back_ups": [{"id": "b1", "created": 1, "file": "f", "wrappers": []}], "damaged": [],
        "left": 0, "renewal": null, "serial": 1, "waiting_for": [],
        "keys": [{"version": 1, "created": 1, "state": "done",
        "wrappers": [{"id": "file:1", "url": null}]}]}
        """;

    private const string Settings = $$"""
        {"object": "settings", "instance": "0",
        "receipt_key": {"crv": "P-256", "kty": "EC", "x": "0", "y": "0"}, {{SettingsFields}}}
        """;

    private static readonly Dictionary<string, string> All = new()
    {
        ["POST apps"] = $$"""
            {"id": "app_1", {{AppFields}}, "signing_secret_live": "absec_1", "signing_secret_test": "absec_2"}
            """,
        ["GET apps"] = $$"""{"id": "app_1", {{AppFields}}}""",
        ["GET apps/{id}"] = $$"""{"id": "app_1", {{AppFields}}}""",
        ["POST apps/{id}"] = $$"""{"id": "app_1", {{AppFields}}}""",
        ["DELETE apps/{id}"] = $$"""{"id": "app_1", "deleted": true, {{AppFields}}}""",
        ["POST apps/{id}/signing_secret/roll"] = $$"""
            {"id": "app_1", {{AppFields}}, "signing_secret_test": "absec_3"}
            """,
        ["GET apps/{app}/accounts"] = """
            {"id": "acct_1", "object": "account", "app": "app_1", "created": 1, "secrets": {"live": 1, "test": 0}}
            """,
        ["POST apps/{app}/accounts/{account}/export"] = $$"""{"id": "appsecret_1", "payload": "p", {{SecretFields}}}""",
        ["POST apps/{app}/accounts/{account}/forget"] = $$"""
            {"object": "account.forgotten", {{ReceiptFields}}, "receipt_id": "rcpt_1", "receipt_status": "signed"}
            """,
        ["POST apps/{app}/accounts/{account}/secrets/{id}/reveal"] =
            $$"""{"id": "appsecret_1", "payload": "p", {{SecretFields}}}""",
        ["GET apps/{app}/installs"] = $$"""
            {"id": "appinst_1", "receipt_id": null, "status": "installed", {{InstallFields}}}
            """,
        ["POST apps/{app}/installs"] = $$"""
            {"id": "appinst_1", "receipt_id": null, "status": "installed", {{InstallFields}}}
            """,
        ["POST apps/{app}/installs/{id}/uninstall"] = $$"""
            {"id": "appinst_1", "receipt_id": "rcpt_1", "status": "uninstalling", {{InstallFields}}}
            """,
        ["GET secrets/search"] = $$"""{"id": "appsecret_1", {{SecretFields}}}""",
        ["POST api_keys"] = $$"""{"id": "key_1", {{KeyFields}}, "secret": "sk_test_1"}""",
        ["GET api_keys"] = $$"""{"id": "key_1", {{KeyFields}}}""",
        ["GET api_keys/{id}"] = $$"""{"id": "key_1", {{KeyFields}}}""",
        ["POST api_keys/{}/roll"] = $$"""{"id": "key_2", {{KeyFields}}, "secret": "sk_test_2"}""",
        ["POST api_keys/{id}/revoke"] = $$"""{"id": "key_1", "revoked": true, {{KeyFields}}}""",
        ["GET receipts/{id}"] = $$"""
            {"id": "rcpt_1", "object": "receipt", "not_reached": [], "signed_at": 1, "status": "signed",
            {{ReceiptFields}}}
            """,
        ["POST webhook_endpoints"] = $$"""{"id": "we_1", "secret": "whsec_1", {{EndpointFields}}}""",
        ["GET webhook_endpoints"] = $$"""{"id": "we_1", {{EndpointFields}}}""",
        ["GET webhook_endpoints/{id}"] = $$"""{"id": "we_1", {{EndpointFields}}}""",
        ["POST webhook_endpoints/{id}"] = $$"""{"id": "we_1", {{EndpointFields}}}""",
        ["DELETE webhook_endpoints/{id}"] = $$"""{"id": "we_1", "deleted": true, {{EndpointFields}}}""",
        ["POST webhook_endpoints/{id}/secret/roll"] = $$"""
            {"id": "we_1", "secret": "whsec_2", {{EndpointFields}}}
            """,
        ["POST webhook_endpoints/{id}/retry"] = $$"""{"id": "we_1", {{EndpointFields}}}""",
        ["GET webhook_endpoints/{}/deliveries"] = """
            {"id": "evt_1", "object": "webhook_delivery", "account": "acct_1", "attempts": 1, "created": 1763712000,
            "failed": null, "last_status": 500, "next_attempt": 1763712010, "out_of_order": false,
            "type": "secret.created"}
            """,
        ["GET events"] = Event,
        ["GET events/{id}"] = Event,
        ["GET audit"] = """{"id": "node_1.1", "object": "audit_entry", "verb": "set"}""",
        ["GET root_keys"] = RootKeys,
        ["POST root_keys/rotate"] = RootKeys,
        ["GET root_keys/confirmation"] = """
            {"object": "confirmation", "count": 3, "keys": "00"}
            """,
        ["POST root_keys/confirmation"] = RootKeys,
        ["POST root_keys/rewrap"] = RootKeys,
        ["POST root_keys/wrappers"] = RootKeys,
        ["POST root_keys/wrappers/remove"] = RootKeys,
        ["GET root_keys/shares"] = """
            {"object": "recovery_shares", "anchor": "00", "store": "00", "id": null, "shares": null, "count": null,
            "threshold": null}
            """,
        ["POST root_keys/shares"] = RootKeys,
        ["DELETE root_keys/{}"] = RootKeys,
        ["GET tenant_keys"] = TenantKeys,
        ["POST tenant_keys/rotate"] = TenantKeys,
        ["GET settings"] = Settings,
        ["POST settings"] = Settings,
        ["GET status"] = $$"""
            {"object": "status", "commit": null, "dotnet": "10", "engine": {"name": "sqlite", "version": "3"},
            "node": "node_1", "started": 1, "uptime": 1, {{SettingsFields}}}
            """,
    };

    public static IEnumerable<string> Routes => All.Keys;

    public static string Of(string route) => All[route];

    /// <summary>A page of a list, or of a search, with these ids.</summary>
    public static string List(string route, bool hasMore, params string[] ids)
    {
        var data = ids.Select(id => All[route].Replace("appsecret_1", id, StringComparison.Ordinal)
            .Replace("\"id\": \"key_1\"", $"\"id\": \"{id}\"", StringComparison.Ordinal));
        return $$"""
            {"object": "{{(route.EndsWith("/search", StringComparison.Ordinal) ? "search_result" : "list")}}",
            "data": [{{string.Join(", ", data)}}], "has_more": {{(hasMore ? "true" : "false")}}, "next_page": "p 2"}
            """;
    }
}
