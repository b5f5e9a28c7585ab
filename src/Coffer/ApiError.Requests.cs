namespace Coffer;

/// <summary>What is wrong with a request: 400.</summary>
internal sealed partial class ApiError
{
    // --- 400: the request as such ---

    public static ApiError MalformedStripeVersion(string version) =>
        new(400, $"Invalid Stripe API version: {Shown(version)}");

    public static ApiError MalformedAccount() => new(400,
        "Invalid account in the Stripe-Account header: send one account id of 1 to 255 letters, digits, '_' and "
            + "'-'.", param: "Stripe-Account");

    public static ApiError MalformedContext() => new(400,
        "Invalid account in the Stripe-Context header: send one account id of 1 to 255 letters, digits, '_' and '-', "
            + "or the app's own account before it and a slash between.", param: "Stripe-Context");

    /// <summary>What a program sends in place of an account when a variable of it is empty.</summary>
    /// <param name="header">The header that names the account.</param>
    /// <param name="sent">What it says.</param>
    public static ApiError AccidentalAccount(string header, string sent) => new(400,
        $"The {header} header says '{Shown(sent)}', which is what a program sends when it has no account. Send the "
            + "id of the account that the request is about, or leave the header out to act in the app's own account.",
        param: header);

    public static ApiError AccountRequired() => new(400,
        "This app acts only in accounts that requests name, and this one names none. Send the Stripe-Account header "
            + "with the id of the account that it is about.", param: "Stripe-Account");

    /// <param name="account">What the header says.</param>
    /// <param name="pattern">What the app's accounts look like.</param>
    public static ApiError AccountNotOfPattern(string account, string pattern) => new(400,
        $"Invalid account: '{Shown(account)}' is not one of this app, whose accounts look like '{pattern}'. Send the "
            + "id of the account that the request is about.", param: "Stripe-Account");

    public static ApiError ConflictingAccounts() => new(400,
        "The Stripe-Account and Stripe-Context headers name different accounts. Send one of "
            + "them.", param: "Stripe-Account");

    public static ApiError TwoAccounts() => new(400,
        "Received both Stripe-Account and Stripe-Context headers. Send one of them.", param: "Stripe-Account");

    public static ApiError AnotherMode() => new(400,
        "The Stripe-Livemode header names another mode than the provided key's. Leave the header out, or use a key of "
            + "that mode (sk_test_… or sk_live_…).", param: "Stripe-Livemode");

    public static ApiError RepeatedHeader(string header) =>
        new(400, $"Received the {header} header more than once. Send it once.");

    public static ApiError MalformedIdempotencyKey() => new(400,
        "Idempotency Key must be a non-empty string of at most 255 printable ASCII characters.");

    public static ApiError NotFormEncoded() => new(400,
        "Invalid request (check that your POST content type is application/x-www-form-urlencoded).");

    public static ApiError ContentEncoding() =>
        new(400, "Invalid request: the body has a Content-Encoding. Send it without one.");

    public static ApiError MalformedEscape(string param) => new(400,
        $"Invalid percent-encoding in parameter: {Shown(param)}. Encode '%' itself as '%25'.", param: Shown(param));

    public static ApiError InvalidUtf8(string param) =>
        new(400, $"Invalid UTF-8 in parameter: {Shown(param)}.", param: Shown(param));

    /// <param name="name">As it was sent.</param>
    public static ApiError MalformedParameterName(string name) => new(400,
        "Received a parameter whose name could not be read. Names look like 'name', 'scope[type]' or 'expand[]', in "
            + "UTF-8.",
        param: name.Length == 0 ? null : Shown(name));

    public static ApiError TooManyParameters(int limit) =>
        new(400, $"Received too many parameters. Send at most {limit}.");

    public static ApiError BodyTooLarge(int limit) =>
        new(413, $"The request body is too large. Send at most {limit} bytes.");

    public static ApiError UnreadableRequest(int status) =>
        new(status, "The request could not be read to its end. Send it again.");

    // --- 400: a parameter ---

    public static ApiError ParameterMissing(string param) =>
        new(400, $"Missing required param: {param}.", "parameter_missing", param);

    public static ApiError ParameterUnknown(IReadOnlyList<string> names) => new(400,
        (names.Count == 1 ? "Received unknown parameter: " : "Received unknown parameters: ")
            + string.Join(", ", names.Select(Shown)),
        "parameter_unknown", Shown(names[0]));

    public static ApiError ParameterConflict(string param) => new(400,
        $"Received parameter more than once with different values: {Shown(param)}. Send it once, in the query or in "
            + "the body.", param: Shown(param));

    public static ApiError ParameterEmpty(string param) => new(400,
        $"You passed an empty string for '{param}'. We assume empty values are an attempt to unset a parameter; "
            + $"however '{param}' cannot be unset. " +
        $"You should remove '{param}' from your request or supply a non-empty "
            + "value.", "parameter_invalid_empty", param);

