using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>
/// <c>coffer backup</c> and <c>coffer restore</c> as they are typed: beside a server, killed, by a pipe.
/// </summary>
public sealed class BackupCliTests
{
    [Fact]
    public async Task A_store_is_backed_up_beside_its_server_and_restored_where_there_is_nothing()
    {
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        var (file, piped, log) = (folder.File("back-up"), folder.File("piped"), folder.File("log"));
        string key;
        await using (var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "100"))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key, "acct_1");
            for (var i = 0; i < 60; i++)
                (await client.SetAsync($"name {i}", $"payload {i}")).Is(200);

            var made = (await Ran.CofferAsync("backup", "create", file, "--data", data.Path)).EndedWith(0);
            Assert.Matches("back-up [0-9a-f]{32}: [0-9]+ rows, 60 secrets, [0-9]+ bytes and [0-9]+ bytes of keys",
                made.Stderr);
            Assert.Empty(made.Stdout);
            (await Ran.CofferAsync("backup", "create", file, "--data", data.Path)).Refused(78, "is there already");
            (await Ran.ShellAsync($"{Needs.Program} backup create - --keys {piped}.keys --data {data.Path} > {piped}"))
                .EndedWith(0);
            foreach (var path in (string[])[file, piped])
            {
                var proven = (await Ran.CofferAsync("backup", "verify", path, "--data", data.Path)).EndedWith(0);
                Assert.Contains("60 secrets opened, 0 tenants taken out, 0 problems", proven.Stdout,
                    StringComparison.Ordinal);
                Assert.Contains("it is of the store that the anchor names", proven.Stdout, StringComparison.Ordinal);
            }

            (await client.DeleteAsync("name 3")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        await File.WriteAllTextAsync(log, (await Ran.CofferAsync("audit", "export", "--data", data.Path)).EndedWith(0)
            .Stdout, TestContext.Current.CancellationToken);
        var to = Keyed(folder, data, "restored");
        await KillAsync(file, to, 1); // there is nothing of the store in the target yet
        foreach (var nth in (int[])[7, 4, 3, 2])
        {
            await KillAsync(file, to, nth);
            (await Ran.CofferAsync("serve", "--data", to, "--listen", "http://127.0.0.1:0")).Refused(
                78, "the target of an unfinished migration or restoration", "coffer restore");
        }

        var restored = (await Ran.CofferAsync("restore", file, "--data", to)).EndedWith(0);
        Assert.Contains(" rows, 60 secrets opened, 0 tenants taken out", restored.Stdout, StringComparison.Ordinal);
        var admin = Regex.Match(restored.Stdout, "ak_[0-9A-Za-z]+").Value;
        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", to]))
        {
            using var client = new WireClient(coffer.Url, key, "acct_1");
            (await client.FindAsync("name 7")).Is(503);
            using var operating = new WireClient(coffer.Url, admin);
            (await operating.GetAsync("/admin/v1/apps")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        var finished = (await Ran.CofferAsync("restore", "--finish", "--audit", log, "--data", to)).EndedWith(0);
        Assert.Contains(" entries are later than the back-up. 0 secrets were set later", finished.Stdout,
            StringComparison.Ordinal);
        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", to]))
        {
            using var client = new WireClient(coffer.Url, key, "acct_1");
            Assert.Equal("payload 7", (await client.FindAsync("name 7")).Is(200).Payload);
            (await client.FindAsync("name 3")).Is(404);
            Assert.Equal(0, await coffer.StopAsync());
        }

        (await Ran.CofferAsync("audit", "verify", "--data", to)).EndedWith(0);
    }

    [Fact]
    public async Task What_cannot_be_backed_up_or_restored_is_refused_and_says_what_to_do()
    {
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        var file = folder.File("back-up");
        (await Ran.CofferAsync("backup", "create", file, "--data", folder.File("none"))).EndedWith(78);
        (await Ran.CofferAsync("backup", "create", "-", "--data", data.Path)).Refused(64, "Give --keys FILE");
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            (await Ran.CofferAsync("backup", "create", file, "--data", data.Path)).EndedWith(0);
            (await Ran.CofferAsync("restore", file, "--data", data.Path)).EndedWith(78);
            Assert.Equal(0, await coffer.StopAsync());
        }

        (await Ran.CofferAsync("restore", file, "--data", data.Path)).Refused(78, "there is already a store in");
        (await Ran.CofferAsync("restore", "--finish", "--data", data.Path)).Refused(64, "Give one of --audit");
        (await Ran.CofferAsync("restore", "--finish", "--unknown", "--data", data.Path)).Refused(
            78, "the store is not held");
        (await Ran.CofferAsync("backup", "verify", file)).Refused(78, "nothing is named that opens the back-up");

        // Cut by a byte, it is no back-up.
        var whole = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(file, whole[..^1], TestContext.Current.CancellationToken);
        (await Ran.CofferAsync("backup", "verify", file, "--data", data.Path)).Refused(2, "was cut off");
        var to = Keyed(folder, data, "restored");
        (await Ran.CofferAsync("restore", file, "--data", to)).Refused(2, "was cut off");
    }

    /// <summary>What is there is whole, or not there; what was killed is done again by the same command.</summary>
    [Fact]
    public async Task A_back_up_that_is_killed_at_its_first_a_middle_or_its_last_write_is_none()
    {
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        var (file, keys) = (folder.File("back-up"), folder.File("back-up.keys"));
        await using (var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "100"))
        {
            using var client = new WireClient(coffer.Url, coffer.TestKey, "acct_1");
            for (var i = 0; i < 60; i++)
                (await client.SetAsync($"name {i}", $"payload {i}")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        string[] create = ["backup", "create", file, "--data", data.Path];
        foreach (var (calls, nth, on) in ((string, int, string)[])
            [("pwrite64,write", 1, file), ("pwrite64,write", 4, file), ("fdatasync,fsync", 1, keys)])
        {
            await Strace.KillAsync(calls, nth, on + ".new", create);
            Assert.False(File.Exists(file) || File.Exists(keys), $"killed in {calls} {nth} of {on}");
            (await Ran.CofferAsync("backup", "verify", file, "--data", data.Path)).EndedWith(74);
        }

        // Later the keys have their name already: nobody overwrites them.
        foreach (var calls in (string[])["fdatasync,fsync", "rename"])
        {
            await Strace.KillAsync(calls, 1, $"{file}.new", create);
            Assert.False(File.Exists(file), $"killed in {calls}");
            (await Ran.CofferAsync("backup", "verify", file, "--data", data.Path)).EndedWith(74);
            (await Ran.CofferAsync(create)).Refused(78, $"{keys} is there already");
            File.Delete(keys);
        }

        (await Ran.CofferAsync(create)).EndedWith(0);
        Assert.Equal(2, Directory.GetFiles(folder.Path).Length);

        // Taking an account out: the old file or the new one, and the receipt by the next run.
        var app = Regex.Match((await Ran.CofferAsync("audit", "list", "--data", data.Path, "--verb", "set", "--json",
            "--limit", "1")).EndedWith(0).Stdout, "\"app\":\"(app_[0-9A-Za-z]+)\"").Groups[1].Value;
        string[] forget =
            ["backup", "forget", file, "--app", app, "--account", "acct_1", "--data", data.Path, "--yes"];
        foreach (var calls in (string[])["pwrite64,write", "fdatasync,fsync"])
            await Strace.KillAsync(calls, 1, $"{keys}.new", forget);
        var before = (await Ran.CofferAsync("backup", "verify", file, "--data", data.Path)).EndedWith(0);
        Assert.Contains("keys 1: 60 secrets opened, 0 tenants", before.Stdout, StringComparison.Ordinal);
        await Strace.KillAsync("fsync", 1, folder.Path, forget);
        Assert.Empty(Directory.GetFiles(folder.Path, "*.jws"));
        var again = (await Ran.CofferAsync(forget)).EndedWith(0);
        Assert.Contains("keys 2: 0 tenants taken out. The receipt is ", again.Stdout, StringComparison.Ordinal);
        Assert.Single(Directory.GetFiles(folder.Path, "*.jws"));
        var after = (await Ran.CofferAsync("backup", "verify", file, "--data", data.Path)).EndedWith(0);
        Assert.Contains("keys 2: 0 secrets opened, 1 tenants taken out", after.Stdout, StringComparison.Ordinal);

        var to = Keyed(folder, data, "restored");
        (await Ran.CofferAsync("restore", file, "--data", to)).EndedWith(0);
        string[] finish = ["restore", "--finish", "--nothing-later", "--data", to];
        await Strace.KillAsync("pwrite64", 1, Path.Combine(to, "coffer.db-wal"), finish);
        await Strace.KillAsync("fdatasync,fsync", 2, Path.Combine(to, "coffer.db-wal"), finish);
        var finished = await Ran.CofferAsync(finish);
        if (finished.ExitCode != 0)
            finished.Refused(78, "the store is not held");
        await using var served = await CofferProcess.StartAsync(["serve", "--data", to]);
    }

    [Fact]
    public async Task A_disk_that_is_full_leaves_no_half_and_the_same_command_continues_on_a_larger_one()
    {
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        await using var disk = await SmallDisk.MountAsync("1m");
        var file = folder.File("back-up");
        await using (var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "301"))
        {
            using var client = new WireClient(coffer.Url, coffer.TestKey, "acct_1");
            for (var i = 0; i < 300; i++)
                (await client.SetAsync($"name {i}", new string('p', 4_900))).Is(200);
            (await Ran.CofferAsync("backup", "create", Path.Combine(disk.Path, "back-up"), "--data", data.Path))
                .EndedWith(74);
            Assert.Empty(Directory.GetFiles(disk.Path));
            (await client.SetAsync("after", "p")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        // Nor half of a store that is restored: no server starts on it, and with room it is restored whole.
        (await Ran.CofferAsync("backup", "create", file, "--data", data.Path)).EndedWith(0);
        await disk.ResizeAsync("2m");
        File.Copy(data.File("coffer.key"), Path.Combine(disk.Path, "coffer.key"));
        var stopped = (await Ran.CofferAsync("restore", file, "--data", disk.Path)).EndedWith(74);
        Assert.Contains("SQLite", stopped.Stderr, StringComparison.Ordinal);
        (await Ran.CofferAsync("serve", "--data", disk.Path, "--listen", "http://127.0.0.1:0")).Refused(
            78, "the target of an unfinished migration or restoration", "coffer restore");
        await disk.ResizeAsync("32m");
        var restored = (await Ran.CofferAsync("restore", file, "--data", disk.Path)).EndedWith(0);
        Assert.Contains("301 secrets opened", restored.Stdout, StringComparison.Ordinal);
    }

    private static Task KillAsync(string file, string to, int nth) =>
        Strace.KillAsync("fdatasync,fsync", nth, Path.Combine(to, "coffer.db-wal"), ["restore", file, "--data", to]);

    private static string Keyed(TemporaryDirectory folder, TemporaryDirectory data, string name)
    {
        var path = folder.File(name);
        Directory.CreateDirectory(path);
        File.Copy(data.File("coffer.key"), Path.Combine(path, "coffer.key"));
        return path;
    }
}
