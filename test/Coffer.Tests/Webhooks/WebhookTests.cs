using System.Net;
using System.Text.Json.Nodes;
using Coffer.Keys;
using Coffer.Shared;
using Coffer.Storage;
using static Coffer.Tests.Support.Operator;
using WebhookEndpoint = Coffer.Access.WebhookEndpoint;

namespace Coffer.Tests.Webhooks;

/// <summary>A server whose first app keeps events, and a receiver to which it may send them.</summary>
public abstract class WebhookTests : ServerTests
{
    private protected const string Endpoints = "/admin/v1/webhook_endpoints";

    private protected Receiver Receiver { get; private set; } = null!;

    /// <summary>The id of the first app.</summary>
    private protected string OwnApp { get; private set; } = "";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Receiver = await Receiver.StartAsync();
        await AgainAsync();
        OwnApp = await Server.AppIdAsync();
        (await Server.Admin.Post($"{Apps}/{OwnApp}", [("events", "true")])).IsOk();
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        await Receiver.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    private protected async Task<(string Id, string Secret)> CreateAsync(
        string livemode = "false", string? of = "", params (string, string)[] more)
    {
        (string, string)[] whose = of is null ? [] : [("app", OwnApp)];
        var made = (await Server.Admin.Post(Endpoints,
            [.. whose, ("livemode", livemode), ("url", $"{Receiver.Url}"), .. more])).IsOk().Json;
        Assert.StartsWith("whsec_cfr", made.Secret(), StringComparison.Ordinal);
        return (made.Id(), made.Secret());
    }

    private protected async Task AgainAsync()
    {
        await Server.StopAsync();
        await StartAsync();
    }

    // With this machine as a place to send to.
    private protected Task StartAsync() => Server.StartAgainAsync(with: static options => options with
    {
        WebhookNetworks = [IPNetwork.Parse("127.0.0.1/32")],
    });

    // What nobody sets so by the API.
    private protected async Task EditAsync(
        string id, Func<WebhookEndpoint, WebhookEndpoint> edit, Func<Control, Control>? store = null)
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var endpoint = WebhookEndpoint.From(instance, (await engine.FindAsync(EndpointRow.ById, default, id))!);
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutEndpoint(edit(endpoint).ToRow(instance))));
            if (store is not null)
                await committer.CommitAsync(new ControlChange(instance, store, [], []));
            return true;
        });
        await StartAsync();
    }

    private protected async Task DisableAsync(string endpoint, string disabled = "true") =>
        (await Server.Admin.Post($"{Endpoints}/{endpoint}", [("disabled", disabled)])).IsOk();

    private protected async Task<JsonArray> DeliveriesAsync(string endpoint, Func<JsonArray, bool> isSo)
    {
        JsonArray all = [];
        await Until.SoAsync("the deliveries are as they should be", async () =>
        {
            all = (await Server.Admin.Get($"{Endpoints}/{endpoint}/deliveries")).IsOk().Json["data"]!.AsArray();
            return isSo(all);
        }, TimeSpan.FromSeconds(30), () => all.ToJsonString());
        return all;
    }

    private protected Task ShownAsync(string endpoint, Func<JsonNode, bool> isSo) => Until.SoAsync(
        "the endpoint is as it should be",
        async () => isSo((await Server.Admin.Get($"{Endpoints}/{endpoint}")).IsOk().Json), TimeSpan.FromSeconds(30));
}
