using System.Collections.Concurrent;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// What was answered is kept, however the process ends; what was not answered is there whole or not at all.
/// </summary>
public sealed class DurabilityTests
{
    private const int Writers = 6;
    private const int EnoughAnswers = 150;

    /// <summary>Long enough that a payload torn apart could be told from a whole one.</summary>
    private static readonly string Filling = new('x', 3_000);

    [Fact]
    public async Task Every_answered_request_outlives_a_graceful_stop_under_load()
    {
        using var data = new TemporaryDirectory();
        var answered = new ConcurrentQueue<string>();
        string key;
        await using (var coffer = await ServeAsync(data))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            await using var load = Write(client, answered);
            await load.UntilAsync(EnoughAnswers);
            coffer.Signal();
            await load.EndedAsync();
            Assert.Equal(0, await coffer.ExitAsync());
            Assert.Empty(coffer.Complaints);
        }

        await CheckAsync(data, key, answered);
    }

    [Fact]
    public async Task Every_answered_request_outlives_a_crash_under_load()
    {
        using var data = new TemporaryDirectory();
        var answered = new ConcurrentQueue<string>();
        string key;
        await using (var coffer = await ServeAsync(data))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            await using var load = Write(client, answered);
            await load.UntilAsync(EnoughAnswers);
            Assert.Equal(128 + 9, await coffer.CrashAsync());
            await load.EndedAsync();
        }

        await CheckAsync(data, key, answered);
    }

    [Fact]
    public async Task A_crash_right_after_the_answer_loses_nothing()
    {
        using var data = new TemporaryDirectory();
        string? key = null;
        for (var round = 0; round < 3; round++)
        {
            await using var coffer = await CofferProcess.ServeAsync(data);
            key ??= coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            for (var before = 0; before < round; before++)
                Assert.Equal($"payload {before}", (await client.FindAsync($"round {before}")).Is(200).Payload);
            var replayed = (await client.SetAsync("first of all", "p",
                idempotencyKey: "once")).Is(200).Headers.Contains("Idempotent-Replayed");
            Assert.Equal(round > 0, replayed); // what is kept under an idempotency key is kept with the change
            (await client.SetAsync($"round {round}", $"payload {round}")).Is(200);
            await coffer.CrashAsync();
        }
    }

    private static Task<CofferProcess> ServeAsync(TemporaryDirectory data) =>
        CofferProcess.ServeAsync(data, "--secrets-per-scope", "10000");

    private static async Task CheckAsync(
        TemporaryDirectory data, string key, IReadOnlyCollection<string> answered)
    {
        Assert.True(answered.Count >= EnoughAnswers);
        await using var coffer = await ServeAsync(data);
        using var client = new WireClient(coffer.Url, key);
        for (var writer = 0; writer < Writers; writer++)
        {
            var kept = await client.PayloadsAsync(User(writer));
            Assert.Empty(
                answered.Where(name => name.StartsWith($"{writer}-", StringComparison.Ordinal)).Except(kept.Keys));
            foreach (var (name, payload) in kept)
                Assert.Equal(Payload(name), payload);
        }
    }

    /// <summary>Several clients that set one secret after another until the server is gone.</summary>
    private static Load Write(WireClient client, ConcurrentQueue<string> answered) =>
        new(Writers, async (writer, number) =>
        {
            var name = $"{writer}-{number}";
            try
            {
                var answer = await client.SetAsync(name, Payload(name), User(writer), idempotencyKey: name);
                if (answer.Status == 503)
                    return false; // "stopping": nothing of it was stored, and the client knows
                answer.Is(200);
                answered.Enqueue(name);
                return true;
            }
            catch (HttpRequestException)
            {
                // The server is gone, between two requests or within one: that is how a client learns of it.
                return false;
            }
        });

    private static string User(int writer) => $"usr_{writer}";

    private static string Payload(string name) => $"{name} {Filling} {name}";
}
