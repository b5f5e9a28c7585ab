using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Transfer;

/// <summary>Back-ups that a server makes by itself.</summary>
public sealed class BackupScheduleTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    private string Data => directory.File("data");

    private string Keys => directory.File("keys");

    [Fact]
    public async Task One_is_made_when_it_is_due_and_those_that_are_too_old_are_removed_with_their_keys()
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client().Set("k")).IsOk();
        await server.StopAsync();
        await server.OnStoreAsync(async (_, committer, instance) =>
        {
            var plan = new BackupSchedule.Plan(Data, Keys, TimeSpan.FromHours(24), TimeSpan.FromDays(30));
            using var schedule = new BackupSchedule(server.Location, instance, committer, plan, server.Time,
                NullLogger<BackupSchedule>.Instance);
            var first = await schedule.RunOnceAsync(default);
            Assert.Equal(1, first!.Secrets);
            Assert.Null(await schedule.RunOnceAsync(default));
            server.Time.Move(TimeSpan.FromHours(23));
            Assert.Null(await schedule.RunOnceAsync(default));
            server.Time.Move(TimeSpan.FromHours(1));
            Assert.NotNull(await schedule.RunOnceAsync(default));
            Assert.Equal((2, 2), (Directory.GetFiles(Data).Length, Directory.GetFiles(Keys).Length));

            // Another file there, and another store's back-up, are nobody's to remove.
            await File.WriteAllTextAsync(Path.Combine(Data, "notes.backup"), "not a back-up\n");
            server.Time.Move(TimeSpan.FromDays(31));
            var last = await schedule.RunOnceAsync(default);
            var left = Assert.Single(BackupSchedule.List(Data, instance.Id));
            Assert.Equal(last!.Header.Id, left.Header.Id);
            Assert.Equal((2, 1), (Directory.GetFiles(Data).Length, Directory.GetFiles(Keys).Length));
            Assert.Empty(BackupSchedule.List(Data, [1, 2, 3]));

            using var opened = await OpenedBackup.OpenAsync(left.File,
                Path.Combine(Keys, Path.GetFileName(left.File) + BackupKeys.Suffix),
                KeyWrappers.OfFile(Path.Combine(server.Data, "coffer.key")), anchor: null, default);
            Assert.Empty(opened.Prove(static _ => { }).Problems);
            return 0;
        });
        await server.StartAgainAsync();
        Assert.Equal(3, await CountAsync(server, "create_backup"));
        Assert.Equal(2, await CountAsync(server, "delete_backup"));
    }

    [Fact]
    public async Task What_a_run_that_was_killed_had_begun_is_removed_and_what_may_be_under_way_is_not()
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var (begun, keys, under, other) = (Path.Combine(Data, "coffer-1.backup.new"),
            Path.Combine(Keys, "coffer-1.backup.keys.new"), Path.Combine(Data, "coffer-2.backup.new"),
            Path.Combine(Data, "mine.new"));
        Directory.CreateDirectory(Data);
        Directory.CreateDirectory(Keys);
        foreach (var file in (string[])[begun, keys, under, other])
            await File.WriteAllTextAsync(file, "begun");
        foreach (var file in (string[])[begun, keys, other])
            File.SetLastWriteTimeUtc(file, server.Time.GetUtcNow().UtcDateTime.AddHours(-2));
        File.SetLastWriteTimeUtc(under, server.Time.GetUtcNow().UtcDateTime);
        await server.OnStoreAsync(async (_, committer, instance) =>
        {
            var plan = new BackupSchedule.Plan(Data, Keys, TimeSpan.FromHours(24), TimeSpan.FromDays(30));
            using var schedule = new BackupSchedule(server.Location, instance, committer, plan, server.Time,
                NullLogger<BackupSchedule>.Instance);
            Assert.Equal((true, 0), (plan.Known(instance.Id).IsUnderWay, plan.Known(instance.Id).Files!.Count));
            Assert.NotNull(await schedule.RunOnceAsync(default));
            Assert.Equal((false, false, true, true),
                (File.Exists(begun), File.Exists(keys), File.Exists(under), File.Exists(other)));
            File.Delete(under);
            var known = plan.Known(instance.Id);
            Assert.Equal((false, 1), (known.IsUnderWay, known.Files!.Count));
            Assert.StartsWith("file:", Assert.Single(known.Files[0].Wrappers), StringComparison.Ordinal);
            Directory.Delete(Data, recursive: true);
            Assert.Null(plan.Known(instance.Id).Files);
            return 0;
        });
    }

    [Fact]
    public async Task A_server_makes_the_first_at_once_and_says_in_readyz_when_it_cannot()
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        await File.WriteAllTextAsync(Data, "a file where a directory is to be");
        await StartAsync();
        await Until.SoAsync("readiness says so", async () => (await ReadyAsync(server)).Text.Contains(
            "the last back-up could not be made", StringComparison.Ordinal));
        Assert.Equal(200, (await server.Client().Get("/readyz")).Status);

        await server.StopAsync();
        File.Delete(Data);
        await StartAsync();
        await Until.SoAsync("a back-up is made",
            () => Directory.Exists(Data) && Directory.GetFiles(Data, "*.keys").Length == 1);
        await Until.SoAsync("readiness has nothing to say of it",
            async () => !(await ReadyAsync(server)).Text.Contains("backup", StringComparison.Ordinal));

        Task StartAsync() => server.StartAgainAsync(with: options => options with
        {
            Backups = new CofferOptions.BackupOptions(Data, null),
        });
    }

    [Fact]
    [Trait("Keys", "S11")]
    public void What_is_not_known_of_back_ups_is_not_claimed()
    {
        var known = new KnownBackups(TimeSpan.FromHours(1), TimeSpan.FromDays(1))
        {
            Files = [.. Enumerable.Range(1, 150).Select(i => new KnownBackup($"{i}", $"file {i}", i * 1_000, []))],
        };
        const long Kept = 86_400 + 3_600 + 3_600;
        Assert.Equal((100, "file 149", 149, 149_000 + Kept), Stated(known, 149_999));
        Assert.Equal((1, "file 1", 1, 1_000 + Kept), Stated(known, 1_000)); // of the same second: it may
        Assert.Equal((0, null, 0, null), Stated(known, 999));
        // One that is being written holds it for as long as one of that moment.
        Assert.Equal((0, null, 0, 999 + Kept), Stated(known with { IsUnderWay = true }, 999));
        // A directory that cannot be read may have any.
        Assert.Equal((0, null, null, 5_000 + Kept), Stated(known with { Files = null }, 5_000));

        static (int, string?, int?, long?) Stated(KnownBackups known, long at)
        {
            var json = known.Holding(at);
            var files = json["files"]?.AsArray();
            return (files?.Count ?? 0, (string?)files?.FirstOrDefault(), (int?)json["count"], (long?)json["until"]);
        }
    }

    public void Dispose() => directory.Dispose();

    // What was proven is believed for a moment.
    private static Task<Answer> ReadyAsync(TestServer server)
    {
        server.Time.Move(TimeSpan.FromSeconds(1));
        return server.Client().Get("/readyz");
    }

    private static async Task<int> CountAsync(TestServer server, string verb) =>
        (await server.Admin.Get("/admin/v1/audit", ("verb", verb))).IsOk().Json["data"]!.AsArray().Count;
}
