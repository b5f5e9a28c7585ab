using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary>Flags, environment and file of the real program, and <c>coffer settings</c>, which tells of them.</summary>
public sealed class SettingsTests : IDisposable
{
    private readonly TemporaryDirectory folder = new();
    private string? key;

    private string Config => folder.File("coffer.conf");

    [Fact]
    public async Task A_flag_goes_before_a_variable_and_that_before_the_file()
    {
        var data = folder.File("store");
        await File.WriteAllTextAsync(Config, $"# what this store is\ndata = {data}\n\nsecrets-per-scope = 3\n",
            TestContext.Current.CancellationToken);
        Assert.Equal(3, await QuotaAsync(["serve", "--config", Config], []));
        Assert.True(File.Exists(Path.Combine(data, "coffer.db")));
        Assert.Equal(3, await QuotaAsync(["serve"], new() { ["COFFER_CONFIG"] = Config }));
        // Kept in the store, and edited since: the start is refused by the name that was written.
        (await Ran.ProgramAsync(Needs.Program, ["serve", "--config", Config, "--listen", "http://127.0.0.1:0"],
            new Dictionary<string, string> { ["COFFER_SECRETS_PER_SCOPE"] = "2" })).Refused(78,
            "COFFER_SECRETS_PER_SCOPE is 2, and the store has 3", "coffer settings set secrets-per-scope 2");
        foreach (var quota in (int[])[2, 1])
        {
            key = null;
            var other = folder.File($"store {quota}");
            Assert.Equal(quota, await QuotaAsync(
                ["serve", "--config", Config, .. quota == 1 ? (string[])["--secrets-per-scope", "1"] : []],
                new()
                {
                    ["COFFER_DATA"] = other,
                    ["COFFER_SECRETS_PER_SCOPE"] = "2",
                    ["COFFER_API_KEY"] = "sk_test_of_a_client",
                }));
        }
    }

