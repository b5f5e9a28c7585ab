using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Coffer.Shared;

/// <summary>A server that receives webhooks on this machine, and answers them as a test says.</summary>
internal sealed class Receiver : IAsyncDisposable
{
    private readonly WebApplication app;
    private readonly List<Received> all = [];
    private readonly SemaphoreSlim arrived = new(0);

    private Receiver(WebApplication app) => this.app = app;

    /// <summary>A webhook that arrived.</summary>
    public sealed record Received(
        string Body, string Signature, bool IsOutOfOrder, IReadOnlyDictionary<string, string> Headers)
    {
        public JsonNode Json { get; } = JsonNode.Parse(Body)!;

        public string Id => (string)Json["id"]!;

        public string Type => (string)Json["type"]!;

        public string? Account => (string?)Json["account"];

        public JsonNode Object => Json["data"]!["object"]!;

        /// <summary>Whether it is signed by a secret, as Stripe's SDKs verify it.</summary>
        public bool IsSignedBy(string secret, long at)
        {
            var signed = Encoding.UTF8.GetBytes($"{at}.{Body}");
            var mac = Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), signed));
            return Signature.StartsWith($"t={at},", StringComparison.Ordinal)
                && Signature.Split(',').Contains($"v1={mac}");
        }
    }

    public Uri Url { get; private set; } = null!;

    /// <summary>The status of each answer.</summary>
    public Func<Received, int> Answers { get; set; } = static _ => 200;

    /// <summary>What else an answer has; null is nothing.</summary>
    public Func<HttpContext, Task>? Writes { get; set; }

    public IReadOnlyList<Received> All
    {
        get
        {
            lock (all)
                return [.. all];
        }
    }

    public static async Task<Receiver> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        var receiver = new Receiver(builder.Build());
        receiver.app.Run(receiver.ReceiveAsync);
        await receiver.app.StartAsync();
        receiver.Url = new Uri(receiver.app.Urls.Single());
        return receiver;
    }

    /// <summary>Waits until so many have arrived in all.</summary>
    public async Task<IReadOnlyList<Received>> WaitAsync(int count)
    {
        while (All.Count < count)
        {
            if (!await arrived.WaitAsync(TimeSpan.FromSeconds(30)))
                Assert.Fail($"{All.Count} of {count} webhooks arrived in 30 seconds");
        }

        return All;
    }

    public async ValueTask DisposeAsync()
    {
        await app.StopAsync(new CancellationToken(canceled: true));
        await app.DisposeAsync();
        arrived.Dispose();
    }

    private async Task ReceiveAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        var received = new Received(await reader.ReadToEndAsync(), context.Request.Headers["Stripe-Signature"]!,
            context.Request.Headers.ContainsKey("Coffer-Out-Of-Order"),
            context.Request.Headers.ToDictionary(static header => header.Key, static header => $"{header.Value}",
                StringComparer.OrdinalIgnoreCase));
        context.Response.StatusCode = Answers(received);
        lock (all)
            all.Add(received);
        arrived.Release();
        if (Writes is not null)
            await Writes(context);
    }
}
