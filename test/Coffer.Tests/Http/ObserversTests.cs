using System.Net;
using System.Threading.Channels;
using Coffer.Access;
using Coffer.Http;
using Coffer.Settings;
using Coffer.Shared;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Http;

/// <summary>What those learn who observe requests: each one once, with fixed words and ids only.</summary>
[Trait("Telemetry", "2")]
public sealed class ObserversTests : ServerTests
{
    private static readonly CofferOptions Options = new() { Data = ".", Listen = "http://127.0.0.1:0" };

    private readonly Channel<Exchange> seen = Channel.CreateUnbounded<Exchange>();

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Server.Observers.Add(exchange => Assert.True(seen.Writer.TryWrite(exchange)));
    }

    [Fact]
    public async Task A_request_that_succeeds_is_known_by_its_route_key_bytes_and_address()
    {
        var set = await Server.Client().Set("name-1", payload: "payload-1");
        var exchange = await NextAsync();
        Assert.Equal(("POST", "/v1/apps/secrets", 200, null),
            (exchange.Method, exchange.Route, exchange.Status, exchange.Reason));
        Assert.Equal(set.Header("Request-Id"), exchange.RequestId);
        Assert.Equal((string?)(await Server.KeyAsync("secret", livemode: false))["id"], exchange.KeyId);
        Assert.Equal("scope%5Btype%5D=account&name=name-1&payload=payload-1".Length, exchange.BytesIn);
        Assert.Equal(set.Text.Length, exchange.BytesOut);
        Assert.Equal((IPAddress.Loopback, false, true), (exchange.Address, exchange.IsHttps, exchange.IsSuccess));

        var key = await NextAsync(); // which asked for the key above
        Assert.Equal(("GET", "/admin/v1/api_keys", KeyKind.Admin),
            (key.Method, key.Route, key.Caller!.Kind));
        await Server.Admin.Get($"/admin/v1/apps/{Server.OtherApp}");
        Assert.Equal("/admin/v1/apps/{app}", (await NextAsync()).Route);
    }

    [Theory]
    [InlineData("GET", "/v1/apps/secrets?limit=1", "good", "/v1/apps/secrets", 400, "parameter_missing", true)]
    [InlineData("GET", "/v1/apps/secrets/find?name=n&scope[type]=account", "good", "/v1/apps/secrets/find", 404,
        "no_such_secret", true)]
    [InlineData("GET", "/v1/apps/secrets", null, "/v1/apps/secrets", 401, "no_api_key", false)]
    [InlineData("GET", "/v1/apps/secrets", "sk_test_unknown", "/v1/apps/secrets", 401, "unknown_key", false)]
    [InlineData("GET", "/admin/v1/apps", "good", "/admin/v1/apps", 403, "not_an_admin_key", true)]
    [InlineData("DELETE", "/v1/apps/secrets", "good", null, 404, "unknown_route", false)]
    [InlineData("GET", "/v1/apps/secrets/private-name", "good", null, 404, "unknown_route", false)]
    [InlineData("BREW", "/private-name", "good", null, 404, "unknown_route", false)]
    [InlineData("OPTIONS", "/v1/private-name", null, null, 200, null, false)]
    [InlineData("GET", "/healthz", null, "/healthz", 200, null, false)]
    [InlineData("GET", "/%72eadyz", null, "/readyz", 200, null, false)]
    [InlineData("GET", "/docs/errors", null, "/docs/errors", 200, null, false)]
    public async Task A_request_is_known_by_a_fixed_word_and_route_whatever_it_asks_for(
        string method, string target, string? key, string? route, int status, string? reason, bool hasKey)
    {
        using var request = new HttpRequestMessage(HttpMethod.Parse(method), new Uri(target, UriKind.Relative));
        if (key is not null)
            request.Headers.TryAddWithoutValidation("Authorization",
                $"Bearer {(key == "good" ? Server.Keys.TestSecretKey : key)}");
        var answer = await Server.SendAsync(request);
        var exchange = await NextAsync();
        Assert.Equal((status, status), (answer.Status, exchange.Status));
        Assert.Equal((route, reason), (exchange.Route, exchange.Reason));
        Assert.Equal((hasKey, method == "BREW" ? "_OTHER" : method), (exchange.KeyId is not null, exchange.Method));
        Assert.Equal(answer.ContentHeaders.ContentLength ?? 0, exchange.BytesOut);
        if (status >= 400)
            Assert.Equal(answer.Header("Request-Id"), exchange.RequestId);
    }

    [Fact]
    public async Task A_key_that_comes_too_fast_or_was_revoked_is_named()
    {
        await Server.StopAsync();
        await Server.StartAgainAsync(ratePerKey: 1);
        var id = (string)(await Server.KeyAsync("secret", livemode: false))["id"]!;
        await Server.Client().List();
        await Server.Client().List();
        await Server.Client(Server.Keys.AdminKey).Post($"/admin/v1/api_keys/{id}/revoke", []);
        await Server.Client().List();
        var all = await NextAsync(5);
        Assert.Equal([null, null, "rate_limited", null, "revoked_key"], all.Select(each => each.Reason));
        Assert.Equal([id, id, id], ((int[])[1, 2, 4]).Select(at => all[at].KeyId));
    }

    [Fact]
    public void A_client_that_is_gone_has_no_other_status_and_a_fault_has_one()
    {
        using var gone = new CancellationTokenSource();
        gone.Cancel();
        Assert.Equal((499, "client_gone"), Ended(new DefaultHttpContext(), exchange => exchange.Abandon()));
        Assert.Equal((499, "client_gone"),
            Ended(new DefaultHttpContext { RequestAborted = gone.Token }, isAnswered: false));
        Assert.Equal((500, "internal"), Ended(new DefaultHttpContext(), isAnswered: false));
        Assert.Equal((200, null), Ended(new DefaultHttpContext { RequestAborted = gone.Token }));

        static (int, string?) Ended(HttpContext context, Action<Exchange>? act = null, bool isAnswered = true)
        {
            var exchange = new Exchange(context, 0);
            act?.Invoke(exchange);
            exchange.End(new ManualTime(), isAnswered);
            return (exchange.Status, exchange.Reason);
        }
    }

    [Fact]
    public async Task What_is_refused_before_it_is_a_request_is_counted_by_kind_and_address()
    {
        var refused = Channel.CreateUnbounded<(EarlyRefusal, IPAddress?)>();
        await using var server = await WebServer.StartAsync(
            Options with { Connections = 1, AdminListen = "http://127.0.0.1:0" });
        server.Observers.Add((kind, address) => Assert.True(refused.Writer.TryWrite((kind, address))));
        await server.SendAsync("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n");
        Assert.Equal((EarlyRefusal.Malformed, IPAddress.Loopback), await refused.Reader.ReadAsync());
        Assert.Equal(1, server.Observers.CountOf(EarlyRefusal.Malformed));

        using var files = new PemFiles();
        await using var tls = await WebServer.StartAsync(files);
        using (var plain = await RawConnection.OpenAsync(tls.Url))
            await plain.SendAsync("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        await Until.SoAsync("it was counted", () => tls.Observers.CountOf(EarlyRefusal.TlsFailed) == 1);
        Assert.All(Enum.GetValues<EarlyRefusal>(), kind => Assert.Matches("^[a-z0-9_]+$", kind.Word()));
        Assert.Equal(Enum.GetValues<EarlyRefusal>().Length,
            Enum.GetValues<EarlyRefusal>().Select(kind => kind.Word()).Distinct().Count());
    }

    private async Task<Exchange> NextAsync() =>
        await seen.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(20));

    private async Task<List<Exchange>> NextAsync(int count)
    {
        var all = new List<Exchange>();
        while (all.Count < count)
            all.Add(await NextAsync());
        return all;
    }
}
