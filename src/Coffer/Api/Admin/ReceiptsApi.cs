using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>Receipts of forgotten accounts, for someone with an admin key (docs/management.md, "Receipts").</summary>
internal sealed class ReceiptsApi(Receipts receipts)
{
    public IEnumerable<ApiRoute> Routes =>
        [new("GET", $"{Root}/receipts/{{receipt}}", ShowAsync) { Act = Acts.ShowReceipt }];

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        var receipt = await receipts.ShowAsync(request.Caller, request.Target.Id("receipt"), request.Cancelled);
        var (done, pending, notReached) = receipts.StateOf(receipt);
        var json = request.Json;
        json.WriteStartObject();
        json.WriteString("id"u8, receipt.Id);
        json.WriteString("object"u8, "receipt"u8);
        json.WriteString("account"u8, receipt.Account);
        json.WriteString("app"u8, receipt.App);
        WriteStrings(json, "done", done);
        json.WriteNumber("forgotten_at"u8, receipt.At);
        if (receipt.Install is { } install)
        {
            json.WriteString("install"u8, install.Id);
            json.WriteBoolean("livemode"u8, install.Livemode);
        }

        WriteStrings(json, "not_reached", notReached);
        WriteStrings(json, "pending", pending);
        json.WriteString("receipt"u8, receipt.Text);
        WriteCounts(json, receipt.Test, receipt.Live);
        json.WriteNumberOrNull("signed_at"u8, receipt.SignedAt);
        json.WriteString("status"u8, Status(receipt));
        json.WriteEndObject();
        return null;
    }

    /// <summary>The answer to someone who has an account forgotten: the receipt as it is now.</summary>
    public static void WriteForgotten(Utf8JsonWriter json, Receipt receipt, Receipts receipts)
    {
        var (done, pending, _) = receipts.StateOf(receipt);
        json.WriteStartObject();
        json.WriteString("object"u8, "account.forgotten"u8);
        json.WriteString("account"u8, receipt.Account);
        json.WriteString("app"u8, receipt.App);
        json.WriteNumber("forgotten_at"u8, receipt.At);
        WriteCounts(json, receipt.Test, receipt.Live);
        WriteStrings(json, "done", done);
        WriteStrings(json, "pending", pending);
        json.WriteString("receipt"u8, receipt.Text);
        json.WriteString("receipt_id"u8, receipt.Id);
        json.WriteString("receipt_status"u8, Status(receipt));
        json.WriteEndObject();
    }

    public static void WriteCounts(Utf8JsonWriter json, long test, long live)
    {
        json.WriteStartObject("secrets"u8);
        json.WriteNumber("live"u8, live);
        json.WriteNumber("test"u8, test);
        json.WriteEndObject();
    }

    private static string Status(Receipt receipt) => receipt.Text is null ? "pending" : "signed";
}
