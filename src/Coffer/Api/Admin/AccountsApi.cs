using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using Coffer.Secrets;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>Accounts of apps, for someone with an admin key (docs/management.md, "Accounts").</summary>
internal sealed class AccountsApi(Accounts accounts, Receipts receipts)
{
    private const string All = $"{Root}/apps/{{app}}/accounts", One = $"{All}/{{account}}";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ListAsync) { Act = Acts.ListAccounts },
        new("POST", $"{One}/export", ExportAsync) { Act = Acts.Export },
        new("POST", $"{One}/forget", ForgetAsync) { Act = Acts.ForgetAccount, IsUrgent = true },
        new("POST", $"{One}/secrets/{{secret}}/reveal", RevealAsync) { Act = Acts.Reveal },
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
        var (secrets, hasMore, room) = await accounts.ExportAsync(
            request.Caller, request.Target.Id("app"), request.Target.Id("account"),
                request.Form.Boolean("livemode") ?? false, reason, after, limit, request.Cancelled);
        request.Hold(room);
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
}
