using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>The rotation of tenant keys (docs/management.md, "Tenant keys").</summary>
internal sealed class TenantKeysApi(ManagedTenantKeys keys)
{
    private const string All = $"{Root}/tenant_keys";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ShowAsync) { Act = Acts.ShowTenantKeys },
        new("POST", $"{All}/rotate", RotateAsync) { Act = Acts.RotateTenantKeys, IsUrgent = true },
    ];

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        Write(request.Json, await keys.ShowAsync(request.Caller, request.Cancelled));
        return null;
    }

    private ValueTask<ApiError?> RotateAsync(ApiRequest request)
    {
        request.Form.Only("app", "account", "compromised", "livemode");
        var app = Id(request.Form, "app") ?? throw ApiError.ParameterMissing("app");
        var (account, livemode) = (Id(request.Form, "account"), request.Form.Boolean("livemode"));
        var isCompromised = request.Form.Boolean("compromised") == true;
        return AnswerAsync<ManagedTenantKeys.Answer>(
            request, Write, write => keys.RotateAsync(
                write, app, account, livemode, isCompromised, request.Cancelled));
    }

    private static void Write(Utf8JsonWriter json, ManagedTenantKeys.Answer answer)
    {
        json.WriteStartObject();
        json.WriteString("object"u8, "tenant_keys"u8);
        WriteStrings(json, "may_remain", answer.MayRemain);
        json.WriteStartArray("rotations"u8);
        foreach (var (rotation, state) in answer.Rotations)
        {
            json.WriteStartObject();
            json.WriteString("id"u8, rotation.Id);
            json.WriteString("object"u8, "tenant_key_rotation"u8);
            json.WriteString("account"u8, rotation.Account);
            json.WriteString("app"u8, rotation.App);
            json.WriteBoolean("compromised"u8, rotation.IsCompromised);
            json.WriteNumber("created"u8, rotation.Created);
            json.WriteNumber("damaged"u8, rotation.Damaged);
            json.WriteNumberOrNull("ended"u8, rotation.Ended);
            if (rotation.Livemode is { } livemode)
                json.WriteBoolean("livemode"u8, livemode);
            else
                json.WriteNull("livemode"u8);
            json.WriteNumber("rows"u8, rotation.Rows);
            json.WriteString("state"u8, state);
            json.WriteNumber("tenants"u8, rotation.Tenants);
            json.WriteNumber("tenants_done"u8, rotation.Done);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        WriteStrings(json, "waiting_for", answer.WaitingFor);
        json.WriteEndObject();
    }
}
