// Every refusal the API can give: one named factory each, so that every message stands in one place. It knows no HTTP
// types, so that every room may use it. Types, codes and wording follow what was recorded of Stripe's API
// (docs/wire.md); a message says what to do next and never carries a payload or a key.

using System.Globalization;
using System.Runtime.CompilerServices;

namespace Coffer;

/// <summary>A refusal with the status, type, code, param and message that the client sees.</summary>
internal sealed partial class ApiError : Exception
{
    /// <summary>
    /// Stands in messages for the address of the documentation page; the writer of the answer fills it in.
    /// </summary>
    public const string Docs = "{docs}";

    /// <summary>The code of a change of root keys that another one came before.</summary>
    public const string RootKeysChanged = "root_keys_changed";

    private const string MorePermissionsForSession = "more_permissions_required_for_session";

    private ApiError(int status, string message, string? code = null, string? param = null,
        string type = "invalid_request_error", Exception? inner = null, [CallerMemberName] string factory = "")
        : base(message, inner)
    {
        (Status, Type, Code, Param, this.factory) = (status, type, code, param, factory);
    }

    /// <summary>The HTTP status, 400 to 599.</summary>
    public int Status { get; }

    /// <summary>One of <c>invalid_request_error</c>, <c>idempotency_error</c>, <c>api_error</c>.</summary>
    public string Type { get; }

    /// <summary>A stable word for programs, or null where Stripe gives none.</summary>
    public string? Code { get; }

    /// <summary>The parameter at fault in bracket form, <c>scope[user]</c>, or null.</summary>
    public string? Param { get; }

    /// <summary>Whether the operator should know of it: it goes to the log with its cause.</summary>
    public bool IsFault { get; private init; }

    /// <summary>Whether it is the storage's: every request that needs it meets the same until it is back.</summary>
    public bool IsOfStorage { get; private init; }

    /// <summary>The stored row that failed its proof, if that is why.</summary>
    public DamagedRow? Damage { get; private init; }

    /// <summary>What <c>Stripe-Should-Retry</c> says; null sends no such header.</summary>
    public bool? ShouldRetry { get; private init; }

    /// <summary>What <c>Retry-After</c> says; null sends no such header.</summary>
    public TimeSpan? RetryAfter { get; private init; }

    // --- 401: who are you? ---

    public static ApiError NoApiKey() => new(401,
        "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer "
            + "auth " +
        $"(e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See {Docs}#authentication for details.");

    public static ApiError SeveralApiKeys() => new(401,
        "You provided more than one Authorization header. Send exactly one, with one API key.");

    public static ApiError MalformedAuthorization() => new(401,
        "The Authorization header could not be read. Send 'Authorization: Bearer YOUR_SECRET_KEY', or use Basic auth "
            + "with the key as user name.");

    public static ApiError InvalidApiKey(string redactedKey) => new(401, $"Invalid API Key provided: {redactedKey}");

    public static ApiError ExpiredApiKey(string redactedKey) =>
        new(401, $"Expired API Key provided: {redactedKey}", "api_key_expired");

    public static ApiError KeyEnded() =>
        new(401, "The provided key was revoked or expired while the request was carried out. Use another key.");

    /// <param name="what">What they do not know.</param>
    public static ApiError OlderNodesRun(string what) => new(400,
        $"Nodes of an earlier release run on this store, and do not know {what}. Update all nodes first.");

    public static ApiError PublishableKey() => new(401,
        "This API call cannot be made with a publishable API key. Please use a secret API key.", "secret_key_required");

    // --- 403: you may not ---

    public static ApiError AdminKeyOnSecrets() => new(403,
        "The provided key is an admin key. Admin keys cannot reach secrets: use a secret key of the app (sk_test_… "
            + "or sk_live_…).");

    public static ApiError AdminKeyRequired() => new(403,
        "The management plane accepts only admin keys (ak_…). Use the admin key that the server printed when it "
            + "first started.");

    public static ApiError RoleRequired(string needed, string? has) => new(403,
        $"This request needs an admin key with the role {needed}, and the provided key has the role {has}. Ask an "
            + "owner of this store.");

    public static ApiError KeyHeldToApps() => new(403,
        "This request is about the whole store, and the provided admin key is held to some apps. Ask an owner of this "
            + "store.");

    public static ApiError SecretKeyRequired() =>
        new(
            403,
            "This request needs a secret key, and the provided key is of another type. Use a secret key of the app's "
                + "backend (sk_test_… or sk_live_…).");

    public static ApiError EphemeralKeyRequired() =>
        new(
            403,
            "This request needs an ephemeral key, because it signs the user of the key. Use an ephemeral key of that "
                + "user (ek_test_… or ek_live_…).");

