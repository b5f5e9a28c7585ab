using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Transfer;

namespace Coffer.Tests.Migrations;

/// <summary>
/// Stores of earlier versions, as test/fixtures/make kept them: each opens with this version, and all that was in it is
/// good.
/// </summary>
[Trait("Firm ground", "3")]
public sealed class FixturesTests(PostgresServer postgres)
{
    private static readonly string Root = Repository.File("test/fixtures");

    private static readonly string[] Beside = ["coffer.key", "audit-checkpoints.jsonl"];

    public static TheoryData<string> Fixtures() =>
        [.. Directory.GetDirectories(Root).Select(Path.GetFileName).OfType<string>().Order()];

    /// <summary>Those of before a log could be proven without the root key.</summary>
    public static TheoryData<string> WithoutPublicChain() =>
        [.. Fixtures().Select(row => row.Data).Where(fixture => fixture is not ("postgres-10" or "sqlite-8"))];

    [Fact]
    public void There_is_a_fixture_of_each_engine() =>
        Assert.Equal(["postgres", "sqlite"],
            Directory.GetDirectories(Root).Select(path => Path.GetFileName(path).Split('-')[0]).Distinct().Order());

    [Theory]
    [MemberData(nameof(Fixtures))]
    public async Task A_store_of_an_earlier_version_opens_with_all_that_was_in_it(string fixture)
    {
        var contents = JsonNode.Parse(await File.ReadAllTextAsync(FileOf(fixture, "contents.json")))!;
        await using var server = await OpenAsync(fixture, contents);
        foreach (var secret in contents["secrets"]!.AsArray())
        {
            var found = await Client(secret!["key"]!, Text(secret["account"])).Find(
                Text(secret["name"])!, Text(secret["user"]), ("expand[]", "payload"));
            Assert.Equal((Text(secret["payload"]), Text(secret["id"])), (found.IsOk().Payload, found.Id));
            Assert.Equal(secret["created"]!.ToJsonString(), found.Json["created"]!.ToJsonString());
            Assert.Equal(secret["expires_at"]?.ToJsonString(), found.Json["expires_at"]?.ToJsonString());
        }

        (await Client(Key("test"), "acct_1").Find("deleted")).IsError(404, "resource_missing", "name");
        (await Client(Key("test"), "acct_gone").Find("gone")).IsError(404, "resource_missing", "name");

        TestServer.Caller Client(JsonNode key, string? account = null) => server.Client((string)key!, account);

        JsonNode Key(string name) => contents["keys"]![name]!;
    }

    [Theory]
    [MemberData(nameof(Fixtures))]
    public async Task Its_keys_reach_what_they_reached_and_what_was_ended_stays_ended(string fixture)
    {
        var contents = JsonNode.Parse(await File.ReadAllTextAsync(FileOf(fixture, "contents.json")))!;
        await using var server = await OpenAsync(fixture, contents);
        var reader = Client("reader");
        (await reader.Find("token")).IsOk();
        Assert.Equal(403, (await reader.Set("token")).Status);
        Assert.Equal(403, (await Client("closed").List()).Status);
        Assert.Equal(401, (await Client("revoked").List()).Status);
        var browser = Client("browser");
        (await browser.Find("token", "usr_1")).IsOk();
        Assert.Equal(403, (await browser.Find("token", "usr_2")).Status);
        Assert.Equal(401, (await Client("ended").List()).Status);
        Assert.Equal(401, (await Client("forgotten").List()).Status);

        var admin = Client("admin");
        var other = (await admin.Get($"/admin/v1/apps/{Text(contents["other_app"])}")).IsOk().Json;
        Assert.Equal(3, (int)other["secrets_per_scope"]!);
        Assert.Equal("https://app.example.com", Text(other["origins"]![0]));
        Assert.True((bool)(await admin.Get($"/admin/v1/apps/{Text(contents["closed_app"])}")).IsOk().Json["disabled"]!);

        TestServer.Caller Client(string key) => server.Client(Text(contents["keys"]![key]));
    }

