using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Coffer.Client;

/// <summary>
/// A client of one Coffer server, acting for one app and mode (the key's) in one account. Safe for use from several
/// threads at once. It speaks to that server alone and follows no redirect. Failed connections and answers that say so
/// (<c>Stripe-Should-Retry</c>) are tried again, twice at the most, and as long as an answer asks to wait
/// (<c>Retry-After</c>), for 30 seconds in all; every write carries an idempotency key, so that a retry has one effect.
/// An answer that is not what was asked for is a <see cref="CofferException"/>. Text that is not well-formed, with half
/// of a pair of surrogates, is an <see cref="ArgumentException"/> before anything is sent.
/// </summary>
public sealed class CofferClient : IDisposable
{
    private const string Secrets = "v1/apps/secrets";
    private const string EphemeralKeys = "v1/ephemeral_keys";

    private static readonly AnswerForm Ephemeral = new("ephemeral_key", AnswerField.Token("id"),
        AnswerField.Token("account"), AnswerField.Number("created"), AnswerField.Number("expires"),
        AnswerField.Flag("livemode"));

    private readonly Transport transport;

    /// <param name="url">Where the server listens, such as <c>http://127.0.0.1:26333</c>.</param>
    /// <param name="apiKey">
    /// A key of an app: secret, <c>sk_…</c>; restricted, <c>rk_…</c>; or ephemeral, <c>ek_…</c>.
    /// </param>
    /// <param name="account">The account to act in; null is the key's own, or the app's.</param>
    /// <param name="time">For the waits between retries; null is the system's clock.</param>
    /// <param name="connection">A proxy, or whose certificates are trusted; null is neither.</param>
    public CofferClient(Uri url, string apiKey, string? account = null, TimeProvider? time = null,
        CofferConnection? connection = null) => transport = new Transport(url, apiKey, account, time, connection);

