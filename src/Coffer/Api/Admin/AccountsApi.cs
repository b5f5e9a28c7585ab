using System.Buffers.Binary;
using System.Buffers.Text;
using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using Coffer.Secrets;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>
/// Accounts of apps and their secrets' metadata, for someone with an admin key (docs/management.md, "Accounts" and
/// "Secrets").
/// </summary>
internal sealed class AccountsApi(Accounts accounts, Receipts receipts)
{
    private const string All =
        $"{Root}/apps/{{app}}/accounts", One = $"{All}/{{account}}", Search = $"{Root}/secrets/search";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ListAsync),
        new("POST", $"{One}/export", ExportAsync),
        new("POST", $"{One}/forget", ForgetAsync) { IsUrgent = true },
        new("POST", $"{One}/secrets/{{secret}}/reveal", RevealAsync),
        new("GET", Search, SearchAsync),
    ];

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        request.Form.Only("limit", "starting_after", "ending_before");
        var (cursor, limit) = (ReadCursor(request.Form), request.Limit);
        var app = request.Target.Id("app");
        var found = await accounts.ListAsync(request.Caller, app, cursor, limit, request.Cancelled);
        return WriteList(request, found, limit, cursor, (json, account) =>
        {
            json.WriteStartObject();
            json.WriteString("id"u8, account.Id);
            json.WriteString("object"u8, "account"u8);
            json.WriteString("app"u8, app);
            json.WriteNumber("created"u8, account.Created);
            if (account.IsDamaged)
                json.WriteBoolean("damaged"u8, true);
            ReceiptsApi.WriteCounts(json, account.Test, account.Live);
            json.WriteEndObject();
        });
    }

    private async ValueTask<ApiError?> ExportAsync(ApiRequest request)
    {
        request.Form.Only("reason", "livemode", "limit", "starting_after");
        var reason = RequiredText(request.Form, "reason", Accounts.LongestReason);
        var (after, limit) = (Text(request.Form, "starting_after"), request.Limit);
        if (after is not null && !after.StartsWith(SecretId.Prefix, StringComparison.Ordinal))
            throw ApiError.UnknownPosition("secret", after);
        var (secrets, hasMore) = await accounts.ExportAsync(
            request.Caller, request.Target.Id("app"), request.Target.Id("account"),
                request.Form.Boolean("livemode") ?? false, reason, after, limit, request.Cancelled);
        try
        {
            request.WriteList(secrets, hasMore,
                (json, owned) => SecretsApi.WriteOwned(json, owned, wantsPayload: true));
            return null;
        }
        finally
        {
            foreach (var owned in secrets)
                owned.Dispose();
        }
    }

    private ValueTask<ApiError?> ForgetAsync(ApiRequest request)
    {
        request.Form.Only();
        return AnswerAsync<Receipt>(
            request, (json, receipt) => ReceiptsApi.WriteForgotten(json, receipt, receipts),
            write => accounts.ForgetAsync(write, request.Target.Id("app"), request.Target.Id("account")),
                WriteForgottenAsync);
    }

    // What an idempotency key keeps is how it stood when the account was forgotten; what is answered, how it stands
    // now.
    private async ValueTask WriteForgottenAsync(ApiRequest request, SecretBytes kept)
    {
        using var body = JsonDocument.Parse(kept.Memory);
        if (body.RootElement.TryGetProperty("receipt_id", out var id)
            && await receipts.SettleAsync(id.GetString()!, request.Cancelled) is { } receipt)
            ReceiptsApi.WriteForgotten(request.Json, receipt, receipts);
        else
            request.Json.WriteRawValue(kept.Span, skipInputValidation: true);
    }

    private async ValueTask<ApiError?> RevealAsync(ApiRequest request)
    {
        request.Form.Only("reason");
        var reason = RequiredText(request.Form, "reason", Accounts.LongestReason);
        var target = request.Target;
        using var owned = await accounts.RevealAsync(request.Caller, target.Id("app"), target.Id("account"),
            target.Id("secret"), reason, request.Cancelled);
        SecretsApi.WriteOwned(request.Json, owned, wantsPayload: true);
        return null;
    }

    private async ValueTask<ApiError?> SearchAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("app", "account", "livemode", "expiring_before", "limit", "page");
        var limit = request.Limit;
        var after = Text(form, "page") is { } page
            ? Parse(page) ?? throw ApiError.Unusable("page", "send the next_page of the page before it unchanged")
            : null;
        var found = await accounts.SearchAsync(
            request.Caller, Id(form, "app"), Id(form, "account"), form.Boolean("livemode"),
            Time(form, "expiring_before"), after, limit, request.Cancelled);

        var json = request.Json;
        json.WriteStartObject();
        json.WriteString("object"u8, "search_result"u8);
        json.WriteStartArray("data"u8);
        foreach (var owned in found.Secrets)
        {
            using (owned)
                SecretsApi.WriteOwned(json, owned, wantsPayload: false);
        }

        json.WriteEndArray();
        json.WriteBoolean("has_more"u8, found.Next is not null);
        json.WriteString("next_page"u8, found.Next is { } next ? Token(next) : null);
        json.WriteString("url"u8, Search);
        json.WriteEndObject();
        return null;
    }

    // A position in base64url: expiry (8 bytes, big-endian, 0 for none), tenant (8), blind name (16).
    private static string Token(Accounts.Position position)
    {
        Span<byte> bytes = stackalloc byte[16 + position.Name.Length];
        BinaryPrimitives.WriteInt64BigEndian(bytes, position.ExpiresAt ?? 0);
        BinaryPrimitives.WriteInt64BigEndian(bytes[8..], position.Tenant);
        position.Name.CopyTo(bytes[16..]);
        return Base64Url.EncodeToString(bytes);
    }

    private static Accounts.Position? Parse(string page)
    {
        if (page.Length != 43 || !Base64Url.IsValid(page))
            return null;
        var bytes = Base64Url.DecodeFromChars(page);
        if (bytes.Length != 32)
            return null; // .NET skips white space
        var expires = BinaryPrimitives.ReadInt64BigEndian(bytes);
        if (!UnixTime.IsStorable(expires))
            return null;
        return new Accounts.Position(expires == 0 ? null : expires,
            BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(8)), bytes[16..]);
    }
}