    /// <param name="permission">What the request needs.</param>
    /// <param name="ofSession">Of an ephemeral key: programs of pages and of backends branch on other codes.</param>
    public static ApiError PermissionMissing(string permission, bool ofSession) => new(403,
        $"The provided key does not have the permission '{permission}', which this request needs. Use a key that "
            + "has it.", ofSession ? MorePermissionsForSession : "more_permissions_required");

    public static ApiError AnotherUser() => new(403,
        "The provided key reaches only the account scope and the scope of its own user. Name that user in "
            + "'scope[user]', or use a key of the app's backend.", MorePermissionsForSession, "scope[user]");

    public static ApiError AnotherAccount() => new(403,
        "The provided key does not reach the account that the Stripe-Account or Stripe-Context header names. Leave the "
            + "header out, or use a key for that account.", "account_invalid");

    public static ApiError NotInstalled() => new(403,
        "The app is not installed in this account, or was uninstalled from it. Install it first (POST "
            + "/v1/apps/installs); nothing of this request was done.", "account_invalid");

    public static ApiError UninstallDisabled() => new(403,
        "This app may not uninstall itself. Ask the operator to uninstall it, or to allow it; nothing was removed.");

    public static ApiError AddressNotAllowed() =>
        new(
            403,
            "The provided key is not accepted from this address. Use it from one of its networks, or ask the "
                + "operator to add this address.");

    public static ApiError WebOriginNotAllowed() =>
        new(
            403,
            "The app's keys are not accepted from pages of this web origin. Ask the operator to add it to the app's "
                + "origins.");

    public static ApiError AppDisabled() =>
        new(403, "The app of the provided key is disabled. Ask the operator to enable it; nothing was deleted.");

    public static ApiError AppDeleted() =>
        new(403, "The app of the provided key was deleted. Use a key of another app.");

    // --- 429: too fast ---

    public static ApiError RateLimited(bool livemode) => new(429, livemode
        ? $"Request rate limit exceeded. Slow down and try again shortly. See {Docs}#rate-limit."
        : "Testmode request rate limit exceeded. Slow down and try again shortly. See "
            + $"{Docs}#rate-limit.", "rate_limit")
    { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(1) };

    /// <summary>Too many searches are at work.</summary>
    public static ApiError TooManyScans() =>
        new(429, "Too many searches of the audit log and of secrets run at this moment. Try again shortly.",
            "rate_limit")
        { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(1) };

    public static ApiError TooManyBadKeys() =>
        new(429, "Too many requests with bad API keys came from this address. Check the key, and try again shortly.",
            "rate_limit")
        { RetryAfter = TimeSpan.FromSeconds(1) };

    /// <summary>Too many changes of an app, or of one ephemeral key, wait to be stored.</summary>
    public static ApiError TooManyWaiting(bool ofKey) => Slower(ofKey,
        "too many changes waiting to be stored",
        "Nothing of this request was stored. Try again shortly.", TimeSpan.FromSeconds(1));

    /// <summary>What was kept under idempotency keys is too much.</summary>
    public static ApiError TooMuchKept(bool ofKey, TimeSpan wait) => Slower(ofKey,
        "stored more under idempotency keys than it may in this time",
        "Nothing of this request was stored. Try again after as many seconds as Retry-After says, " +
        "or send it without an Idempotency-Key.", wait);

    /// <summary>What was written to the audit log is too much.</summary>
    public static ApiError TooMuchAudit(bool ofKey, TimeSpan wait) => Slower(ofKey,
        "caused more entries in the audit log than it may in this time",
        "Nothing of this request was done. Try again after as many seconds as Retry-After says, " +
        "and ask for payloads only where they are needed.", wait);

    /// <summary>Something was stored for too many accounts for which nothing was stored before.</summary>
    public static ApiError TooManyNewAccounts(TimeSpan wait) => Slower(ofKey: false,
        "stored something for more new accounts than it may in this time",
        "Nothing of this request was stored. Try again after as many seconds as Retry-After says.", wait);

    private static ApiError Slower(
        bool ofKey, string what, string todo, TimeSpan wait, [CallerMemberName] string factory = "") =>
        new(429, $"The {(ofKey ? "provided key" : "app of the provided key")} has {what}. {todo}", "rate_limit",
            factory: factory)
        { ShouldRetry = true, RetryAfter = wait };

    // --- the outcome of a well-formed request ---

    public static ApiError NoSuchSecret(string name) =>
        new(404, $"No such secret: '{name}'", "resource_missing", "name");

    public static ApiError NoSuch(string noun, string id) =>
        new(404, $"No such {noun}: '{Shown(id)}'", "resource_missing", "id");

