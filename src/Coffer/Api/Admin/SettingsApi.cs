using System.Buffers.Text;
using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using Coffer.Settings;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>What is in force on this node, for someone with an admin key (docs/management.md, "Settings").</summary>
internal sealed class SettingsApi(Gate gate, Receipts receipts, CofferOptions options)
{
    public IEnumerable<ApiRoute> Routes => [new("GET", $"{Root}/settings", ShowAsync) { Act = Acts.ShowSettings }];

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        await gate.RecordAsync(request.Caller, "show_settings");
        var json = request.Json;
        var key = receipts.PublicKey;
        json.WriteStartObject();
        json.WriteString("object"u8, "settings"u8);
        json.WriteString("instance"u8, Convert.ToHexStringLower(receipts.Instance));
        json.WriteStartObject("receipt_key"u8);
        json.WriteString("crv"u8, "P-256"u8);
        json.WriteString("kty"u8, "EC"u8);
        json.WriteString("x"u8, Base64Url.EncodeToString(key.X));
        json.WriteString("y"u8, Base64Url.EncodeToString(key.Y));
        json.WriteEndObject();
        Write(json, options.InForce);
        json.WriteString("version"u8, Product.Version);
        json.WriteEndObject();
        return null;
    }

    /// <summary>Settings with their values and where those are from; private values are redacted already.</summary>
    public static void Write(Utf8JsonWriter json, IEnumerable<SettingInForce> settings)
    {
        json.WriteStartArray("settings"u8);
        foreach (var setting in settings)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, setting.Name);
            json.WriteString("source"u8, setting.Source);
            json.WriteString("value"u8, setting.Value);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
