using Coffer.Access;
using Coffer.Http;
using Coffer.Secrets;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>What happened in a store, for someone with an admin key: ids only (docs/events.md).</summary>
internal sealed class ManagedEventsApi(EventList events)
{
    private const string All = $"{Root}/events";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ListAsync) { Act = Acts.ListEvents },
        new("GET", $"{All}/{{event}}", ShowAsync) { Act = Acts.ListEvents },
    ];

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        request.Form.Only("app", "limit", "starting_after", "ending_before");
        var (cursor, limit) = (ReadCursor(request.Form), request.Limit);
        var found = await events.ListManagedAsync(
            request.Caller, Id(request.Form, "app"), EventsApi.Place(cursor), limit, request.Cancelled);
        return WriteList(request, found, limit, cursor, (json, each) => each.Write(json, withNames: false));
    }

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        var found = await events.RequireManagedAsync(
            request.Caller, request.Target.Id("event"), request.Cancelled);
        found.Write(request.Json, withNames: false);
        return null;
    }
}
