using System.Net;
using System.Security.Authentication;
using Coffer.Hosting;
using Coffer.Http;
using Coffer.Settings;
using Coffer.Shared;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Http;

/// <summary>
/// Room for connections: who has how much of it, who must leave for whom, and what is kept free. Real sockets.
/// </summary>
[Trait("Firm ground", "7")]
public sealed class ConnectionTests : IDisposable
{
    // Of the reserve a client may have as many; they are closed when a request is none of health or management.
    private const int Reserved = 4;

    private static readonly CofferOptions Options = new() { Data = ".", Listen = "http://127.0.0.1:0" };
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Moment = TimeSpan.FromMilliseconds(200);

    private readonly SemaphoreSlim started = new(0);

    [Fact]
    public async Task One_address_with_as_many_connections_as_there_may_be_shuts_nobody_out()
    {
        await using var server = await WebServer.StartAsync(
            Options with { Connections = 40, ConnectionsPerAddress = 10 });
        var greedy = await RawConnection.OpenManyAsync(server.Url, last: 2, count: 100);
        using var other = await RawConnection.UsedAsync(server.Url, last: 3);
        Assert.Equal(200, await other.AskAsync());
        var closed = await Task.WhenAll(greedy.Select(each => each.IsClosedAsync(Moment)));
        Assert.InRange(closed.Count(each => !each), 1, 10 + Reserved);
        greedy.ForEach(each => each.Dispose());
    }

    [Fact]
    public async Task An_address_that_has_all_it_may_have_makes_room_itself_with_its_idlest()
    {
        await using var server = await WebServer.StartAsync(Options with { ConnectionsPerAddress = 3 });
        using var first = await RawConnection.UsedAsync(server.Url, last: 2);
        using var second = await RawConnection.UsedAsync(server.Url, last: 2);
        using var third = await RawConnection.UsedAsync(server.Url, last: 2);
        using var other = await RawConnection.UsedAsync(server.Url, last: 3);
        Assert.Equal(200, await first.AskAsync()); // now the second is the idlest
        using var fourth = await RawConnection.UsedAsync(server.Url, last: 2);
        Assert.True(await second.IsClosedAsync(Soon));
        foreach (var stays in (RawConnection[])[first, third, other, fourth])
            Assert.Equal(200, await stays.AskAsync());
    }

    [Fact]
    public async Task When_room_is_short_who_has_most_makes_room_and_then_the_idlest()
    {
        await using var server = await WebServer.StartAsync(
            Options with { Connections = 4, ConnectionsPerAddress = 0 });
        using var oldest = await RawConnection.UsedAsync(server.Url, last: 3);
        using var first = await RawConnection.UsedAsync(server.Url, last: 2);
        using var second = await RawConnection.UsedAsync(server.Url, last: 2);
        using var third = await RawConnection.UsedAsync(server.Url, last: 2);
        using var fourth = await RawConnection.UsedAsync(server.Url, last: 4);
        Assert.True(await first.IsClosedAsync(Soon));
        using var fifth = await RawConnection.UsedAsync(server.Url, last: 5);
        Assert.True(await second.IsClosedAsync(Soon));
        using var sixth = await RawConnection.UsedAsync(server.Url, last: 6);
        Assert.True(await oldest.IsClosedAsync(Soon)); // everyone had one
        foreach (var stays in (RawConnection[])[third, fourth, fifth, sixth])
            Assert.Equal(200, await stays.AskAsync());
    }

    [Fact]
    public async Task A_request_under_way_is_never_closed_and_one_connection_more_is()
    {
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await WebServer.StartAsync(
            Options with { Connections = 2, AdminListen = "http://127.0.0.1:0" }, answer: Waiting(go.Task));
        using var first = await RawConnection.OpenAsync(server.Url);
        using var second = await RawConnection.OpenAsync(server.Url);
        var answers = new[] { first.AskAsync(Request("/slow")), second.AskAsync(Request("/slow")) };
        await started.WaitAsync();
        await started.WaitAsync();
        Assert.True(await IsClosedAtOnceAsync(server.Url));
        await Until.SoAsync("it was counted", () => server.Observers.CountOf(EarlyRefusal.NoRoom) == 1);
        using var admin = await RawConnection.UsedAsync(server.AdminUrl!); // it counts its own
        go.SetResult();
        Assert.All(await Task.WhenAll(answers), status => Assert.Equal(200, status));
        using var fourth = await RawConnection.UsedAsync(server.Url); // and now one is idle
        Assert.True(await first.IsClosedAsync(Soon) || await second.IsClosedAsync(Soon));
    }

    // A busy machine may see it reset while it is being opened.
    private static async Task<bool> IsClosedAtOnceAsync(Uri url)
    {
        try
        {
            using var connection = await RawConnection.OpenAsync(url);
            return await connection.IsClosedAsync(Soon);
        }
        catch (System.Net.Sockets.SocketException)
        {
            return true;
        }
    }

    [Fact]
    public async Task Trusted_proxies_stand_for_many_and_their_connections_are_not_counted_as_one_clients()
    {
        await using var server = await WebServer.StartAsync(
            Options with { ConnectionsPerAddress = 2, TrustedProxies = [IPNetwork.Parse("127.0.0.2/32")] });
        var proxied = new List<RawConnection>();
        for (var number = 0; number < 10; number++)
            proxied.Add(await RawConnection.UsedAsync(server.Url, last: 2));
        foreach (var each in proxied)
            Assert.Equal(200, await each.AskAsync());
        proxied.ForEach(each => each.Dispose());
    }

