namespace Coffer.EndToEnd;

/// <summary>
/// Starts that must not happen: each says what to do, ends with 78, and leaves the directory as it was, to the byte.
/// </summary>
public sealed class RefusedStartTests(RefusedStartTests.MadeStore made) : IClassFixture<RefusedStartTests.MadeStore>
{
    [Fact]
    public async Task Without_its_key_file_a_store_is_left_alone_until_the_file_is_put_back()
    {
        using var data = Copy();
        using var elsewhere = new TemporaryDirectory();
        File.Move(data.File("coffer.key"), elsewhere.File("coffer.key"));
        await RefusesAsync(data, "is missing", "Restore the key file");

        File.Move(elsewhere.File("coffer.key"), data.File("coffer.key"));
        await using var coffer = await CofferProcess.ServeAsync(data);
    }

    [Fact]
    public async Task Another_stores_key_file_does_not_open_it()
    {
        using var data = Copy();
        using var other = await StoreAsync();
        File.Copy(other.File("coffer.key"), data.File("coffer.key"), overwrite: true);
        await RefusesAsync(data, "cannot open this store", "Restore the key file");
    }

    [Theory]
    [InlineData(0, "holds no key")]
    [InlineData(50, "holds no key")] // within the comment
    [InlineData(-60, "line 2 ")] // within the key
    [InlineData(-2, "line 2 ")] // within the checksum
    public async Task A_truncated_key_file_is_refused(int length, string error)
    {
        using var data = Copy();
        using (var file = new FileStream(data.File("coffer.key"), FileMode.Open))
            file.SetLength(length < 0 ? file.Length + length : length);
        await RefusesAsync(data, error, "Restore");
    }

    [Theory]
    [InlineData(UnixFileMode.GroupRead | UnixFileMode.OtherRead)]
    [InlineData(UnixFileMode.OtherRead)]
    [InlineData(UnixFileMode.OtherWrite)]
    public async Task A_key_file_that_others_may_touch_is_refused(UnixFileMode open)
    {
        using var data = Copy();
        File.SetUnixFileMode(data.File("coffer.key"), UnixFileMode.UserRead | UnixFileMode.UserWrite | open);
        await RefusesAsync(data, "by other users than its owner", $"chmod 600 {data.File("coffer.key")}");
    }

    [Fact]
    public async Task A_store_of_a_newer_Coffer_is_refused()
    {
        using var data = Copy();
        await data.SqlAsync("PRAGMA user_version = 999");
        await RefusesAsync(data, "was written by a newer Coffer (schema 999", "newer");
    }

    [Fact]
    public async Task Another_programs_database_is_refused()
    {
        using var data = new TemporaryDirectory();
        await data.SqlAsync("CREATE TABLE theirs (x)");
        (await ServeAsync(data)).Refused(78, "another program", "a directory of its own");
        Assert.Equal(["coffer.db", "coffer.lock"], data.Contents().Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_file_that_is_no_database_is_refused()
    {
        using var data = Copy();
        await File.WriteAllTextAsync(data.File("coffer.db"), new string('x', 8192),
            TestContext.Current.CancellationToken);
        await RefusesAsync(data, "cannot be opened", "whole");
    }

    [Fact]
    public async Task A_second_process_on_the_same_directory_is_refused_and_the_first_goes_on()
    {
        using var data = new TemporaryDirectory();
        await using var first = await CofferProcess.ServeAsync(data);
        using var client = new WireClient(first.Url, first.TestKey);
        (await client.SetAsync("k", "p")).Is(200);
        await RefusesAsync(data, "another process uses", "Stop it first");
        Assert.Equal("p", (await client.FindAsync("k")).Is(200).Payload);
    }

    [Fact]
    public async Task A_port_in_use_is_refused()
    {
        using var data = Copy();
        using var other = new TemporaryDirectory();
        await using var first = await CofferProcess.ServeAsync(other);
        await RefusesAsync(data, $"cannot listen on {first.Url}", "--listen", first.Url.ToString());
    }

    [Fact]
    public async Task A_first_start_that_cannot_listen_leaves_no_store_whose_keys_nobody_saw()
    {
        using var data = new TemporaryDirectory();
        using var other = new TemporaryDirectory();
        await using var first = await CofferProcess.ServeAsync(other);
        (await ServeAsync(data, first.Url.ToString())).EndedWith(78);

        await using var coffer = await CofferProcess.ServeAsync(data);
        Assert.True(coffer.Ready.TryGetProperty("test_secret_key", out _),
            $"the keys were made and never shown: {await coffer.PrintedAsync("serves")}");
    }

    [Fact]
    public async Task An_address_that_this_machine_has_not_is_refused()
    {
        using var data = Copy();
        await RefusesAsync(data, "cannot listen on http://192.0.2.1:26333", "--listen", "http://192.0.2.1:26333",
            "--insecure-http");
    }

    [Fact]
    public async Task Plain_HTTP_beyond_this_machine_is_refused_unless_it_is_asked_for()
    {
        using var data = Copy();
        var before = data.Fingerprint();
        var ran = (await ServeAsync(data, "http://0.0.0.0:0", "--secrets-per-scope", "0")).Refused(78,
            "--listen 'http://0.0.0.0:0'");
        Assert.Contains("--secrets-per-scope '0'", ran.Stderr, StringComparison.Ordinal);
        Assert.Equal(before, data.Fingerprint());
    }

    [Fact]
    public async Task An_empty_name_of_a_directory_is_refused() =>
        (await Ran.CofferAsync("serve", "--data", "", "--listen", "http://127.0.0.1:0")).Refused(78, "--data");

    [Fact]
    public async Task The_ready_file_of_an_earlier_run_is_gone_when_a_start_is_refused()
    {
        using var data = Copy();
        using var other = new TemporaryDirectory();
        var ready = other.File("ready.json");
        await File.WriteAllTextAsync(ready, "{}", TestContext.Current.CancellationToken);
        File.Delete(data.File("coffer.key"));
        (await ServeAsync(data, "http://127.0.0.1:0", "--ready-file", ready)).Refused(78, "is missing");
        Assert.False(File.Exists(ready));
    }

    private TemporaryDirectory Copy()
    {
        var copy = new TemporaryDirectory();
        foreach (var file in Directory.GetFiles(made.Data.Path))
            File.Copy(file, copy.File(Path.GetFileName(file))); // with its mode
        return copy;
    }

    private static async Task<TemporaryDirectory> StoreAsync()
    {
        var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("k", "p")).Is(200);
        Assert.Equal(0, await coffer.StopAsync());
        return data;
    }

    private static async Task RefusesAsync(TemporaryDirectory data, string error, string hint,
        string listen = "http://127.0.0.1:0", params string[] more)
    {
        var before = data.Fingerprint();
        var ran = await ServeAsync(data, listen, more);
        Assert.Equal(before, data.Fingerprint());
        ran.Refused(78, error, hint);
    }

    private static Task<Ran> ServeAsync(TemporaryDirectory data, string listen = "http://127.0.0.1:0",
        params string[] more) =>
        Ran.CofferAsync(["serve", "--data", data.Path, "--listen", listen, .. more]);

    /// <summary>What each of them begins with a copy of.</summary>
    public sealed class MadeStore : IAsyncLifetime
    {
        public TemporaryDirectory Data { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Data = await StoreAsync();

        public ValueTask DisposeAsync()
        {
            Data.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