    [Theory]
    [MemberData(nameof(Fixtures))]
    public async Task What_idempotency_keys_kept_is_replayed_and_the_log_goes_on(string fixture)
    {
        var contents = JsonNode.Parse(await File.ReadAllTextAsync(FileOf(fixture, "contents.json")))!;
        await using var server = await OpenAsync(fixture, contents);
        var set = await server.Client(Text(contents["keys"]!["test"])).Post(
            "/v1/apps/secrets", [("name", "kept"), ("payload", "once"), ("scope[type]", "account")], "kept set");
        Assert.Equal((Text(contents["kept"]!["set"]), "true"), (set.IsOk().Id, set.Header("Idempotent-Replayed")));
        var app = await server.Client(Text(contents["keys"]!["admin"])).Post("/admin/v1/apps", [("name", "kept")],
            "kept app");
        Assert.Equal((Text(contents["kept"]!["app"]), "true"), (app.IsOk().Id, app.Header("Idempotent-Replayed")));

        await server.StopAsync();
        var report = await AuditArchive.VerifyStoreAsync(server.Location, null, default);
        Assert.Empty(report.Problems);
        Assert.True(report.Entries > 20);
        Assert.True(report.Checkpoints > 0);
    }

    [Theory]
    [Trait("Keys", "S13")]
    [MemberData(nameof(WithoutPublicChain))]
    public async Task Its_log_is_verified_once_and_can_be_proven_without_the_root_key_from_then_on(string fixture)
    {
        var contents = JsonNode.Parse(await File.ReadAllTextAsync(FileOf(fixture, "contents.json")))!;
        await using var server = await OpenAsync(fixture, contents);
        for (var start = 0; start < 2; start++)
        {
            (await server.Client(Text(contents["keys"]!["test"])).Set("another")).IsOk();
            await server.StopAsync();
            await server.StartAgainAsync();
        }

        await server.StopAsync();
        var key = await PublicProofs.KeepAsync(server.Location);
        var report = await PublicProofs.VerifyAsync(server.Location, key);
        Assert.Empty(report.Problems);
        Assert.Matches("^from entry [0-9]+ on the log of node_1 is provable without the root key .*: begin_segment, ok",
            Assert.Single(report.Segments));
        var first = report.Segments[0].Split(' ')[2];
        // On PostgreSQL a start may have found the name held for some seconds more, and be another node.
        Assert.StartsWith($"entries {first} to ", Assert.Single(report.Proven, part =>
            part.EndsWith("of node_1", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Equal($"entries 1 to {int.Parse(first, CultureInfo.InvariantCulture) - 1} of node_1",
            Assert.Single(report.Unproven, part => part.EndsWith("of node_1", StringComparison.Ordinal)));
    }

    [Theory]
    [Trait("Firm ground", "4")]
    [MemberData(nameof(Fixtures))]
    public async Task Its_signing_secret_is_live_modes_and_test_mode_is_told_how_to_make_one(string fixture)
    {
        var contents = JsonNode.Parse(await File.ReadAllTextAsync(FileOf(fixture, "contents.json")))!;
        if (contents["keys"]!["signing"] is not { } signing)
            return; // a fixture of a later version has one of each mode
        await using var server = await OpenAsync(fixture, contents);
        var live = await SignAsync("live");
        var message = $"{server.Time.Seconds}.{{\"user_id\":\"usr_1\",\"account_id\":\"acct_1\"}}";
        var expected = HMACSHA256.HashData(Encoding.UTF8.GetBytes((string)signing!), Encoding.UTF8.GetBytes(message));
        var signature = Text(live.IsOk().Json["signature"])!;
        Assert.EndsWith($",v1={Convert.ToHexStringLower(expected)}", signature, StringComparison.Ordinal);
        var refused = (await SignAsync("test")).IsError(400, "signing_secret_missing", null);
        var command = $"coffer apps roll-signing-secret {contents["app"]} --grace 0";
        Assert.Contains(command, refused.Text, StringComparison.Ordinal);

        async Task<Answer> SignAsync(string key)
        {
            var backend = server.Client(Text(contents["keys"]![key]), "acct_1");
            var minted = (await backend.Post("/v1/ephemeral_keys", [("user", "usr_1")])).IsOk().Json["secret"];
            return await server.Client(Text(minted)).Get("/v1/apps/app_embedded_backend_signature");
        }
    }

    private static string FileOf(string fixture, string file) => Path.Combine(Root, fixture, file);

    private static string? Text(JsonNode? value) => (string?)value is { Length: > 0 } text ? text : null;

    private async Task<TestServer> OpenAsync(string fixture, JsonNode contents)
    {
        string? store = null;
        List<(string, string)> files = [.. Beside.Select(name => (FileOf(fixture, name), name))];
        if (File.Exists(FileOf(fixture, "store.db")))
        {
            files.Add((FileOf(fixture, "store.db"), "coffer.db"));
        }
        else
        {
            store = await postgres.NewDatabaseAsync();
            await PostgresServer.ExecuteAsync(store, await File.ReadAllTextAsync(FileOf(fixture, "store.sql")));
        }

        return await TestServer.OpenCopyAsync(files, store, (long)contents["made"]!);
    }
}