    [Fact]
    public async Task While_an_address_is_full_of_requests_health_and_the_management_plane_get_through()
    {
        using var files = new PemFiles();
        foreach (var isTls in (bool[])[false, true])
        {
            var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var options = Options with { Connections = 2 };
            if (isTls)
                options = options with { Listen = "https://127.0.0.1:0", TlsCert = files.Cert, TlsKey = files.Key };
            await using var server = await WebServer.StartAsync(options, answer: Waiting(go.Task));
            using var busy = WebServer.Client(files.Root, HttpVersion.Version11);
            var slow = new Uri(server.Url, "/slow");
            var answers = new[] { busy.GetAsync(slow), busy.GetAsync(slow) };
            await started.WaitAsync();
            await started.WaitAsync();

            // A client that knows HTTP/2 is offered HTTP/1.1 alone: which request it sends must be known before it is
            // read.
            using var client = WebServer.Client(files.Root, HttpVersion.Version20);
            client.DefaultVersionPolicy = HttpVersionPolicy.RequestVersionOrLower;
            foreach (var path in (string[])["/healthz", "/readyz", "/admin/v1/apps", "/healthz?x=1"])
            {
                using var answer = await client.GetAsync(new Uri(server.Url, path));
                Assert.Equal((HttpStatusCode.OK, true), (answer.StatusCode, answer.Headers.ConnectionClose));
            }

            using var refused = await client.GetAsync(new Uri(server.Url, "/v1/apps/secrets"));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
            Assert.Equal(TimeSpan.FromSeconds(1), refused.Headers.RetryAfter!.Delta);
            go.SetResult();
            Assert.All(await Task.WhenAll(answers), answer => Assert.Equal(HttpStatusCode.OK, answer.StatusCode));
        }
    }

    [Fact]
    public async Task The_reserve_is_not_used_up_by_one_address_that_sends_nothing()
    {
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await WebServer.StartAsync(Options with { Connections = 1 }, answer: Waiting(go.Task));
        using var busy = await RawConnection.OpenAsync(server.Url);
        var answer = busy.AskAsync(Request("/slow"));
        await started.WaitAsync();
        var greedy = await RawConnection.OpenManyAsync(server.Url, last: 2, count: 100);
        using var probe = await RawConnection.OpenAsync(server.Url, last: 3);
        Assert.Equal(200, await probe.AskAsync(Request("/healthz")));
        go.SetResult();
        Assert.Equal(200, await answer);
        greedy.ForEach(each => each.Dispose());
    }

    [Fact]
    public async Task TLS_that_is_never_agreed_on_takes_a_place_that_others_may_have()
    {
        using var files = new PemFiles();
        await using var server = await WebServer.StartAsync(Options with
        {
            Listen = "https://127.0.0.1:0",
            TlsCert = files.Cert,
            TlsKey = files.Key,
            Connections = 5,
            ConnectionsPerAddress = 3,
        });
        var greedy = await RawConnection.OpenManyAsync(server.Url, last: 2, count: 20);
        foreach (var each in greedy)
            await Record.ExceptionAsync(() => each.SendAsync("\x16\x03\x01")); // it may be closed already

        await using var tls = await server.ConnectAsync(files.Root);
        Assert.NotEqual(SslProtocols.None, tls.SslProtocol);
        var closed = await Task.WhenAll(greedy.Select(each => each.IsClosedAsync(Moment)));
        Assert.InRange(closed.Count(each => !each), 0, 3 + Reserved);
        greedy.ForEach(each => each.Dispose());
    }

    [Theory]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
    [InlineData("192.0.2.1", "192.0.2.2", false)]
    [InlineData("192.0.2.1", "::ffff:192.0.2.1", true)]
    public void A_client_is_an_IPv4_address_or_a_64_of_IPv6(string one, string other, bool isSame) =>
        Assert.Equal(isSame, Networks.Owner(IPAddress.Parse(one)).Equals(Networks.Owner(IPAddress.Parse(other))));

    [Theory]
    [InlineData(10_000, 1_048_576, 2, 10_000)]
    [InlineData(10_000, 4_096, 1, 3_552)]
    [InlineData(10_000, 4_096, 2, 1_760)]
    [InlineData(10_000, 256, 1, 1)]
    public void There_are_no_more_connections_than_files_leave_room_for(
        int wanted, long files, int addresses, int most) =>
        Assert.Equal(most, Listeners.ConnectionsOf(new CofferOptions
        {
            Data = ".",
            Listen = "http://127.0.0.1:0",
            AdminListen = addresses == 1 ? null : "http://127.0.0.1:0",
            Connections = wanted,
        }, files));

    [Theory]
    [InlineData(256, false)]
    [InlineData(575, false)]
    [InlineData(576, true)]
    [Trait("Firm edges", "12")]
    public void Fewer_files_than_a_server_needs_are_refused(long files, bool isEnough)
    {
        if (isEnough)
            Preflight.RequireFiles(files);
        else
            Assert.Contains($"may open {files} files at once, and needs 576",
                Assert.Throws<ConfigurationException>(() => Preflight.RequireFiles(files)).Message,
                StringComparison.Ordinal);
    }

    public void Dispose() => started.Dispose();

    private static string Request(string path) => $"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n";

    private RequestDelegate Waiting(Task go) => async context =>
    {
        if (context.Request.Path == "/slow")
        {
            started.Release();
            await go;
        }

        context.Response.ContentLength = 0;
    };
}
