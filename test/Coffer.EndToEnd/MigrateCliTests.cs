namespace Coffer.EndToEnd;

/// <summary>
/// <c>coffer migrate</c> as it is typed: beside a running server, killed in the middle, resumed; and what it leaves is
/// closed ("Firm edges", 21).
/// </summary>
public sealed class MigrateCliTests
{
    [Fact]
    public async Task A_store_is_copied_beside_its_server_and_is_the_store_once_that_is_stopped()
    {
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        var to = folder.File("copy");
        string key;
        await using (var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "100"))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key, "acct_1");
            for (var i = 0; i < 60; i++)
                (await client.SetAsync($"name {i}", $"payload {i}")).Is(200);

            await KillAsync(data.Path, to, 1); // there is nothing of the store in the target yet
            foreach (var nth in (int[])[6, 3, 2])
            {
                await KillAsync(data.Path, to, nth);
                await RefusesAsync(to);
            }

            var beside = await Ran.CofferAsync("migrate", "--from", data.Path, "--to", to);
            Assert.Contains("copying secrets: 60\n", beside.EndedWith(0).Stdout, StringComparison.Ordinal);
            Assert.Contains($"{to} has what {data.Path} had when this run began. A server uses that, so the copy is "
                + "not finished: stop the server and run the same command again.", beside.Stdout,
                StringComparison.Ordinal);
            Assert.DoesNotContain("error", beside.Stdout + beside.Stderr, StringComparison.Ordinal);
            await RefusesAsync(to);
            (await client.SetAsync("name 7", "changed meanwhile")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        await KillAsync(data.Path, to, 2);
        await RefusesAsync(to);
        var finished = (await Ran.CofferAsync("migrate", "--from", data.Path, "--to", to)).EndedWith(0);
        Assert.Contains("opening secrets: 60\n", finished.Stdout, StringComparison.Ordinal);
        Assert.Contains(", 60 secrets opened, 0 problems, ", finished.Stdout, StringComparison.Ordinal);
        Assert.Contains($"{to} is the store now.", finished.Stdout, StringComparison.Ordinal);
        Assert.NotEqual(await File.ReadAllTextAsync(data.File("coffer.key"), TestContext.Current.CancellationToken),
            await File.ReadAllTextAsync(Path.Combine(to, "coffer.key"), TestContext.Current.CancellationToken));
        (await Ran.CofferAsync("migrate", "--from", data.Path, "--to", to)).EndedWith(78);
        (await Ran.CofferAsync("serve", "--data", data.Path, "--listen", "http://127.0.0.1:0")).Refused(78,
            $"to {to}, and is closed", "Use that one");

        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", to]))
        {
            using var client = new WireClient(coffer.Url, key, "acct_1");
            Assert.Equal("changed meanwhile", (await client.FindAsync("name 7")).Is(200).Payload);
            Assert.Equal("payload 59", (await client.FindAsync("name 59")).Is(200).Payload);
            Assert.Equal(0, await coffer.StopAsync());
        }

        (await Ran.CofferAsync("audit", "verify", "--data", to)).EndedWith(0);
    }

    [Fact]
    public async Task What_cannot_be_migrated_is_refused_without_the_password()
    {
        using var folder = new TemporaryDirectory();
        (await Ran.CofferAsync("migrate", "--from", folder.Path)).EndedWith(64);
        (await Ran.CofferAsync("migrate", "--from", folder.Path, "--to", folder.File("copy"))).Refused(78,
            "there is no store in");
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "100"))
            await coffer.StopAsync();
        foreach (var store in (string[])["Host=127.0.0.1;Port=1;Username=coffer;Password=hunter2",
            "postgres://coffer:hunter2@127.0.0.1/coffer"])
        {
            var refused = (await Ran.CofferAsync("migrate", "--from", data.Path, "--to", folder.File("copy"),
                "--to-store", store)).EndedWith(78);
            Assert.DoesNotContain("hunter2", refused.Stdout + refused.Stderr, StringComparison.Ordinal);
        }
    }

    private static Task KillAsync(string from, string to, int nth) =>
        Strace.KillAsync(
            "fdatasync,fsync", nth, Path.Combine(to, "coffer.db-wal"), ["migrate", "--from", from, "--to", to]);

    private static async Task RefusesAsync(string to)
    {
        (await Ran.CofferAsync("serve", "--data", to, "--listen", "http://127.0.0.1:0")).Refused(78,
            "the target of an unfinished migration", "coffer migrate");
        (await Ran.CofferAsync("audit", "verify", "--data", to)).Refused(78, "the target of an unfinished migration",
            "coffer migrate");
    }
}
