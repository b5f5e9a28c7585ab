using System.Text.Json;
using System.Text.RegularExpressions;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using Coffer.Secrets;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>Where events are sent (docs/events.md, "Endpoints").</summary>
internal sealed partial class WebhookEndpointsApi(ManagedEndpoints endpoints)
{
    private const string All = $"{Root}/webhook_endpoints", One = $"{All}/{{endpoint}}", Every = "*";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("POST", All, CreateAsync) { Act = Acts.CreateEndpoint },
        new("GET", All, ListAsync) { Act = Acts.ListEndpoints },
        new("GET", One, ShowAsync) { Act = Acts.ShowEndpoint },
        new("POST", One, ChangeAsync) { Act = Acts.ChangeEndpoint, IsUrgent = true },
        new("DELETE", One, DeleteAsync) { Act = Acts.DeleteEndpoint, IsUrgent = true },
        new("POST", $"{One}/secret/roll", RollAsync) { Act = Acts.RollEndpointSecret, IsUrgent = true },
        new("POST", $"{One}/retry", RetryAsync) { Act = Acts.RetryDelivery },
        new("GET", $"{One}/deliveries", ListDeliveriesAsync) { Act = Acts.ListDeliveries },
    ];

    private ValueTask<ApiError?> CreateAsync(ApiRequest request)
    {
        request.Form.Only("app", "api_version", "description", "enabled_events", "livemode", "names", "url");
        var edit = ReadEdit(request.Form);
        if (edit.Url is null)
            throw ApiError.ParameterMissing("url");
        var app = Id(request.Form, "app");
        var livemode = request.Form.Boolean("livemode") ?? throw ApiError.ParameterMissing("livemode");
        return AnswerAsync<ManagedEndpoints.EndpointAnswer>(request, Write,
            write => endpoints.CreateAsync(write, app, livemode, edit, request.Cancelled));
    }

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        request.Form.Only("app", "limit", "starting_after", "ending_before");
        var (cursor, limit) = (ReadCursor(request.Form), request.Limit);
        var found = await endpoints.ListAsync(
            request.Caller, Id(request.Form, "app"), cursor, limit, request.Cancelled);
        return WriteList(request, found, limit, cursor, Write);
    }

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        Write(request.Json,
            await endpoints.RequireAsync(request.Caller, request.Target.Id("endpoint"), request.Cancelled));
        return null;
    }

    private ValueTask<ApiError?> ChangeAsync(ApiRequest request)
    {
        request.Form.Only("api_version", "description", "disabled", "enabled_events", "names", "url");
        var edit = ReadEdit(request.Form) with { IsDisabled = request.Form.Boolean("disabled") };
        return AnswerAsync<ManagedEndpoints.EndpointAnswer>(request, Write,
            write => endpoints.ChangeAsync(write, request.Target.Id("endpoint"), edit, request.Cancelled));
    }

    private ValueTask<ApiError?> DeleteAsync(ApiRequest request)
    {
        request.Form.Only();
        return AnswerAsync<ManagedEndpoints.EndpointAnswer>(request, Write,
            write => endpoints.DeleteAsync(write, request.Target.Id("endpoint"), request.Cancelled));
    }

    private ValueTask<ApiError?> RollAsync(ApiRequest request)
    {
        request.Form.Only("grace_period");
        var longest = (long)WebhookEndpoint.Grace.TotalSeconds;
        var grace = request.Form.Integer("grace_period") ?? longest;
        if (grace < 0 || grace > longest)
            throw ApiError.OutOfRange("grace_period", 0, longest);
        return AnswerAsync<ManagedEndpoints.EndpointAnswer>(request, Write,
            write => endpoints.RollSecretAsync(write, request.Target.Id("endpoint"), grace, request.Cancelled));
    }

    private ValueTask<ApiError?> RetryAsync(ApiRequest request)
    {
        request.Form.Only("event");
        var happened = Id(request.Form, "event") ?? throw ApiError.ParameterMissing("event");
        return AnswerAsync<ManagedEndpoints.EndpointAnswer>(request, Write,
            write => endpoints.RetryAsync(write, request.Target.Id("endpoint"), happened, request.Cancelled));
    }

    private async ValueTask<ApiError?> ListDeliveriesAsync(ApiRequest request)
    {
        request.Form.Only("limit", "starting_after");
        var (page, hasMore) = await endpoints.ListDeliveriesAsync(request.Caller, request.Target.Id("endpoint"),
            Id(request.Form, "starting_after"), request.Limit, request.Cancelled);
        request.WriteList(page, hasMore, Write);
        return null;
    }

    private static ManagedEndpoints.Edit ReadEdit(StripeForm form)
    {
        var version = Text(form, "api_version", WebhookEndpoint.LongestVersion);
        if (version is not null && !Version().IsMatch(version))
            throw ApiError.Unusable("api_version", $"write it as Stripe does, such as {Event.ApiVersion}");
        return new ManagedEndpoints.Edit(Text(form, "url", WebhookEndpoint.LongestUrl), ReadKinds(form),
            form.Boolean("names"), version,
            form.IsEmpty("description") ? "" : Text(form, "description", WebhookEndpoint.LongestDescription), null);
    }

    private static List<string>? ReadKinds(StripeForm form)
    {
        if (!form.Has("enabled_events"))
            return null;
        var kinds = form.Strings("enabled_events").Distinct(StringComparer.Ordinal).ToList();
        if (kinds is [Every])
            return [];
        return kinds.Count > 0 && kinds.TrueForAll(EventKinds.All.Contains)
            ? kinds
            : throw ApiError.NotOneOf("enabled_events", [Every, .. EventKinds.All]);
    }

    [GeneratedRegex("^[0-9]{4}-[0-9]{2}-[0-9]{2}(\\.[a-z]+)?$",
        RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex Version();

    private static void Write(Utf8JsonWriter json, ManagedEndpoints.EndpointAnswer shown)
    {
        var endpoint = shown.Endpoint;
        json.WriteStartObject();
        json.WriteString("id"u8, endpoint.Id);
        json.WriteString("object"u8, "webhook_endpoint"u8);
        json.WriteString("api_version"u8, endpoint.ApiVersion);
        json.WriteString("app"u8, endpoint.App);
        json.WriteNumber("created"u8, endpoint.Created);
        if (endpoint.IsDamaged)
            json.WriteBoolean("damaged"u8, true);
        if (shown.IsDeleted)
            json.WriteBoolean("deleted"u8, true);
        json.WriteStartObject("deliveries"u8);
        json.WriteNumber("failed"u8, shown.Deliveries.Failed);
        json.WriteNumber("waiting"u8, shown.Deliveries.Waiting);
        json.WriteEndObject();
        json.WriteString("description"u8, endpoint.Description);
        WriteStrings(json, "enabled_events", endpoint.Kinds.Count == 0 ? [Every] : endpoint.Kinds);
        json.WriteNumberOrNull("last_delivered"u8, endpoint.Delivered > 0 ? endpoint.Delivered : null);
        json.WriteBoolean("livemode"u8, endpoint.Livemode);
        json.WriteBoolean("names"u8, endpoint.HasNames);
        if (shown.Secret is not null)
            json.WriteString("secret"u8, shown.Secret);
        json.WriteNumber("secrets"u8, endpoint.SecretsAt(shown.Now).Count());
        json.WriteString("status"u8, Status(endpoint));
        json.WriteString("url"u8, endpoint.Url);
        json.WriteEndObject();
    }

    private static string Status(WebhookEndpoint endpoint)
    {
        if (!endpoint.IsDisabled)
            return "enabled";
        return endpoint.HasFailed ? "failed" : "disabled";
    }

    private static void Write(Utf8JsonWriter json, ManagedEndpoints.Delivery shown)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, shown.Event);
        json.WriteString("object"u8, "webhook_delivery"u8);
        json.WriteString("account"u8, shown.Account);
        json.WriteNumber("attempts"u8, shown.Attempts);
        json.WriteNumber("created"u8, shown.Created);
        json.WriteNumberOrNull("failed"u8, shown.Failed);
        json.WriteNumberOrNull("last_status"u8, shown.Status);
        json.WriteNumberOrNull("next_attempt"u8, shown.Due);
        json.WriteBoolean("out_of_order"u8, shown.IsOutOfOrder);
        json.WriteString("type"u8, shown.Kind);
        json.WriteEndObject();
    }
}
