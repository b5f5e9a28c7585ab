using Coffer.Http;
using Coffer.Management;
using Coffer.Secrets;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api;

/// <summary>What happened to an app's secrets, keys and accounts, for its backend (docs/events.md).</summary>
internal sealed class EventsApi(EventList events)
{
    private const string All = "/v1/events";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ListAsync),
        new("GET", $"{All}/{{event}}", ShowAsync),
    ];

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        request.Form.Only("limit", "starting_after", "ending_before", "names");
        var (cursor, limit) = (ReadCursor(request.Form), request.Limit);
        var withNames = request.Form.Boolean("names") ?? false;
        var found = await events.ListAsync(request.Caller, Place(cursor), limit, request.Cancelled);
        return WriteList(request, found, limit, cursor, (json, each) => each.Write(json, withNames));
    }

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only("names");
        var withNames = request.Form.Boolean("names") ?? false;
        var found = await events.RequireAsync(request.Caller, request.Target.Id("event"), request.Cancelled);
        found.Write(request.Json, withNames);
        return null;
    }

    /// <summary>A cursor as a list of events has it.</summary>
    public static (string Id, string Param, bool Newer)? Place(Cursor? cursor) =>
        cursor is null ? null : (cursor.Id, cursor.Param, cursor.IsBefore);
}
