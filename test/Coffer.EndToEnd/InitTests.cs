using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary><c>coffer init</c>: first keys that go through no log.</summary>
[Trait("Firm edges", "3")]
public sealed class InitTests
{
    private const UnixFileMode OwnerReadsAndWrites = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    [Fact]
    public async Task Its_keys_are_in_one_file_and_nowhere_else_and_open_the_store_that_is_served()
    {
        using var data = new TemporaryDirectory();
        using var other = new TemporaryDirectory();
        var keys = other.File("keys.json");
        string[] line = ["init", "--data", data.Path, "--out", keys];
        var made = (await Ran.CofferAsync(line)).EndedWith(0);
        Assert.Equal(OwnerReadsAndWrites, File.GetUnixFileMode(keys));
        using var written = JsonDocument.Parse(await File.ReadAllTextAsync(keys,
            TestContext.Current.CancellationToken));
        Assert.Equal(
            ["test_secret_key", "live_secret_key", "admin_key", "signing_secret_test", "signing_secret_live"],
            written.RootElement.EnumerateObject().Select(field => field.Name));
        Assert.All(written.RootElement.EnumerateObject(), field =>
            Assert.DoesNotContain(field.Value.GetString()!, made.Stdout + made.Stderr, StringComparison.Ordinal));

        (await Ran.CofferAsync(line)).Refused(78, "exists already");
        (await Ran.CofferAsync("init", "--data", data.Path, "--out", other.File("more.json")))
            .Refused(78, "there is a store already");
        Assert.False(File.Exists(other.File("more.json")));

        await using var coffer = await CofferProcess.ServeAsync(data);
        Assert.False(coffer.Ready.TryGetProperty("admin_key", out _));
        using var client = new WireClient(coffer.Url, written.RootElement.GetProperty("test_secret_key").GetString()!);
        (await client.SetAsync("k", "p")).Is(200);
    }

    // Nobody knows whether what was not confirmed is stored.
    [Fact]
    public async Task Keys_stay_when_the_store_may_know_them_although_the_command_failed()
    {
        using var data = new TemporaryDirectory();
        using var other = new TemporaryDirectory();
        var keys = other.File("keys.json");
        (await Ran.CofferAsync("init", "--data", data.Path, "--out", other.File("nowhere/keys.json"))).EndedWith(74);
        // With tables and no identity there are syncs of one thread only: the last one that fails is that of the keys.
        for (var nth = 1; !File.Exists(keys); nth++)
        {
            Assert.InRange(nth, 1, 100);
            var ran = await Strace.RunAsync("fdatasync,fsync", $"error=EIO:when={nth}+", data.File("coffer.db-wal"),
                ["init", "--data", data.Path, "--out", keys]);
            ran.EndedWith(74);
            Assert.Equal(File.Exists(keys), ran.Stderr.Contains(
                $"The first keys are in {keys}, and the store may know them", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task With_a_recipient_the_file_is_encrypted_before_the_store_is_made()
    {
        var age = Needs.OnPath("age-keygen");
        using var data = new TemporaryDirectory();
        using var other = new TemporaryDirectory();
        (await Ran.ProgramAsync(age, ["-o", other.File("identity")])).EndedWith(0);
        var recipient = (await Ran.ProgramAsync(age, ["-y", other.File("identity")])).EndedWith(0).Stdout.Trim();
        var keys = other.File("keys.age");

        (await InitAsync("age1nobody", null)).Refused(78, "age ended with", "--recipient");
        (await InitAsync(recipient, "/nowhere")).Refused(78, "age cannot be started", "Install it");
        Assert.False(File.Exists(keys));
        (await InitAsync(recipient, null)).EndedWith(0); // those before have made none
        Assert.Equal(OwnerReadsAndWrites, File.GetUnixFileMode(keys));
        Assert.StartsWith("age-encryption.org/", await File.ReadAllTextAsync(keys,
            TestContext.Current.CancellationToken), StringComparison.Ordinal);
        var opened = (await Ran.ProgramAsync(Needs.OnPath("age"), ["-d", "-i", other.File("identity"), keys]))
            .EndedWith(0);
        Assert.StartsWith("ak_", JsonElement.Parse(opened.Stdout).GetProperty("admin_key").GetString(),
            StringComparison.Ordinal);

        Task<Ran> InitAsync(string to, string? path) => Ran.ProgramAsync(Needs.Program,
            ["init", "--data", data.Path, "--out", keys, "--recipient", to],
            path is null ? null : new Dictionary<string, string> { ["PATH"] = path });
    }
}