    public static ApiError UnknownPosition(string noun, string id, string param = "starting_after") =>
        new(400, $"No such {noun}: '{Shown(id)}'", "resource_missing", param);

    public static ApiError AppNotEmpty() =>
        new(
            400,
            "The app still has accounts with stored data. List them (GET /admin/v1/apps/{app}/accounts) and forget "
                + "them first.");

    /// <param name="end">The end of its grace period, in Unix seconds.</param>
    public static ApiError RolledAlready(long end) =>
        new(400, $"Invalid id: the key was rolled already, and ends at {UnixTime.Shown(end)}. Roll the key that "
            + "replaced it, or revoke this one to end it now.", param: "id");

    public static ApiError LastAdminKey() =>
        new(
            400,
            "This is the last owner's key that does not expire and is accepted from anywhere, and without it nobody "
                + "could manage this store. Create another one first, or roll this one.");

    /// <param name="version">The root key that it would leave closed.</param>
    public static ApiError LastWrapper(uint version) =>
        new(400, $"Nothing else that this server was started with unwraps root key {version}. Add another wrapper "
            + "first (POST /admin/v1/root_keys/wrappers).", param: "wrapper");

    public static ApiError WrapperUnknown(string url) =>
        new(400, $"This server was not started with the wrapper '{Shown(url)}'. Set it in root-key on every node "
            + "first, beside the one that the store is wrapped with.", param: "wrapper");

    /// <param name="id">The name of a wrapper.</param>
    public static ApiError WrapperUnset(string id) =>
        new(400, $"The root keys are wrapped by {Shown(id)} too, which this server was not started with. Set it in "
            + "root-key, or remove that wrapper first.");

    public static ApiError SharesUnusable() =>
        new(400, "The recovery shares are not what coffer root-keys shares create makes for this store. Run it again; "
            + "nothing was changed.", param: "shares");

    public static ApiError RotationUnderWay() =>
        new(400, "A rotation of the root key is under way. Wait until it is done (GET /admin/v1/root_keys).");

    public static ApiError TooManyRotations(int most) =>
        new(400, $"{most} rotations of tenant keys wait already. Wait until one is done (GET /admin/v1/tenant_keys).");

    public static ApiError SettingsWait() =>
        new(400, "A server of an earlier release runs on the store, or ran a minute ago, and goes by its own settings. "
            + "Stop it, and try again in a minute (GET /admin/v1/status).", param: "name");

    public static ApiError LevelTooLow() =>
        new(400, "A server of an earlier release runs on the store, or ran a minute ago, and would not read what a "
            + "rotation for a compromise writes. Stop it, and try again in a minute (GET /admin/v1/status).",
            param: "compromised");

    public static ApiError RootKeyInUse(uint version) =>
        new(400, $"Root key {version} is in use. Only one whose state is unused or made can be removed; rotating "
            + "makes the last one unused.");

    public static ApiError RootKeysMoved() =>
        new(409, "The root keys were changed meanwhile. Look at them, and try again.", RootKeysChanged)
        { ShouldRetry = true };

    public static ApiError KeyServiceUnavailable(KeyServiceException inner) =>
        new(503, $"What wraps the root keys did not do it: {inner.Message}. Nothing was changed.",
            "key_service_unavailable", type: "api_error", inner: inner)
        { ShouldRetry = inner.MayPass, IsFault = true };

    public static ApiError QuotaReached(int limit) => new(400,
        $"This scope already holds {limit} secrets, which is the most it may hold. Delete one first; list the scope "
            + "to see what is stored (GET /v1/apps/secrets).");

    /// <summary>Of a delete by an ephemeral key whose answer would have to be kept.</summary>
    public static ApiError PayloadTooLargeToKeep(int limit) => new(400,
        $"The payload is longer than {limit} bytes, which is the most that is stored for an ephemeral key " +
        "under an Idempotency-Key. Nothing was deleted. " +
        "Find the secret first, then delete it without 'expand[]=payload'; or send no Idempotency-Key.",
        param: "expand");

    /// <param name="wanted">What <c>if_version</c> said.</param>
    /// <param name="found">The version there is; 0 if there is no such secret.</param>
    public static ApiError VersionMismatch(long wanted, long found) => new(409,
        $"The secret was changed: its version is {found}, not {wanted} as if_version says (0 means that there is no "
            + "such secret). " +
        "Find it again and then decide; the current version is in the Coffer-Secret-Version "
            + "header.", "resource_version_mismatch", "if_version")
    { ShouldRetry = false };