    public static ApiError NotAString(string param) =>
        new(400, $"Invalid string: '{param}' must be a string, not an array or a hash.", param: param);

    public static ApiError NotAnObject(string param) => new(400, "Invalid object", param: param);

    public static ApiError NotAnArray(string param) => new(400, "Invalid array", param: param);

    /// <summary>
    /// The value is shown by its two ends, as Stripe does; <paramref name="value"/> is null for a payload, which is
    /// never shown.
    /// </summary>
    public static ApiError TooLong(string param, string? value, int limit) => new(400,
        value is null
            ? $"Invalid string: '{param}' must be at most {limit} characters"
            : $"Invalid string: {Ends(value)}; must be at most {limit} characters", param: param);

    public static ApiError NotAnInteger(string param, string value) =>
        new(400, $"Invalid integer: {Shown(value)}", "parameter_invalid_integer", param);

    public static ApiError IntegerTooSmall(string param, long least) => new(400,
        $"This value must be greater than or equal to {least}.", "parameter_invalid_integer", param);

    public static ApiError OutOfRange(string param, long least, long most) => new(400,
        $"Invalid {param}: must be an integer from {least} to {most}.", "parameter_invalid_integer", param);

    public static ApiError NotABoolean(string param, string value) =>
        new(400, $"Invalid boolean: {Shown(value)}", param: param);

    /// <summary>
    /// Of a mode that was given no signing secret: an app of before each mode had its own has none for test.
    /// </summary>
    public static ApiError NoSigningSecret(string app, bool livemode)
    {
        var (mode, flag) = livemode ? ("live", " --live") : ("test", "");
        return new(400, $"The app has no signing secret for {mode} mode. Ask the operator to create one: " +
            $"coffer apps roll-signing-secret {app}{flag} --grace 0", "signing_secret_missing");
    }

    /// <summary>A parameter that is well formed as such; <paramref name="rule"/> says what it must be.</summary>
    public static ApiError Unusable(string param, string rule) => new(400, $"Invalid {param}: {rule}.", param: param);

    public static ApiError NotOneOf(string param, params string[] allowed) => new(400,
        $"Invalid {param}: must be one of {Listed(allowed)}", param: param);

    // As recorded: a or b; a, b, or c.
    private static string Listed(string[] words) => words.Length < 3
        ? string.Join(" or ", words)
        : $"{string.Join(", ", words[..^1])}, or {words[^1]}";

    public static ApiError UserWithAccountScope() => new(400,
        "You cannot send 'scope[user]' when 'scope[type]' is 'account'. Remove 'scope[user]', or set 'scope[type]' "
            + "to 'user'.", param: "scope[user]");

    public static ApiError ExpiryPast() => new(400,
        "Invalid timestamp: must be an integer Unix timestamp in the future", param: "expires_at");

    public static ApiError ExpiryTooFar(int years) => new(400,
        $"Invalid timestamp: must be an integer Unix timestamp in seconds, at most {years} years in the "
            + "future", param: "expires_at");

    /// <summary>A moment that bounds a list or a search, and is outside of the range that times have here.</summary>
    public static ApiError NotATime(string param) => new(400,
        "Invalid timestamp: must be an integer Unix timestamp in seconds: 0, or from " +
        $"{UnixTime.EarliestWritten} (in 1973) to {UnixTime.Latest} (in 9999)", param: param);

    public static ApiError NotExpandable(string property, bool onList) => new(400,
        $"This property cannot be expanded ({Shown(property)})." +
        (onList && !property.StartsWith("data", StringComparison.Ordinal)
            ? $" You may want to try expanding 'data.{Shown(property)}' instead."
            : ""));

    public static ApiError BothCursors() => new(400,
        "Received both starting_after and ending_before parameters. Please pass in only one.");

    // --- a renewal of the store ---

    public static ApiError RenewalUnderWay() =>
        new(400, "The store is being renewed already. Look how far it has come (GET /admin/v1/root_keys).",
            param: "compromised");

    public static ApiError NothingToConfirm() =>
        new(400, "There is nothing to confirm: a renewal of the store is confirmed when its state is "
            + "waiting_for_owner (GET /admin/v1/root_keys).");

    public static ApiError KeysWereChanged() =>
        new(409, "The API keys are not those that were listed. List them again, and confirm what you find.",
            param: "keys");

    public static ApiError KeysAreListed() =>
        new(400, "The store was renewed after a compromise, and an owner has not yet confirmed which API keys there "
            + "are. Until then no key is created or rolled. Confirm them with: coffer root-keys confirm");

    public static ApiError ConfirmingKeyRequired() =>
        new(403, "A renewal is confirmed with an owner's key that was made beside the server since the new pepper "
            + "began. Create one with: coffer keys create --type admin --offline");
}
