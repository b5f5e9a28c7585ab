using System.Globalization;
using System.Text;
using System.Text.Json;
using Coffer.Audit;

namespace Coffer.Access;

/// <summary>
/// What lets an app's backend trust a browser: a signature in the format of Stripe's webhooks over a payload that ends
/// in the user and the account of the ephemeral key that asked, made with the app's signing secrets.
/// </summary>
internal sealed class Signatures(Gate gate, TimeProvider time)
{
    /// <summary>The longest payload, in characters.</summary>
    public const int LongestPayload = 5_000;

    /// <summary>
    /// Signs in the mode of the key that asks. It is in the audit log before it is given, and so is a refusal.
    /// </summary>
    /// <param name="caller">Who asks; its key says for whom it is signed, and in which mode.</param>
    /// <param name="payload">
    /// A JSON object as the page has it, to which <c>user_id</c> and <c>account_id</c> are added as its last members.
    /// </param>
    /// <returns><c>t=…,v1=…</c>, with a <c>v1</c> for each signing secret in use, newest first.</returns>
    /// <exception cref="ApiError">
    /// 403: not an ephemeral key. 400: the payload is no JSON object, or names a user or account itself; or the app has
    /// no signing secret of the mode. 503: it cannot be recorded in the audit log.
    /// </exception>
    public async ValueTask<string> SignAsync(Caller caller, ReadOnlyMemory<byte> payload)
    {
        string signature;
        try
        {
            signature = Sign(caller, payload.Span);
        }
        catch (ApiError refusal)
        {
            await gate.PassAsync(Entry(caller, Word(refusal)));
            throw;
        }

        await gate.PassAsync(Entry(caller, "ok"));
        return signature;
    }

    private string Sign(Caller caller, ReadOnlySpan<byte> payload)
    {
        var (app, tenant) = gate.RequireKind(caller, KeyKind.Ephemeral);
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        // What was sent is looked at before what is stored.
        var complete = Complete(payload, Encoding.UTF8.GetString(caller.User.Span), tenant.Account);
        var secrets = app.SigningSecretsAt(tenant.Livemode, now).ToList();
        if (secrets.Count == 0)
            throw ApiError.NoSigningSecret(app.Id, tenant.Livemode);
        var at = now.ToString(CultureInfo.InvariantCulture);
        var signed = Encoding.UTF8.GetBytes($"{at}.{complete}");
        var signatures = secrets.Select(secret => $"v1={Convert.ToHexStringLower(secret.Sign(signed))}");
        return $"t={at},{string.Join(',', signatures)}";
    }

    private static AuditEntry Entry(Caller caller, string outcome) => caller.Entry("sign", outcome) with
    {
        Scope = caller.Kind == KeyKind.Ephemeral ? "user" : null,
    };

    private static string Word(ApiError refusal) => refusal switch
    {
        { Code: { } code } => code,
        { Param: "payload" } => "payload_refused",
        _ => "wrong_kind_of_key",
    };

    /// <summary>
    /// The payload as the backend builds it again to verify it: <c>JSON.stringify({...payload, user_id,
    /// account_id})</c>.
    /// </summary>
    private static string Complete(ReadOnlySpan<byte> payload, string user, string account)
    {
        var text = Encoding.UTF8.GetString(payload).Trim();
        try
        {
            using var json = JsonDocument.Parse(text,
                new JsonDocumentOptions { MaxDepth = 16, AllowDuplicateProperties = false });
            if (json.RootElement.ValueKind != JsonValueKind.Object)
                throw ApiError.Unusable("payload", "it must be a JSON object");
            if (json.RootElement.TryGetProperty("user_id", out _)
                || json.RootElement.TryGetProperty("account_id", out _))
                throw ApiError.Unusable("payload", "it must not have user_id or account_id: these come from the key");
            var isEmpty = !json.RootElement.EnumerateObject().Any();
            return $"{text[..^1]}{(isEmpty ? "" : ",")}\"user_id\":{Quoted(user)},\"account_id\":{Quoted(account)}}}";
        }
        catch (JsonException)
        {
            throw ApiError.Unusable("payload", "it must be a JSON object without repeated names");
        }
    }

    /// <summary>
    /// As <c>JSON.stringify</c> writes a string (ECMA-262, QuoteJSONString), which the backend's signature is over.
    /// </summary>
    private static string Quoted(string text)
    {
        var quoted = new StringBuilder("\"");
        foreach (var c in text)
        {
            quoted.Append(c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\b' => "\\b",
                '\f' => "\\f",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                < ' ' => $"\\u{(int)c:x4}",
                _ => c.ToString(),
            });
        }

        return quoted.Append('"').ToString();
    }
}