    /// <summary>Creates a secret, or replaces the one of that name in that scope.</summary>
    /// <param name="scope">Where it stands.</param>
    /// <param name="name">1 to 5,000 characters, compared exactly.</param>
    /// <param name="payload">1 to 5,000 characters.</param>
    /// <param name="expiresAt">
    /// When it is gone by itself, at most 100 years from now; null is never. Whole seconds count.
    /// </param>
    /// <param name="ct">Ends the wait; the change may have been made.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async Task<StoredSecret> SetAsync(SecretScope scope, string name, string payload,
        DateTimeOffset? expiresAt = null, CancellationToken ct = default)
    {
        var at = expiresAt?.ToUnixTimeSeconds();
        return Read(await transport.SendAsync(
            HttpMethod.Post, Secrets,
            [.. Form(scope, name), ("payload", payload), ("expires_at", at is { } seconds ? Number(seconds) : null)],
            Of(scope, name).With(AnswerField.Is("expires_at", at)), ct).ConfigureAwait(false));
    }

    /// <summary>
    /// The secret of that name in that scope, or null. Its payload is only sent when it is asked for.
    /// </summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async Task<StoredSecret?> FindAsync(SecretScope scope, string name, bool withPayload = false,
        CancellationToken ct = default)
    {
        try
        {
            return Read(
                await transport.SendAsync(HttpMethod.Get, $"{Secrets}/find",
                    [.. Form(scope, name), ("expand[]", withPayload ? "payload" : null)],
                    withPayload ? Of(scope, name).With(AnswerField.Text("payload")) : Of(scope, name),
                    ct).ConfigureAwait(false));
        }
        catch (CofferException e) when (e.IsAbsent)
        {
            return null;
        }
    }

    /// <summary>All secrets of a scope, newest first, fetched page by page as they are read.</summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async IAsyncEnumerable<StoredSecret> ListAsync(SecretScope scope, bool withPayload = false,
        [EnumeratorCancellation] CancellationToken ct = default)
    {
        var form = Form(scope, name: null).Append(("expand[]", withPayload ? "data.payload" : null));
        var expected = withPayload ? Of(scope).With(AnswerField.Text("payload")) : Of(scope);
        var list = transport.ListAsync(HttpMethod.Get, Secrets, form, expected, ct);
        await foreach (var element in list.ConfigureAwait(false))
            yield return Read(element);
    }

    /// <summary>
    /// Deletes the secret of that name in that scope and gives what it was, or null if there was none.
    /// </summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async Task<StoredSecret?> DeleteAsync(SecretScope scope, string name, CancellationToken ct = default)
    {
        try
        {
            return Read(
                await transport.SendAsync(HttpMethod.Post, $"{Secrets}/delete", Form(scope, name),
                    Of(scope, name).With(AnswerField.True("deleted")), ct).ConfigureAwait(false));
        }
        catch (CofferException e) when (e.IsAbsent)
        {
            return null;
        }
    }

    /// <summary>
    /// Mints a key for one user of this client's account, to be given to that user's browser. It needs a secret key.
    /// </summary>
    /// <param name="user">
    /// The user whom it stands for: an opaque id of the host platform, 1 to 5,000 characters.
    /// </param>
    /// <param name="life">How long it is valid: 1 minute to 24 hours, in whole seconds; null is 1 hour.</param>
    /// <param name="permissions"><c>secret_read</c>, <c>secret_write</c>; null leaves them to the server.</param>
    /// <param name="ct">Ends the wait; the key may have been minted.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async Task<EphemeralKey> MintAsync(string user, TimeSpan? life = null,
        IEnumerable<string>? permissions = null, CancellationToken ct = default)
    {
        var form = (permissions ?? []).Select(permission => ("permissions[]", (string?)permission))
            .Prepend(("expires_in", life is { } span ? Number((long)span.TotalSeconds) : null)).Prepend(("user", user));
        var json = await transport.SendAsync(HttpMethod.Post, EphemeralKeys, form,
            Ephemeral.With(AnswerField.Is("user", user), AnswerField.Texts("permissions"), AnswerField.Token("secret")),
            ct).ConfigureAwait(false);
        return new EphemeralKey(
            json.GetProperty("id").GetString()!,
            json.GetProperty("account").GetString()!,
            json.GetProperty("user").GetString()!,
            json.GetProperty("livemode").GetBoolean(),
            [.. json.GetProperty("permissions").EnumerateArray().Select(permission => permission.GetString()!)],
            Date(Seconds(json, "created")!.Value),
            Date(Seconds(json, "expires")!.Value),
            json.GetProperty("secret").GetString()!)
        {
            ExpiresSeconds = Seconds(json, "expires")!.Value,
        };
    }

    /// <summary>Ends an ephemeral key before its time; false if there is no such key.</summary>
    /// <param name="id"><c>ephkey_…</c></param>
    /// <param name="ct">Ends the wait; the key may have been ended.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    /// <exception cref="ArgumentException">
    /// That is no id: it has more than letters, digits, <c>_</c> and <c>-</c>.
    /// </exception>
    public async Task<bool> ExpireAsync(string id, CancellationToken ct = default)
    {
        try
        {
            await transport.SendAsync(HttpMethod.Delete, $"{EphemeralKeys}/{Transport.Id(id)}", [],
                Ephemeral.With(AnswerField.Is("id", id)), ct).ConfigureAwait(false);
            return true;
        }
        catch (CofferException e) when (e.IsAbsent)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => transport.Dispose();

    private static IEnumerable<(string Name, string? Value)> Form(SecretScope scope, string? name)
    {
        ArgumentNullException.ThrowIfNull(scope);
        return [("scope[type]", scope.User is null ? "account" : "user"), ("scope[user]", scope.User), ("name", name)];
    }

    // A secret of that scope, and of that name if one is asked for.
    private static AnswerForm Of(SecretScope scope, string? name = null)
    {
        var where = scope.User is { } user
            ? AnswerField.Thing("scope", AnswerField.Is("type", "user"), AnswerField.Is("user", user))
            : AnswerField.Thing("scope", AnswerField.Is("type", "account"));
        return new AnswerForm("apps.secret", AnswerField.Token("id"), AnswerField.Number("created"),
            AnswerField.Number("expires_at").OrNull(), AnswerField.Flag("livemode"),
            name is null ? AnswerField.Text("name") : AnswerField.Is("name", name), where);
    }

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static StoredSecret Read(JsonElement json)
    {
        var scope = json.GetProperty("scope");
        return new StoredSecret(
            json.GetProperty("id").GetString()!,
            json.GetProperty("name").GetString()!,
            scope.TryGetProperty("user", out var user) ? SecretScope.ForUser(user.GetString()!) : SecretScope.Account,
            json.GetProperty("livemode").GetBoolean(),
            Date(Seconds(json, "created")!.Value),
            Seconds(json, "expires_at") is { } at ? Date(at) : null,
            json.TryGetProperty("payload", out var payload) ? payload.GetString() : null)
        {
            CreatedSeconds = Seconds(json, "created")!.Value,
            ExpiresAtSeconds = Seconds(json, "expires_at"),
        };
    }

    private static long? Seconds(JsonElement json, string field) =>
        json.GetProperty(field) is { ValueKind: JsonValueKind.Number } number ? number.GetInt64() : null;

    // What is no date is shown as the nearest one: a program that lists secrets must not end because of one of them.
    private static DateTimeOffset Date(long seconds) => DateTimeOffset.FromUnixTimeSeconds(
        Math.Clamp(seconds, DateTimeOffset.MinValue.ToUnixTimeSeconds(), DateTimeOffset.MaxValue.ToUnixTimeSeconds()));
}
