using System.Diagnostics;
using System.Net;
using Coffer.Shared;
using Coffer.Webhooks;
using WebhookEndpoint = Coffer.Access.WebhookEndpoint;

namespace Coffer.Tests.Webhooks;

/// <summary>How an event is sent, and what a receiver cannot have Coffer do (S25).</summary>
[Trait("Events", "S25")]
public sealed class SenderTests : IAsyncLifetime
{
    private const string Name = "receiver.example";

    private static readonly byte[] Body = """{"id":"evt_1","type":"t"}"""u8.ToArray();

    private readonly ManualTime time = new();
    private Receiver receiver = null!;

    public async ValueTask InitializeAsync() => receiver = await Receiver.StartAsync();

    public ValueTask DisposeAsync() => receiver.DisposeAsync();

    [Fact]
    public async Task A_name_of_which_one_address_is_refused_or_which_has_none_is_called_nowhere()
    {
        foreach (var addresses in (IPAddress[][])[[], [IPAddress.Loopback, IPAddress.Parse("127.0.0.2")],
            [IPAddress.Parse("127.0.0.2"), IPAddress.Loopback]])
        {
            var asked = 0;
            using var sender = SenderTo("127.0.0.1/32", _ =>
            {
                asked++;
                return addresses;
            });
            Assert.Equal(0, await SendAsync(sender));
            Assert.Equal((1, 0), (asked, receiver.All.Count));
        }

        // Of those that may be called, the first that answers.
        using var allowed = SenderTo("127.0.0.0/8", static _ => [IPAddress.Parse("127.0.0.2"), IPAddress.Loopback]);
        Assert.Equal(200, await SendAsync(allowed));
        Assert.Equal($"{Name}:{receiver.Url.Port}", Assert.Single(receiver.All).Headers["Host"]);
    }

    [Fact]
    public async Task Nothing_goes_with_an_event_but_what_is_meant_and_nothing_of_the_surroundings_leads_it_elsewhere()
    {
        await using var proxy = await Receiver.StartAsync();
        var before = HttpClient.DefaultProxy;
        HttpClient.DefaultProxy = new ProxyOf(Name, proxy.Url);
        try
        {
            receiver.Writes = static context =>
            {
                context.Response.Headers.SetCookie = "a=b";
                return Task.CompletedTask;
            };
            using var activity = new Activity("of a request").Start();
            using var sender = SenderTo("127.0.0.0/8");
            for (var i = 0; i < 2; i++)
                Assert.Equal(200, await SendAsync(sender));
        }
        finally
        {
            HttpClient.DefaultProxy = before;
        }

        Assert.Empty(proxy.All);
        Assert.Equal(2, receiver.All.Count);
        Assert.All(receiver.All, static received => Assert.Equal(
            ["Content-Length", "Content-Type", "Host", "Stripe-Signature", "User-Agent"],
            received.Headers.Keys.Order(StringComparer.Ordinal)));
    }

    [Fact]
    public async Task An_answer_that_does_not_come_is_none_and_one_that_does_not_end_is_cut()
    {
        receiver.Writes = static context => Task.Delay(Timeout.Infinite, context.RequestAborted);
        using var hasty = SenderTo("127.0.0.0/8", patience: TimeSpan.FromMilliseconds(200));
        Assert.Equal(0, await SendAsync(hasty));

        receiver.Writes = static context =>
        {
            context.Response.Headers["X-Long"] = new string('a', 70 * 1024);
            return Task.CompletedTask;
        };
        using var patient = SenderTo("127.0.0.0/8", patience: TimeSpan.FromHours(1));
        Assert.Equal(0, await SendAsync(patient));

        receiver.Writes = static async context =>
        {
            var block = new byte[16 * 1024];
            while (!context.RequestAborted.IsCancellationRequested)
                await context.Response.Body.WriteAsync(block, context.RequestAborted);
        };
        Assert.Equal(200, await SendAsync(patient));
    }

    private Sender SenderTo(string network, Func<string, IPAddress[]>? resolve = null, TimeSpan? patience = null) =>
        new(new Destinations([IPNetwork.Parse(network)]), time)
        {
            Resolve = (name, _) => Task.FromResult(resolve?.Invoke(name) ?? [IPAddress.Loopback]),
            Patience = patience ?? TimeSpan.FromSeconds(10),
        };

    private Task<int> SendAsync(Sender sender) => sender.SendAsync(new WebhookEndpoint("we_1", null, false, 1)
    {
        Url = $"http://{Name}:{receiver.Url.Port}/",
    }, Body, isOutOfOrder: false, default).WaitAsync(TimeSpan.FromSeconds(30));

    /// <summary>A proxy for one name: other tests run beside this one.</summary>
    private sealed class ProxyOf(string name, Uri at) : IWebProxy
    {
        public ICredentials? Credentials { get; set; }

        public Uri GetProxy(Uri destination) => at;

        public bool IsBypassed(Uri host) => host.Host != name;
    }
}
