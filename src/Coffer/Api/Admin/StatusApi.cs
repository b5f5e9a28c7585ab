using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using Coffer.Settings;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>What runs here and since when, for someone with an admin key (docs/management.md, "Status").</summary>
internal sealed class StatusApi(Gate gate, NodeStatus status, Func<CofferOptions> options)
{
    public IEnumerable<ApiRoute> Routes => [new("GET", $"{Root}/status", ShowAsync) { Act = Acts.ShowStatus }];

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        await gate.RecordAsync(request.Caller, "show_status");
        var release = await status.FindEngineReleaseAsync(request.Cancelled);
        var json = request.Json;
        json.WriteStartObject();
        json.WriteString("object"u8, "status"u8);
        json.WriteString("commit"u8, Product.Commit);
        json.WriteString("dotnet"u8, Product.Runtime);
        json.WriteStartObject("engine"u8);
        if (status.Connections is { } connections)
            json.WriteString("connections"u8, connections);
        json.WriteString("name"u8, status.Engine);
        if (status.Statements is { } statements)
            json.WriteString("statements"u8, statements);
        json.WriteString("version"u8, release);
        json.WriteEndObject();
        json.WriteString("node"u8, status.Node);
        if (Gate.May(request.Caller, Acts.ShowSettings))
            SettingsApi.Write(json, options().InForce.Where(setting => !setting.IsDefault));
        json.WriteNumber("started"u8, status.Started);
        json.WriteNumber("uptime"u8, status.Uptime);
        json.WriteString("version"u8, Product.Version);
        json.WriteEndObject();
        return null;
    }
}
