using System.Buffers.Text;
using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using Coffer.Settings;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>
/// What is in force on this node, and what the store keeps, for someone with an admin key (docs/management.md,
/// "Settings").
/// </summary>
/// <param name="gate">Decides and records.</param>
/// <param name="receipts">Have the store's id and the public key.</param>
/// <param name="settings">Changes what the store keeps.</param>
/// <param name="policy">What is in force where the store keeps this.</param>
internal sealed class SettingsApi(Gate gate, Receipts receipts, ManagedSettings settings,
    Func<IReadOnlyDictionary<string, string>?, CofferOptions> policy)
{
    private const string All = $"{Root}/settings", Default = "default";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ShowAsync) { Act = Acts.ShowSettings },
        new("POST", All, SetAsync) { Act = Acts.ChangeSettings, IsUrgent = true },
    ];

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        await gate.RecordAsync(request.Caller, "show_settings");
        Write(request.Json, policy(settings.Kept));
        return null;
    }

    private ValueTask<ApiError?> SetAsync(ApiRequest request)
    {
        request.Form.Only("name", "value");
        var (name, text) = (RequiredText(request.Form, "name"), RequiredText(request.Form, "value"));
        var setting = StoreSettings.All.FirstOrDefault(each => each.Name == name) ?? throw ApiError.NotOneOf(
            "name", [.. StoreSettings.All.Select(each => each.Name)]);
        var value = text == Default ? null : Canonical(setting, text);
        return AnswerAsync<IReadOnlyDictionary<string, string>>(request, (json, kept) => Write(json, policy(kept)),
            write => settings.SetAsync(write, name, value, request.Cancelled));
    }

    private static string Canonical(Setting setting, string text)
    {
        try
        {
            return StoreSettings.Canonical(setting, text);
        }
        catch (FormatException e)
        {
            throw ApiError.Unusable("value", $"'{text}' {e.Message}");
        }
    }

    private void Write(Utf8JsonWriter json, CofferOptions options)
    {
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
