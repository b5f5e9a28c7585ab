using System.Collections.Concurrent;
using System.Security.Cryptography;
using Coffer.Shared;

#pragma warning disable RS0030 // Random: no secrets here, and a failure must be repeatable from its seed.

namespace Coffer.EndToEnd;

/// <summary>
/// The power is cut, and the disk loses what was not synced: whatever anybody was answered by then, a reader included,
/// is there. And while a sync is held back nothing is answered that depends on it. <c>TEST_SEED</c> repeats what was
/// lost, and how long each load lasted.
/// </summary>
[Trait("Fast", "0")]
public sealed class PowerCutTests
{
    private const int Writers = 4, Watchers = 3;

    // What each name was last seen with, by anybody; and what it was last sent with.
    private readonly ConcurrentDictionary<string, long> answered = new(), sent = new();
    private readonly ConcurrentQueue<string> payloadsRead = new();

    [Fact]
    public async Task What_anybody_was_answered_is_on_the_disk_whenever_the_power_is_cut()
    {
        var seed = int.TryParse(Environment.GetEnvironmentVariable("TEST_SEED"), out var given)
            ? given
            : RandomNumberGenerator.GetInt32(int.MaxValue);
        TestContext.Current.TestOutputHelper?.WriteLine($"TEST_SEED={seed}");
        var random = new Random(seed);
        var disk = await LosingDisk.MakeAsync();
        string? key = null;
        try
        {
            foreach (var isHeld in (bool[])[true, false, false])
            {
                await using (var coffer = await disk.ServeAsync("--secrets-per-scope", "10000"))
                {
                    key ??= coffer.TestKey;
                    using var client = new WireClient(coffer.Url, key);
                    await RequireAsync(client);
                    await using var load = Begin(client);
                    await load.UntilAsync(60 + random.Next(120));
                    if (isHeld)
                    {
                        await load.EndAsync();
                        await AssertNothingIsSaidBeforeItsSyncAsync(disk, client);
                    }

                    await coffer.CrashAsync();
                    if (!isHeld)
                        await load.EndedAsync();
                }

                using var cut = disk;
                disk = cut.Cut(isHeld ? null : random);
            }

            await using (var coffer = await disk.ServeAsync())
            {
                using var client = new WireClient(coffer.Url, key!);
                await RequireAsync(client);
            }

            // No payload left before it was recorded.
            await AuditVerb.VerifiedAsync(disk.Data);
            var recorded = await AuditVerb.ListAsync(disk.Data, "--verb", "find");
            Assert.True(payloadsRead.Count > 10, $"only {payloadsRead.Count} payloads were read");
            Assert.Empty(payloadsRead.Except(recorded.Select(entry => entry.GetProperty("request").GetString()!)));
        }
        finally
        {
            disk.Dispose();
        }
    }

    /// <summary>
    /// A held sync holds back what is written and what is recorded, and nothing of that shows; plain finds are answered
    /// as before. Then one is let go, and one ends with the power.
    /// </summary>
    private async Task AssertNothingIsSaidBeforeItsSyncAsync(LosingDisk disk, WireClient client)
    {
        foreach (var isLetGo in (bool[])[true, false])
        {
            disk.Hold();
            var before = new Dictionary<string, long>(answered);
            var sets = Enumerable.Range(0, Writers).SelectMany(writer => (Task<Answer>[])
                [Send(client, NameOf(writer, 0)), Send(client, $"new {isLetGo} {writer}")]).ToList();
            await disk.HeldAsync(() => sets.Any(set => set.IsCompleted));
            var payload = client.FindAsync(NameOf(0, 0));
            for (var look = 0; look < 10; look++)
            {
                for (var writer = 0; writer < Writers; writer++)
                {
                    var name = NameOf(writer, 0);
                    Assert.Equal(before[name], VersionOf((await client.FindBareAsync(name)).Is(200)));
                    (await client.FindBareAsync($"new {isLetGo} {writer}")).Is(404);
                }
            }

            var listed = (await client.GetAsync("/v1/apps/secrets", ("scope[type]", "account"), ("limit", "100")))
                .Is(200).Body.GetProperty("data").EnumerateArray();
            Assert.DoesNotContain(listed, secret =>
                secret.GetProperty("name").GetString()!.StartsWith($"new {isLetGo}", StringComparison.Ordinal));
            Assert.All([.. sets, payload], request => Assert.False(request.IsCompleted, "it was answered before"));
            if (!isLetGo)
                continue;

            disk.Release();
            foreach (var answer in await Task.WhenAll(sets))
                answer.Is(200);
            foreach (var name in sent.Keys)
                Saw(name, await client.FindBareAsync(name));
            (await payload).Is(200);
        }
    }

    // Each writer has names of its own, and each value says which it is. The watchers look at all of them.
    private Load Begin(WireClient client) => new(Writers + Watchers, async (worker, number) =>
    {
        try
        {
            if (worker < Writers)
            {
                var name = NameOf(worker, number % 3);
                Saw(name, await Send(client, name));
                return true;
            }

            var watched = NameOf((worker + number) % Writers, number % 3);
            var answer = worker == Writers ? await client.FindAsync(watched) : await client.FindBareAsync(watched);
            if (answer.Status == 404)
                return true; // it was not set yet
            Saw(watched, answer);
            if (worker == Writers)
                payloadsRead.Enqueue(answer.Headers.GetValues("Request-Id").Single());
            return true;
        }
        catch (HttpRequestException)
        {
            return false; // the power is gone
        }
    });

    private Task<Answer> Send(WireClient client, string name)
    {
        var version = sent.GetValueOrDefault(name) + 1;
        sent[name] = version;
        return client.SetAsync(name, PayloadOf(name, version));
    }

    private void Saw(string name, Answer answer)
    {
        var version = VersionOf(answer.Is(200));
        answered.AddOrUpdate(name, version, (_, before) => Math.Max(before, version));
    }

    /// <summary>All that anybody was answered is there, and each value is whole.</summary>
    private async Task RequireAsync(WireClient client)
    {
        foreach (var (name, last) in sent)
        {
            var least = answered.GetValueOrDefault(name);
            var answer = await client.FindAsync(name);
            if (answer.Status == 404 && least == 0)
            {
                sent.TryRemove(name, out _);
                continue;
            }

            var version = VersionOf(answer.Is(200));
            Assert.True(version >= least, $"{name} was seen with version {least}, and is {version} after the cut");
            Assert.InRange(version, 1, last);
            Assert.Equal(PayloadOf(name, version), answer.Payload);
            sent[name] = answered[name] = version;
        }
    }

    private static string NameOf(int writer, int number) => $"{writer} {number}";

    private static string PayloadOf(string name, long version) =>
        $"{name} {version} {new string('x', (int)(version * 397 % 3_000))} {version}";

    private static long VersionOf(Answer answer) =>
        long.Parse(answer.Headers.GetValues("Coffer-Secret-Version").Single());
}
