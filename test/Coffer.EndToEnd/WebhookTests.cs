using System.Collections.Concurrent;
using System.Diagnostics;
using Coffer.Shared;
using Stripe;

#pragma warning disable RS0030 // Random: nothing here is a secret.

namespace Coffer.EndToEnd;

/// <summary>What the real program sends: verified by the official SDKs, and none lost when it is killed.</summary>
[Trait("Events", "delivery")]
public sealed class WebhookTests
{
    private const int Kills = 5, Writers = 4, Accounts = 3;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_official_SDKs_verify_what_is_sent_and_nothing_that_was_changed()
    {
        var node = Needs.Node();
        using var data = new TemporaryDirectory();
        await using var receiver = await Receiver.StartAsync();
        await using var coffer = await ServeAsync(data);
        var secret = await SentEvents.ListenAsync(coffer.Url, coffer.AdminKey, receiver);
        using var client = new WireClient(coffer.Url, coffer.TestKey, "acct_1");
        (await client.SetAsync("k", "p", "usr_1")).Is(200);
        var (body, signature) = await receiver.WaitAsync(1) is [var received, ..]
            ? (received.Body, received.Signature)
            : throw new InvalidOperationException("nothing came");

        // .NET also compares the release that the event names with its own.
        var parsed = EventUtility.ConstructEvent(body, signature, secret);
        Assert.Equal(("secret.set", "acct_1", false), (parsed.Type, parsed.Account, parsed.Livemode));
        Assert.StartsWith("appsecret_", Assert.IsType<Stripe.Apps.Secret>(parsed.Data.Object).Id,
            StringComparison.Ordinal);
        Assert.Throws<StripeException>(() => EventUtility.ConstructEvent(body + " ", signature, secret));
        Assert.Throws<StripeException>(() => EventUtility.ConstructEvent(body, signature, secret + "x"));

        var script = Path.Combine(Needs.SdkFolder, "verify-webhook.mjs");
        var accepted = await Ran.ProgramAsync(node, [script, signature, secret, body]);
        Assert.Equal((0, "secret.set"), (accepted.ExitCode, accepted.Stdout.Trim()));
        Assert.NotEqual(0, (await Ran.ProgramAsync(node, [script, signature, secret, $"{body} "])).ExitCode);

        // The SDK reads them as it reads Stripe's.
        var events = new EventService(
            new StripeClient(coffer.TestKey, apiBase: coffer.Url.GetLeftPart(UriPartial.Authority)));
        var listed = await events.ListAsync(new EventListOptions { Limit = 1 }, cancellationToken: Ct);
        Assert.Equal(parsed.Id, Assert.Single(listed.Data).Id);
        Assert.Equal("secret.set", (await events.GetAsync(parsed.Id, cancellationToken: Ct)).Type);
        Assert.Equal(0, await coffer.StopAsync());
    }

    [Fact]
    public async Task Kill_after_kill_every_set_that_was_answered_is_sent_and_in_order_for_each_account()
    {
        using var data = new TemporaryDirectory();
        await using var receiver = await Receiver.StartAsync();
        var random = new Random(4_711);
        // Now and then the receiver is away too.
        var asked = 0;
        receiver.Answers = _ => Interlocked.Increment(ref asked) % 50 == 0 ? 500 : 200;
        var answered = new ConcurrentBag<string>();
        string? key = null, admin = null;
        for (var kill = 0; kill <= Kills; kill++)
        {
            await using var coffer = await ServeAsync(data);
            if (key is null)
            {
                (key, admin) = (coffer.TestKey, coffer.AdminKey);
                await SentEvents.ListenAsync(coffer.Url, coffer.AdminKey, receiver);
            }

            if (kill == Kills)
            {
                receiver.Answers = static _ => 200;
                await CompareAsync(coffer.Url, key, admin!, receiver, answered);
                Assert.Equal(0, await coffer.StopAsync());
                return;
            }

            using var clients = new AccountClients(coffer.Url, key);
            var round = kill;
            var writing = Task.WhenAll(Enumerable.Range(0, Writers).Select(
                writer => WriteAsync(clients, $"{round}-{writer}", answered)));
            var enough = answered.Count + random.Next(Writers, 60);
            await Until.SoAsync("some are answered", () => answered.Count >= enough || writing.IsCompleted);
            Assert.Equal(128 + 9, await coffer.CrashAsync());
            await writing;
        }
    }

    // Until the server is gone.
    private static async Task WriteAsync(AccountClients clients, string writer, ConcurrentBag<string> answered)
    {
        for (var i = 0; ; i++)
        {
            try
            {
                var answer = await clients[$"acct_{i % Accounts}"].SetAsync($"k{writer[^1]}", $"{writer}-{i}");
                if (answer.Status == 200)
                    answered.Add(answer.Headers.GetValues("Request-Id").Single());
            }
            catch (Exception e) when (e is HttpRequestException or IOException or TaskCanceledException)
            {
                return;
            }
        }
    }

    // What the receiver has, against what clients were answered and what the store lists.
    private static async Task CompareAsync(
        Uri url, string key, string admin, Receiver receiver, ConcurrentBag<string> answered)
    {
        var waited = Stopwatch.StartNew();
        await RetryAsync(url, admin);
        var listed = await SentEvents.AssertAllAsync(url, key, receiver);
        var requests = listed.Select(static each => each.Request!).ToHashSet(StringComparer.Ordinal);
        Assert.Subset(requests, answered.ToHashSet(StringComparer.Ordinal));
        Assert.True(answered.Count >= Kills * Writers, $"only {answered.Count} sets were answered");
        TestContext.Current.TestOutputHelper?.WriteLine($"{answered.Count} sets answered, {listed.Count} events, "
            + $"{receiver.All.Count} deliveries after {Kills} kills, the last {waited.ElapsedMilliseconds} ms after "
            + "the start");
    }

    // What was refused waits for seconds: here nobody else does.
    private static async Task RetryAsync(Uri url, string admin)
    {
        using var client = new WireClient(url, admin);
        var endpoint = (await client.GetAsync("/admin/v1/webhook_endpoints")).Is(200).Body.GetProperty("data")[0]
            .GetProperty("id").GetString();
        var path = $"/admin/v1/webhook_endpoints/{endpoint}";
        var waiting = (await client.GetAsync($"{path}/deliveries", ("limit", "100"))).Is(200).Body.GetProperty("data");
        foreach (var each in waiting.EnumerateArray().Where(static each => each.GetProperty("attempts").GetInt32() > 0))
            (await client.PostAsync($"{path}/retry", [("event", each.GetProperty("id").GetString()!)])).Is(200);
    }

    private static Task<CofferProcess> ServeAsync(TemporaryDirectory data) =>
        CofferProcess.ServeAsync(data, "--webhook-networks", "127.0.0.1");
}
