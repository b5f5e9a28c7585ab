using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>
/// The audit log and the settings in force, for someone with an admin key (docs/management.md, "Audit log" and
/// "Settings").
/// </summary>
internal sealed class AuditApi(AuditTrail trail)
{
    public IEnumerable<ApiRoute> Routes => [new("GET", $"{Root}/audit", ListAsync) { Act = Acts.ListAudit }];

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("app", "account", "verb", "outcome", "key", "since", "until", "limit", "starting_after");
        var (after, limit) = (Text(form, "starting_after"), request.Limit);
        var filter = new AuditFilter(
            Id(form, "app"), Id(form, "account"), Id(form, "verb"), Id(form, "outcome"), Id(form, "key"),
            Date(form, "since"), Date(form, "until"));
        var found = await trail.ListAsync(request.Caller, filter, after, limit, request.Cancelled);
        return WriteList(request, found, limit, cursor: null, Write);
    }

    private static DateTimeOffset? Date(StripeForm form, string param) =>
        Time(form, param) is { } seconds ? UnixTime.Date(seconds) : null;

    private static void Write(Utf8JsonWriter json, AuditSearch.Entry entry)
    {
        using var line = entry.Json();
        json.WriteStartObject();
        json.WriteString("id"u8, entry.Id);
        json.WriteString("object"u8, "audit_entry"u8);
        if (line is null)
            json.WriteBoolean("damaged"u8, true);
        foreach (var field in line?.RootElement.EnumerateObject() ?? default)
            field.WriteTo(json);
        json.WriteEndObject();
    }
}