    [Fact]
    [Trait("Firm edges", "23")]
    [Trait("Firm edges", "26")]
    public async Task A_setting_of_the_store_is_changed_beside_its_server_and_wide_proxies_are_warned_of()
    {
        string[] serve = ["serve", "--data", folder.File("store"), "--secrets-per-scope", "3", "--trusted-proxies",
            "10.0.0.0/8,192.0.2.7,192.0.2.0/24"];
        await using (var coffer = await CofferProcess.StartAsync(serve))
        {
            key = coffer.TestKey;
            var shown = await new AdminCli(coffer).OkAsync("settings", "set", "secrets-per-scope", "5");
            Assert.Matches(@"\nsecrets-per-scope +5 +store\b", shown);
            (await new AdminCli(coffer).RunAsync("settings", "set", "listen", "5")).Refused(65, "secrets-per-scope");
            Assert.Equal(0, await coffer.StopAsync());
            Assert.Contains("--trusted-proxies has 10.0.0.0/8: whoever", Assert.Single(
                coffer.Complaints.Split('\n'), line => line.Contains("trusted-proxies", StringComparison.Ordinal)),
                StringComparison.Ordinal);
        }

        await using var again = await CofferProcess.StartAsync(serve);
        Assert.Equal(0, await again.StopAsync());
        Assert.Contains("--secrets-per-scope is 3, and the store has 5: that of the store is in force", again.Stderr,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task All_that_is_wrong_in_all_sources_is_said_at_once_and_nothing_is_made()
    {
        var (data, ready) = (folder.File("store"), folder.File("ready.json"));
        await File.WriteAllTextAsync(
            Config, $"data = {data}\nready-file = {ready}\naudits = durable\nconnections = many\n",
            TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(ready, "{}", TestContext.Current.CancellationToken);
        var ran = (await Ran.ProgramAsync(Needs.Program, ["serve", "--config", Config, "--listen", "http://0.0.0.0:0",
            "--rate-per-key=-1"],
            new Dictionary<string, string> { ["COFFER_SECRET_PER_SCOPE"] = "1", ["COFFER_AUDIT"] = "off" })).Refused(78,
                "", "coffer settings");
        foreach (var problem in (string[])[
                     $"{Config} line 3: audits is an unknown setting (did you mean "
                         + "audit?)", $"{Config} line 4: connections 'many' is not a whole number",
                     "COFFER_SECRET_PER_SCOPE is an unknown setting (did you mean "
                         + "COFFER_SECRETS_PER_SCOPE?)", "COFFER_AUDIT 'off' is neither",
                     "--rate-per-key '-1' is not between", "--listen 'http://0.0.0.0:0' would send"])
            Assert.Contains(problem, ran.Stderr, StringComparison.Ordinal);
        Assert.False(Directory.Exists(data));
        Assert.True(File.Exists(ready)); // it may be a running server's: a refused start removes nothing
    }

    [Fact]
    public async Task Serve_has_to_be_told_where_its_data_is() =>
        (await Ran.CofferAsync("serve")).Refused(78,
            "no data directory is set: give --data, COFFER_DATA, or data in the file");

    [Theory]
    [InlineData("--insecure-http=maybe", "'maybe' is neither 'true' nor 'false'")]
    [InlineData("--insecure-http=false", "would send secrets in plain text")]
    // true, so it tries, and this machine has not the address
    [InlineData("--insecure-http", "cannot listen on http://192.0.2.1:26333")]
    public async Task A_switch_may_stand_alone_or_say_true_or_false(string flag, string error) =>
        (await Ran.CofferAsync("serve", "--data", folder.File("store"), "--listen", "http://192.0.2.1:26333",
            flag)).Refused(78, error);

    [Fact]
    public async Task Dev_reads_flags_only()
    {
        await File.WriteAllTextAsync(Config, "nothing = 1\n", TestContext.Current.CancellationToken);
        var environment =
            new Dictionary<string, string>
            {
                ["COFFER_LISTEN"] = "nowhere",
                ["COFFER_DATA"] = folder.File("store"),
                ["COFFER_NOTHING"] = "1",
                ["COFFER_CONFIG"] = Config
            };
        await using var coffer = await CofferProcess.StartAsync(["dev"], environment: environment);
        Assert.False(Directory.Exists(folder.File("store")));
        (await Ran.CofferAsync("dev", "--secrets-per-scope", "1")).Refused(64, "--secrets-per-scope", "--help");
    }

    [Theory]
    [InlineData("8000000", "8192")] // 128 MiB, in hexadecimal
    [InlineData("40000000", "65536")]
    public async Task As_many_tenants_are_kept_open_as_a_quarter_of_the_memory_holds(string memory, string tenants)
    {
        var json = (await Ran.ProgramAsync(Needs.Program, ["settings", "--json"], new Dictionary<string, string>
        { ["DOTNET_GCHeapHardLimit"] = memory })).EndedWith(0).Stdout;
        var setting = JsonElement.Parse(json).EnumerateArray()
            .Single(setting => setting.GetProperty("name").GetString() == "open-tenants");
        Assert.Equal(tenants, setting.GetProperty("default").GetString());
    }

    [Fact]
    public async Task Coffer_settings_shows_them_all()
    {
        var json = (await Ran.ProgramAsync(Needs.Program, ["settings", "--json"], new Dictionary<string, string>
        { ["COFFER_NOTHING"] = "1" })).EndedWith(0).Stdout;
        var settings = JsonElement.Parse(json).EnumerateArray()
            .ToDictionary(setting => setting.GetProperty("name").GetString()!);
        Assert.Equal("COFFER_SECRETS_PER_SCOPE", settings["secrets-per-scope"].GetProperty("environment").GetString());
        Assert.Equal("10", settings["secrets-per-scope"].GetProperty("default").GetString());

        var lines = (await Ran.CofferAsync("settings")).EndedWith(0).Stdout.TrimEnd().Split('\n');
        Assert.Matches(@"^SETTING +ENVIRONMENT +DEFAULT +FOR", lines[0]);
        Assert.Equal(settings.Count, lines.Length - 1);
        var help = (await Ran.CofferAsync("serve", "--help")).EndedWith(0).Stdout
            + (await Ran.CofferAsync("dev", "--help")).EndedWith(0).Stdout;
        foreach (var setting in settings.Values)
        {
            var line = Assert.Single(lines,
                line => line.StartsWith($"{setting.GetProperty("name").GetString()} ", StringComparison.Ordinal));
            foreach (var text in (string[])["environment", "default", "help"])
                Assert.Contains(setting.GetProperty(text).GetString() ?? "dev only", line, StringComparison.Ordinal);
            Assert.Contains($"--{setting.GetProperty("name").GetString()} ", help, StringComparison.Ordinal);
        }

        Assert.Contains("COFFER_DATA=/var/lib/coffer COFFER_SECRETS_PER_SCOPE=20 coffer serve",
            (await Ran.CofferAsync("settings", "--help")).EndedWith(0).Stdout, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Over_https_a_client_that_trusts_its_certificate_reaches_it_and_the_management_plane_too()
    {
        var curl = Needs.Curl();
        var (cert, tlsKey) = PemPair.Make(folder);
        await using var coffer = await CofferProcess.StartAsync(
            ["serve", "--data", folder.File("store"), "--listen", "https://127.0.0.1:0", "--admin-listen",
                "http://127.0.0.1:0", "--tls-cert", cert, "--tls-key", tlsKey,
                "--connections", "1000"]); // there may be too few files for more
        Assert.Equal("https", coffer.Url.Scheme);
        Assert.Equal(["url", "admin_url", "pid"], coffer.Ready.EnumerateObject().Select(field => field.Name).Take(3));
        var admin = new Uri(coffer.Ready.GetProperty("admin_url").GetString()!);
        Assert.NotEqual(0, admin.Port);
        Assert.Contains($", the management plane at {admin}\n", await coffer.PrintedAsync("Coffer serves"),
            StringComparison.Ordinal);

        var set =
            await Ran.ProgramAsync(curl, ["--silent", "--show-error", "--cacert", cert, "-u", $"{coffer.TestKey}:",
                $"{coffer.Url}v1/apps/secrets",
            "-d", "scope[type]=account", "-d", "name=k", "-d", "payload=p", "--write-out", "\n%{http_code}"]);
        Assert.EndsWith("\n200", set.EndedWith(0).Stdout, StringComparison.Ordinal);
        (await Ran.ProgramAsync(curl, ["--silent", $"{coffer.Url}healthz"])).EndedWith(60); // not trusted
        Assert.Equal(0, await coffer.StopAsync());
        Assert.Empty(coffer.Complaints);
    }

    [Fact]
    public async Task A_TLS_key_that_others_may_read_is_refused()
    {
        var (cert, tlsKey) = PemPair.Make(folder);
        File.SetUnixFileMode(tlsKey, File.GetUnixFileMode(tlsKey) | UnixFileMode.OtherRead);
        (await Ran.CofferAsync("serve", "--data", folder.File("store"), "--listen", "https://127.0.0.1:0", "--tls-cert",
            cert, "--tls-key", tlsKey))
            .Refused(78, $"chmod 600 {tlsKey}");
        Assert.False(Directory.Exists(folder.File("store")));
    }

    public void Dispose() => folder.Dispose();

    /// <summary>How many secrets a scope takes of a server that is started so.</summary>
    private async Task<int> QuotaAsync(string[] arguments, Dictionary<string, string> environment)
    {
        await using var coffer = await CofferProcess.StartAsync(arguments, environment: environment);
        key ??= coffer.TestKey; // of the first start
        using var client = new WireClient(coffer.Url, key, $"acct_{Guid.NewGuid():N}");
        var taken = 0;
        while ((await client.SetAsync($"n{taken}", "p")).Status == 200)
            taken++;
        Assert.Equal(0, await coffer.StopAsync());
        return taken;
    }
}
