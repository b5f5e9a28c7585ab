using System.Text;
using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api;

/// <summary>
/// Ephemeral keys, and the signature that lets a backend trust a browser that has one (docs/wire.md, "Ephemeral keys").
/// </summary>
internal sealed class EphemeralKeysApi(Minting minting, Signatures signatures)
{
    private const string All = "/v1/ephemeral_keys";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("POST", All, MintAsync),
        new("DELETE", $"{All}/{{key}}", RevokeAsync) { IsUrgent = true },
        new("GET", "/v1/apps/app_embedded_backend_signature", SignAsync),
    ];

    private ValueTask<ApiError?> MintAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("user", "expires_in", "permissions");
        var user = form.RequiredText("user", EphemeralKey.LongestUser).ToArray();
        var life = form.Integer("expires_in") ?? EphemeralKey.UsualLife;
        var permissions = ReadPermissions(form, Permissions.All) ?? Permissions.All;
        return AnswerAsync<Minting.Minted>(request, (json, minted) => Write(json, minted.Key, minted.Token),
            write => minting.MintAsync(write, user, life, permissions));
    }

    private async ValueTask<ApiError?> RevokeAsync(ApiRequest request)
    {
        request.Form.Only();
        Write(request.Json, await minting.RevokeAsync(request.Caller, request.Target.Id("key")), token: null);
        return null;
    }

    private async ValueTask<ApiError?> SignAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("payload", "include_only");
        foreach (var field in form.Strings("include_only"))
        {
            if (field != "signature")
                throw ApiError.NotOneOf("include_only", "signature");
        }

        var payload = form.Text("payload", Signatures.LongestPayload);
        var signature = await signatures.SignAsync(request.Caller, payload ?? "{}"u8.ToArray());
        var json = request.Json;
        json.WriteStartObject();
        json.WriteString("signature"u8, signature);
        json.WriteEndObject();
        return null;
    }

    // Without a token the key is known by its id alone, which does not say whose it was.
    private static void Write(Utf8JsonWriter json, EphemeralKey key, string? token)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, key.Id);
        json.WriteString("object"u8, "ephemeral_key"u8);
        json.WriteString("account"u8, key.Account);
        json.WriteNumber("created"u8, key.Created);
        json.WriteNumber("expires"u8, key.Expires);
        json.WriteBoolean("livemode"u8, key.Livemode);
        if (token is not null)
        {
            WriteStrings(json, "permissions", key.Permissions.Words());
            json.WriteString("secret"u8, token);
            json.WriteString("user"u8, Encoding.UTF8.GetString(key.User.Span));
        }

        json.WriteEndObject();
    }
}
