using System.Buffers.Binary;
using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Storage;
using Coffer.Transfer;

namespace Coffer.Tests.Transfer;

/// <summary>Back-ups: whole, or refused; and what they are restored to.</summary>
public sealed class BackupTests(PostgresServer postgres) : IDisposable
{
    // The keys of a restored store are its own, and kept replies stay behind.
    private static readonly string[] Own = ["root_keys", "replies"];

    private readonly TemporaryDirectory directory = new();

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task A_back_up_is_restored_into_either_engine_with_all_that_was_in_it(
        bool fromDatabase, bool toDatabase)
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var from = server.Location;
        if (fromDatabase)
        {
            from = new StoreLocation(directory.NewKeyed(server.Data), await postgres.NewDatabaseAsync());
            await StoreCopy.RunAsync(server.Location, from, static _ => { }, server.Time, default);
        }

        var file = await BackupAsync(from);
        var to = new StoreLocation(
            directory.NewKeyed(server.Data), toDatabase ? await postgres.NewDatabaseAsync() : null);
        var restored = await RestoreAsync(file, to);
        Assert.Empty(restored.Problems);
        Assert.Equal(625, restored.Secrets);
        Assert.Equal(await StoreContents.DumpAsync(from, Own), await StoreContents.DumpAsync(to, Own));
    }

    [Fact]
    public async Task A_back_up_beside_a_server_that_writes_is_of_one_moment()
    {
        await using var server = await FilledAsync();
        await using var load = new Load(1, async (_, i) =>
            (await server.Client(account: "acct_busy").Set($"name {i % 10}", $"{i}")).IsOk());
        for (var i = 0; i < 5; i++)
        {
            using var backup = await OpenAsync(await BackupAsync(server.Location), server.Location);
            Assert.Empty(backup.Prove(static _ => { }).Problems);
        }

        await load.EndAsync();
    }

    [Fact]
    public async Task Whatever_byte_of_a_back_up_is_changed_it_is_refused()
    {
        await using var server = await FilledAsync();
        var file = await BackupAsync(server.Location);
        foreach (var path in (string[])[file, file + BackupKeys.Suffix])
        {
            var whole = await File.ReadAllBytesAsync(path);
            // All of what stands in clear, and places all over the rest.
            var clear = Array.IndexOf(whole, (byte)'\n') + 5;
            var places = Enumerable.Range(0, clear).Where(at => at % 7 == 0 || at > clear - 6)
                .Concat(Enumerable.Range(1, 40).Select(i => clear + ((whole.Length - clear - 1) * i / 40)));
            foreach (var at in places)
            {
                var changed = whole.ToArray();
                changed[at] ^= 1;
                await File.WriteAllBytesAsync(path, changed);
                await IsRefusedAsync(file, server.Location, $"byte {at}");
            }

            await File.WriteAllBytesAsync(path, whole);
        }

        using var backup = await OpenAsync(file, server.Location);
    }

    [Fact]
    public async Task A_back_up_that_is_cut_reordered_repeated_or_continued_is_refused()
    {
        await using var server = await FilledAsync();
        var file = await BackupAsync(server.Location);
        var (head, frames) = Split(await File.ReadAllBytesAsync(file));
        Assert.InRange(frames.Count, 10, 1_000);
        for (var i = 0; i < frames.Count; i++)
            await IsRefusedWithAsync(frames.Take(i), $"cut before frame {i}");
        for (var i = 0; i < frames.Count - 1; i++)
        {
            await IsRefusedWithAsync([.. frames.Take(i), frames[i + 1], frames[i], .. frames.Skip(i + 2)], $"swap {i}");
            await IsRefusedWithAsync([.. frames.Take(i), .. frames.Skip(i + 1)], $"without {i}");
            await IsRefusedWithAsync([.. frames.Take(i + 1), .. frames.Skip(i)], $"twice {i}");
        }

        await IsRefusedWithAsync([.. frames, frames[^1]], "its end twice");
        await IsRefusedWithAsync([.. frames, [1]], "a byte more");

        async Task IsRefusedWithAsync(IEnumerable<byte[]> some, string what)
        {
            await File.WriteAllBytesAsync(file, [.. head, .. some.SelectMany(frame => frame)]);
            await IsRefusedAsync(file, server.Location, what);
        }
    }

    [Fact]
    public async Task Parts_of_two_back_ups_do_not_go_together()
    {
        await using var server = await FilledAsync();
        var (one, other) = (await BackupAsync(server.Location), await BackupAsync(server.Location));
        var mixed = await Assert.ThrowsAsync<ConfigurationException>(
            () => OpenAsync(one, server.Location, keys: other + BackupKeys.Suffix));
        Assert.Contains("is of another back-up", mixed.Message, StringComparison.Ordinal);
        var swapped = await Assert.ThrowsAsync<ConfigurationException>(
            () => OpenAsync(one + BackupKeys.Suffix, server.Location, keys: one));
        Assert.Contains("is the keys of a back-up, not its data", swapped.Message, StringComparison.Ordinal);

        // Under the id of the first, and with the frames of the second.
        var (head, _) = Split(await File.ReadAllBytesAsync(one + BackupKeys.Suffix));
        var (_, frames) = Split(await File.ReadAllBytesAsync(other + BackupKeys.Suffix));
        await File.WriteAllBytesAsync(one + BackupKeys.Suffix, [.. head, .. frames.SelectMany(frame => frame)]);
        await IsRefusedAsync(one, server.Location, "frames of another");
    }

    [Fact]
    public async Task A_back_up_of_another_store_is_refused_where_there_is_an_anchor()
    {
        await using var server = await FilledAsync();
        await using var other = await TestServer.StartAsync(isOther: true);
        var file = await BackupAsync(other.Location);
        var anchor = new Anchor(Path.Combine(server.Data, DataDirectory.Anchor));
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => OpenedBackup.OpenAsync(
            file, file + BackupKeys.Suffix, KeysOf(other.Location), anchor, default));
        Assert.Contains("is not the one that", refused.Message, StringComparison.Ordinal);
        using var opened = await OpenAsync(file, other.Location);
        Assert.False(opened.IsAnchored);
    }

    [Fact]
    public async Task Another_key_file_opens_no_back_up()
    {
        await using var server = await FilledAsync();
        await using var other = await TestServer.StartAsync(isOther: true);
        var file = await BackupAsync(server.Location);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => OpenAsync(file, other.Location));
        Assert.Contains("the key file cannot open this store", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_account_that_is_taken_out_of_a_back_up_does_not_come_back_and_the_others_do()
    {
        await using var server = await FilledAsync();
        var app = await server.AppIdAsync();
        await server.StopAsync();
        var file = await BackupAsync(server.Location);
        var (keys, receipts) = (file + BackupKeys.Suffix, Directory.CreateDirectory(directory.NewPath()).FullName);
        File.Copy(keys, keys + ".old");
        using (var backup = await OpenAsync(file, server.Location))
            Assert.Equal((2L, 2), Forget(backup, "acct_1"));

        // A run that ended before its receipt was written leaves an account that is not there, and gets one.
        using var again = await OpenAsync(file, server.Location);
        var forgotten = await File.ReadAllBytesAsync(keys);
        Assert.Equal((2L, 0), Forget(again, "acct_1"));
        Assert.Null(BackupFiles.Forget(again, keys, app, "acct_none", receipts, 1_900_000_000));
        Assert.Equal(forgotten, await File.ReadAllBytesAsync(keys));
        Assert.Equal((2L, 2L), (again.KeysHeader.Number, again.Forgotten));
        var proof = again.Prove(static _ => { });
        Assert.Empty(proof.Problems);
        Assert.Equal(2, proof.Secrets);

        // The receipts are signed by the store, and name what they are about.
        Assert.Equal(2, Directory.GetFiles(receipts).Length);
        var known = KnownReceipts.Read(receipts, again.Instance);
        known.RequireNewest(again);
        var stated = Directory.GetFiles(receipts).Select(path => JsonNode.Parse(SignedReceipt.ReadFile(
            path, again.Instance.Id, again.Instance.Signing.Public).Statement)!);
        var first = stated.Single(each => (int)each["tenants"]! == 2);
        Assert.Equal((again.Header.Id, app, "acct_1", 1L, 2L, 1_900_000_000L),
            ((string?)first["backup"], (string?)first["app"], (string?)first["account"], (long)first["part_before"]!,
                (long)first["part"]!, (long)first["forgotten_at"]!));

        // An old copy of the keys opens as before, and is refused where a receipt is known.
        using var old = await OpenAsync(file, server.Location, keys + ".old");
        Assert.Equal(0, old.Forgotten);
        var options = new CofferOptions { Data = directory.NewKeyed(server.Data) };
        var source = new RestoredStore.Source(file, keys + ".old") { Receipts = receipts };
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RestoredStore.RestoreAsync(
            source, options, static _ => { }, TimeProvider.System, default));
        Assert.Contains($"are an old copy, number 1: {receipts}", refused.Message, StringComparison.Ordinal);
        Assert.Contains($"acct_1 of {app} was taken out of number 2", refused.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(options.Data, "coffer.db")));

        var to = new StoreLocation(directory.NewKeyed(server.Data), null);
        Assert.Empty((await RestoreAsync(file, to)).Problems);
        var dump = await StoreContents.DumpAsync(to);
        Assert.Contains("secrets 2", dump, StringComparison.Ordinal);
        Assert.Contains("tenants 2", dump, StringComparison.Ordinal);

        (long, int) Forget(OpenedBackup backup, string account)
        {
            var done = BackupFiles.Forget(backup, keys, app, account, receipts, 1_900_000_000)!.Value;
            return (done.Part, done.Gone);
        }
    }

    [Fact]
    public async Task An_interrupted_restoration_leaves_what_no_server_starts_on_and_is_resumed()
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var file = await BackupAsync(server.Location);
        var expected = await StoreContents.DumpAsync(server.Location, Own);
        var steps = 0;
        await RestoreAsync(file, new StoreLocation(directory.NewKeyed(server.Data), null), _ => steps++);
        for (var step = 1; step <= steps; step += 4)
        {
            var to = new StoreLocation(
                directory.NewKeyed(server.Data), step % 3 == 1 ? await postgres.NewDatabaseAsync() : null);
            var left = step;
            await Assert.ThrowsAsync<OperationCanceledException>(
                () => RestoreAsync(file, to, _ =>
                {
                    if (--left == 0)
                        throw new OperationCanceledException();
                }));
            var refused = await Assert.ThrowsAsync<ConfigurationException>(
                () => AuditArchive.VerifyStoreAsync(to, null, default));
            Assert.Contains("unfinished migration or restoration", refused.Message, StringComparison.Ordinal);
            Assert.Empty((await RestoreAsync(file, to)).Problems);
            Assert.Equal(expected, await StoreContents.DumpAsync(to, Own));
        }
    }

    [Fact]
    public async Task A_back_up_is_restored_over_nothing_and_nothing_else()
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var (file, other) = (await BackupAsync(server.Location), await BackupAsync(server.Location));
        var before = await StoreContents.DumpAsync(server.Location);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RestoreAsync(file, server.Location));
        Assert.Contains("there is already a store", refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, await StoreContents.DumpAsync(server.Location));

        var to = new StoreLocation(directory.NewKeyed(server.Data), null);
        await Assert.ThrowsAsync<OperationCanceledException>(
            () => RestoreAsync(file, to, static _ => throw new OperationCanceledException()));
        var mixed = await Assert.ThrowsAsync<ConfigurationException>(() => RestoreAsync(other, to));
        Assert.Contains("the unfinished target of another", mixed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_back_up_is_never_overwritten_and_a_failed_one_leaves_nothing()
    {
        await using var server = await FilledAsync();
        var file = await BackupAsync(server.Location);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => BackupAsync(server.Location, file));
        Assert.Contains("is there already", refused.Message, StringComparison.Ordinal);

        var path = directory.File("failed");
        await Assert.ThrowsAsync<OperationCanceledException>(() => BackupAsync(
            server.Location, path, static step => throw new OperationCanceledException()));
        Assert.Empty(Directory.GetFiles(directory.Path, "failed*"));
    }

    public void Dispose() => directory.Dispose();

    private static async Task<TestServer> FilledAsync()
    {
        var server = await TestServer.StartAsync(secretsPerScope: 1_000);
        await StoreContents.FillAsync(server);
        return server;
    }

    private async Task<string> BackupAsync(StoreLocation from, string? path = null, Action<Step>? watch = null)
    {
        path ??= directory.NewPath();
        await BackupFiles.WriteAsync(from, stored => Instance.OpenAsync(stored, KeysOf(from), default), path, null,
            path + BackupKeys.Suffix, watch ?? (static _ => { }), 1_900_000_000, default);
        return path;
    }

    private static Task<OpenedBackup> OpenAsync(string file, StoreLocation by, string? keys = null) =>
        OpenedBackup.OpenAsync(file, keys ?? file + BackupKeys.Suffix, KeysOf(by), anchor: null, default);

    private static async Task<Restore.Restored> RestoreAsync(
        string file, StoreLocation to, Action<Step>? watch = null)
    {
        using var backup = await OpenAsync(file, to);
        using var held = DataDirectory.Open(to.Data, holdsStore: to.Store is null);
        return await Restore.RunAsync(
            backup, to, held, KeysOf(to), watch ?? (static _ => { }), 1_900_000_000, default);
    }

    private static async Task IsRefusedAsync(string file, StoreLocation by, string what)
    {
        try
        {
            using var backup = await OpenAsync(file, by);
        }
        catch (Exception e) when (e is BackupDamagedException or ConfigurationException)
        {
            return;
        }

        Assert.Fail($"with {what} it was opened");
    }

    private static (byte[] Head, List<byte[]> Frames) Split(byte[] file)
    {
        var at = Array.IndexOf(file, (byte)'\n') + 1;
        var (head, frames) = (file[..at], new List<byte[]>());
        while (at < file.Length)
        {
            var length = (int)(BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(at)) & 0x7fff_ffff);
            frames.Add(file[at..(at + 4 + length)]);
            at += 4 + length;
        }

        return (head, frames);
    }

    private static KeyWrappers KeysOf(StoreLocation place) =>
        KeyWrappers.OfFile(Path.Combine(place.Data, "coffer.key"));
}