    public static ApiError UnknownRoute(string method, string path) => new(404,
        $"Unrecognized request URL ({Shown(method)}: {Shown(path)}). If you are trying to list objects, remove the "
            + "trailing slash. " +
        "If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier in your code. "
            + $"Please see {Docs}.");

    public static ApiError IdempotencyMismatch(string key) => new(400,
        "Keys for idempotent requests can only be used with the same parameters they were first used with. " +
        $"Try using a key other than '{Shown(key)}' if you meant to execute a different "
            + "request.", type: "idempotency_error");

    public static ApiError IdempotencyKeyInUse(string key) => new(409,
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted "
            + "twice, " +
        $"and the other request is still going through): {Shown(key)}. Please try again "
            + "later.", "idempotency_key_in_use", type: "idempotency_error")
    { ShouldRetry = true };

    // --- not the client's fault ---

    public static ApiError Overloaded() =>
        new(503, "Too many changes are waiting to be stored. Nothing of this request was stored. Try again shortly.",
        type: "api_error")
        { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(1) };

    public static ApiError NoRoom() =>
        new(503, "So much is being sent that there is no memory for this list at this moment. Try again shortly, or "
            + "with a smaller limit.", type: "api_error")
        { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(1) };

    public static ApiError Stopping() =>
        new(503, "This server is stopping. Nothing of this request was stored. Try again shortly.", type: "api_error")
        { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(1) };

    /// <summary>The store was restored, and its operator has not said yet what came after its back-up.</summary>
    public static ApiError StoreHeld() =>
        new(503, "The store was restored from a back-up and is held until its operator has finished that (coffer "
            + "restore --finish). Nothing of this request was stored.", "store_held", type: "api_error")
        { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(60) };

    public static ApiError StorageUnavailable(Exception inner) => new(503,
        "The storage cannot be used at the moment. Nothing of this request was stored. Try again "
            + "shortly.", type: "api_error", inner: inner)
    { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(5), IsFault = true, IsOfStorage = true };

    /// <summary>What the storage answers does not go together, however often it is asked.</summary>
    public static ApiError Contradictory(string what) =>
        StorageUnavailable(new InvalidDataException($"the storage contradicts itself: {what}"));

    /// <summary>
    /// The commit was sent and nothing is known of it: the database went away, or stopped waiting for its standby.
    /// </summary>
    public static ApiError StorageUncertain(Exception inner) => new(503,
        "The storage failed while this request was stored, so the request may or may not be stored. Try again "
            + "shortly with the same Idempotency-Key.", type: "api_error", inner: inner)
    { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(5), IsFault = true, IsOfStorage = true };

    /// <summary>
    /// The database holds less than was stored: a failover lost commits, or an old copy was put back under a running
    /// node.
    /// </summary>
    public static ApiError EntriesLost() => new(503,
        "The database has lost changes. Nothing was stored. Ask the operator to look at /readyz.", type: "api_error")
    { ShouldRetry = true, RetryAfter = TimeSpan.FromSeconds(5), IsFault = true, IsOfStorage = true };

    /// <summary>A stored record failed its proof: it was changed outside Coffer, or the medium is failing.</summary>
    /// <param name="what">What it is to the client.</param>
    /// <param name="row">The row, for the log and the audit log: the client is not told.</param>
    public static ApiError RecordDamaged(string what, DamagedRow row) => new(500,
        $"The stored {what} failed its integrity check and was not sent. " +
        "Tell the operator of this server the Request-Id.", type: "api_error")
    { ShouldRetry = false, IsFault = true, Damage = row };

    public static ApiError Internal(Exception bug) => new(500,
        "An error occurred on our side. Tell the operator of this server the Request-Id: the details are in the log "
            + "under it.", type: "api_error", inner: bug)
    { IsFault = true };

    /// <summary>Rebuilds an outcome that was kept under an idempotency key.</summary>
    public static ApiError Kept(int status, string type, string? code, string? param, string message) =>
        new(status, message, code, param, type) { outcome = code };

    /// <summary>Client text within a message: cut to 100 characters, control characters shown as U+FFFD.</summary>
    private static string Shown(string text)
    {
        var cut = text.Length <= 100 ? text : string.Concat(text.AsSpan(0, 100), "...");
        return string.Create(cut.Length, cut, static (to, from) =>
        {
            for (var i = 0; i < from.Length; i++)
                to[i] =
                    CharUnicodeInfo.GetUnicodeCategory(from[i]) is UnicodeCategory.Control or UnicodeCategory.Surrogate
                    ? '\uFFFD'
                    : from[i];
        });
    }

    private static string Ends(string value) =>
        value.Length <= 20 ? Shown(value) : $"{Shown(value[..10])}...{Shown(value[^10..])}";
}
