using System.Collections.Concurrent;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// Killed not at random but at a named system call, by strace: what was answered holds, what was not is whole or absent
/// and is done once.
/// </summary>
public sealed class CrashPointTests
{
    private const int Killed = 128 + 9;

    /// <summary>What was in flight must be there afterwards, must not be, or may be either.</summary>
    public enum Fate
    {
        Absent,
        Whole,
        Either,
    }

    [Theory]
    [InlineData("pwrite64", 1, Fate.Absent)] // nothing of it is in the log
    [InlineData("pwrite64", 4, Fate.Absent)] // some pages are
    [InlineData("fdatasync,fsync", 1, Fate.Either)] // all are, and nobody made sure of it
    public Task Killed_while_a_set_is_made_durable(string calls, int nth, Fate fate) =>
        KillAsync(data => [data.File("coffer.db-wal")], calls, nth, fate,
            (client, key) => client.SetAsync("changed", "new", idempotencyKey: key));

    [Fact]
    public Task Killed_between_the_commit_of_a_set_and_its_answer() =>
        KillAsync(_ => [], "sendmsg,sendto", nth: 1, Fate.Whole,
            (client, key) => client.SetAsync("changed", "new", idempotencyKey: key));

    [Theory]
    [InlineData("pwrite64", 2, Fate.Absent)]
    [InlineData("fdatasync,fsync", 1, Fate.Either)]
    public Task Killed_while_a_delete_is_made_durable(string calls, int nth, Fate fate) =>
        KillAsync(data => [data.File("coffer.db-wal")], calls, nth, fate,
            (client, key) => client.DeleteAsync("changed", idempotencyKey: key));

    [Fact]
    public Task Killed_between_the_commit_of_a_delete_and_its_answer() =>
        KillAsync(_ => [], "sendmsg,sendto", nth: 1, Fate.Whole,
            (client, key) => client.DeleteAsync("changed", idempotencyKey: key));

    [Theory]
    [InlineData("pwrite64", 1)]
    [InlineData("pwrite64", 200)]
    [InlineData("fdatasync,fsync", 1)]
    public async Task Killed_while_the_log_is_written_back_into_the_store(string calls, int nth)
    {
        const int Writers = 8;
        using var data = new TemporaryDirectory();
        var answered = new ConcurrentDictionary<string, string>();
        var unanswered = new ConcurrentBag<string>();
        string key;
        await using (var coffer = await ServeAsync(data))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            await using var strace = await Strace.AttachAsync(coffer, calls, $"signal=SIGKILL:when={nth}",
                data.File("coffer.db"));
            await using var load = new Load(Writers, async (writer, number) =>
            {
                var name = $"{writer}-{number}";
                try
                {
                    (await client.SetAsync(name, Payload(name), idempotencyKey: name)).Is(200);
                    answered[name] = Payload(name);
                    return true;
                }
                catch (HttpRequestException)
                {
                    unanswered.Add(name);
                    return false;
                }
            });
            await load.EndedAsync();
            Assert.Equal(Killed, await coffer.ExitAsync());
        }

        Assert.True(answered.Count > 100, $"killed after {answered.Count} sets: the log cannot have been full");
        await using var again = await ServeAsync(data);
        using var afterwards = new WireClient(again.Url, key);
        var there = await afterwards.PayloadsAsync();
        Assert.Empty(answered.Keys.Except(there.Keys));
        foreach (var (name, payload) in there)
            Assert.Equal(Payload(name), payload);
        foreach (var name in unanswered)
            Assert.Equal("1",
                VersionIn((await afterwards.SetAsync(name, Payload(name), idempotencyKey: name)).Is(200)));
        await AuditVerb.VerifiedAsync(data);
        Assert.Equal(answered.Count + unanswered.Count,
            (await AuditVerb.ListAsync(data, "--verb", "set", "--outcome", "ok")).Count);
    }

    /// <summary>
    /// Kills a server in the one change that it is asked for, and sees what has become of it and of everything else.
    /// </summary>
    private static async Task KillAsync(Func<TemporaryDirectory, string[]> files, string calls, int nth, Fate fate,
        Func<WireClient, string, Task<Answer>> change)
    {
        using var data = new TemporaryDirectory();
        string key;
        await using (var coffer = await ServeAsync(data))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            (await client.SetAsync("kept", "old")).Is(200);
            (await client.SetAsync("kept", "kept")).Is(200);
            (await client.SetAsync("gone", "gone")).Is(200);
            (await client.DeleteAsync("gone")).Is(200);
            (await client.SetAsync("changed", "old")).Is(200);
            await using var strace = await Strace.AttachAsync(coffer, calls, $"signal=SIGKILL:when={nth}", files(data));
            await Assert.ThrowsAsync<HttpRequestException>(() => change(client, "interrupted"));
            Assert.Equal(Killed, await coffer.ExitAsync());
        }

        await using var again = await ServeAsync(data);
        using var afterwards = new WireClient(again.Url, key);
        var kept = (await afterwards.FindAsync("kept")).Is(200);
        Assert.Equal(("kept", "2"), (kept.Payload, VersionIn(kept)));
        (await afterwards.FindAsync("gone")).Is(404);

        var found = await afterwards.FindAsync("changed");
        var isWhole = found.Status == 404 || found.Is(200).Payload == "new";
        if (!isWhole)
            Assert.Equal(("old", "1"), (found.Payload, VersionIn(found)));
        Assert.True(fate == Fate.Either || isWhole == (fate == Fate.Whole),
            $"what was in flight is {(isWhole ? "there" : "not there")}");

        var first = (await change(afterwards, "interrupted")).Is(200);
        Assert.Equal(isWhole, first.Headers.Contains("Idempotent-Replayed"));
        var second = (await change(afterwards, "interrupted")).Is(200);
        Assert.True(second.Headers.Contains("Idempotent-Replayed"));
        Assert.Equal(VersionIn(first), VersionIn(second));
        Assert.Equal(first.Payload, second.Payload);
        await AuditVerb.VerifiedAsync(data);
        var entries = await AuditVerb.ListAsync(data, "--outcome", "ok");
        // five before, and the one once
        Assert.Equal(6, entries.Count(entry => entry.GetProperty("verb").GetString() is "set" or "delete"));
    }

    private static Task<CofferProcess> ServeAsync(TemporaryDirectory data) =>
        CofferProcess.ServeAsync(data, "--secrets-per-scope", "10000");

    private static string Payload(string name) => $"{name} {new string('x', 4_900)} {name}";

    private static string VersionIn(Answer answer) => answer.Headers.GetValues("Coffer-Secret-Version").Single();
}
