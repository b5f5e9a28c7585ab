using System.Diagnostics;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The file system turns read-only, as one does that found an error in itself: reading continues, and writing when it
/// may again.
/// </summary>
public sealed class ReadOnlyTests
{
    /// <summary>By whatever call a file is changed.</summary>
    private const string Writing = "pwrite64,pwritev,write,fdatasync,fsync,ftruncate,fallocate";

    [Fact]
    public async Task A_store_that_turns_read_only_refuses_sets_until_it_may_be_written_again_and_loses_nothing()
    {
        using var data = new TemporaryDirectory();
        string key;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            (await client.SetAsync("before", "p")).Is(200);

            // With its files open for writing no mount turns read-only; the kernel does that by itself, and so
            // does strace.
            await using (await Strace.AttachAsync(coffer, Writing, "error=EROFS", data.File("coffer.db"),
                data.File("coffer.db-wal"), data.File("audit-checkpoints.jsonl")))
            {
                AssertUnavailable(await client.SetAsync("during", "p", idempotencyKey: "during"));
                AssertUnavailable(await client.DeleteAsync("before"));
                AssertUnavailable(await client.FindAsync("before"));
                AssertUnavailable(await client.ListAsync());
                (await client.FindBareAsync("before")).Is(200);
                (await client.FindBareAsync("during")).Is(404);
                var unready = (await client.GetAsync("/readyz")).Is(503);
                Assert.Equal("unavailable", unready.Body.GetProperty("status").GetString());
                Assert.Contains("I/O error", unready.Body.GetProperty("storage").GetString(), StringComparison.Ordinal);
                Assert.Equal("ok", unready.Body.GetProperty("key").GetString());
                (await client.GetAsync("/healthz")).Is(200);
            }

            Assert.Equal("p", (await client.FindAsync("before")).Is(200).Payload);
            (await client.FindAsync("during")).Is(404);
            var during = (await client.SetAsync("during", "p", idempotencyKey: "during")).Is(200);
            Assert.False(during.Headers.Contains("Idempotent-Replayed")); // what was refused was not done
            await UntilReadyAsync(client);
            await AuditVerb.VerifiedAsync(data);
            Assert.Equal(2, (await AuditVerb.ListAsync(data, "--verb", "set", "--outcome", "ok")).Count);
            Assert.Equal(0, await coffer.StopAsync());
        }

        await using var again = await CofferProcess.ServeAsync(data);
        using var afterwards = new WireClient(again.Url, key);
        Assert.Equal(["before", "during"], (await afterwards.PayloadsAsync()).Keys.Order(StringComparer.Ordinal));
        await AuditVerb.VerifiedAsync(data);
    }

    [Fact]
    public async Task A_start_on_a_read_only_file_system_is_refused_with_78_and_changes_nothing()
    {
        await using var disk = await SmallDisk.MountAsync("8m");
        string key;
        await using (var coffer = await ServeAsync(disk))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            (await client.SetAsync("k", "p")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        await disk.RemountAsync("ro");
        (await Ran.CofferAsync("serve", "--data", disk.Path, "--listen", "http://127.0.0.1:0")).Refused(78, disk.Path);
        await disk.RemountAsync("rw");
        await using var again = await ServeAsync(disk);
        using var afterwards = new WireClient(again.Url, key);
        Assert.Equal("p", (await afterwards.FindAsync("k")).Is(200).Payload);
    }

    [Fact]
    [Trait("Firm edges", "12")]
    public async Task A_store_on_a_read_only_medium_is_verified_listed_exported_backed_up_and_migrated_as_it_is()
    {
        await using var disk = await SmallDisk.MountAsync("16m");
        using var folder = new TemporaryDirectory();
        await using (var coffer = await ServeAsync(disk))
        {
            using var client = new WireClient(coffer.Url, coffer.TestKey);
            (await client.SetAsync("k", "p")).Is(200);
            await coffer.CrashAsync(); // what was set is in the log alone
        }

        Assert.True(new FileInfo(Path.Combine(disk.Path, "coffer.db-wal")).Length > 0);
        await disk.RemountAsync("ro");
        var temporary = Directory.CreateDirectory(folder.File("tmp")).FullName;
        Assert.Contains(" 0 problems", (await RunAsync("audit", "verify")).EndedWith(0).Stdout,
            StringComparison.Ordinal);
        Assert.Contains("set", (await RunAsync("audit", "list", "--verb", "set")).EndedWith(0).Stdout,
            StringComparison.Ordinal);
        Assert.Contains("\"seal\":", (await RunAsync("audit", "export")).EndedWith(0).Stdout, StringComparison.Ordinal);

        // The source stays as it is, so it is said what lives on.
        var moved = await CofferAsync("migrate", "--from", disk.Path, "--to", folder.File("copy"));
        Assert.Contains("1 secrets opened, 0 problems", moved.EndedWith(69).Stdout, StringComparison.Ordinal);
        Assert.Contains($"{disk.Path} could not be closed: it cannot be written where it is", moved.Stderr,
            StringComparison.Ordinal);
        Assert.Contains($"Start no server on {disk.Path} again: destroy it", moved.Stderr, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(temporary));
        await using var served = await CofferProcess.StartAsync(["serve", "--data", folder.File("copy")]);

        Task<Ran> RunAsync(params string[] arguments) => CofferAsync([.. arguments, "--data", disk.Path]);

        Task<Ran> CofferAsync(params string[] arguments) => Ran.ProgramAsync(Needs.Program, arguments,
            new Dictionary<string, string> { ["TMPDIR"] = temporary });
    }

    private static Task<CofferProcess> ServeAsync(SmallDisk disk) =>
        CofferProcess.StartAsync(["serve", "--data", disk.Path]);

    // A proof is believed for a second, also one that failed.
    private static Task UntilReadyAsync(WireClient client) => Until.SoAsync("readiness is well again",
        async () => (await client.GetAsync("/readyz")).Status == 200, TimeSpan.FromSeconds(5));

    private static void AssertUnavailable(Answer answer) =>
        Assert.Equal("true", Assert.Single(answer.Is(503).Headers.GetValues("Stripe-Should-Retry")));
}
