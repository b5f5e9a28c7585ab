using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Coffer.Checks;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Transfer;

namespace Coffer.Tests.Keys;

/// <summary>
/// Recovery shares are created while a store serves, and open it when nothing else does (docs/keys.md).
/// </summary>
[Trait("Keys", "S12")]
public sealed class RecoveryTests : ServerTests
{
    private const string Root = "/admin/v1/root_keys", Shares = Shareholders.Path, Wrappers = $"{Root}/wrappers";

    private bool isRunning = true;

    private string KeyFilePath => Path.Combine(Server.Data, "coffer.key");

    [Fact]
    public async Task A_store_that_lost_its_key_file_opens_with_its_shares_and_nothing_else_but_the_database()
    {
        (await Server.Client(account: "acct_1").Set("k", "kept")).IsOk();
        using var made = await CreateAsync(3, 5);
        await LoseAllButTheStoreAsync();
        await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());

        var outcome = await RecoverAsync(made, 4, 0, 2);
        Assert.Equal(($"file:{KeyFilePath}", 1u), (outcome.Wrappers.Single(), outcome.Versions.Single()));
        await Server.StartAgainAsync();
        await AssertKeptAsync();
        Assert.Equal(2, (await WrappersAsync()).Count); // the new key file, and the shares still
        Assert.Contains(("recover_root_keys", "ok"), await VerbsAsync());
        Assert.Contains(("create_recovery_shares", "ok"), await VerbsAsync());
        var report = await AuditArchive.VerifyStoreAsync(Server.Location, null, default);
        Assert.Empty(report.Problems);

        // And once more with the same shares, for they are as good as before.
        await LoseAllButTheStoreAsync();
        await RecoverAsync(made, 1, 2, 3);
        await Server.StartAgainAsync();
        await AssertKeptAsync();
    }

    [Fact]
    public async Task A_check_does_not_miss_a_setting_for_what_people_keep()
    {
        using var made = await CreateAsync(2, 3);
        await Server.StopAsync();
        var options = new CofferOptions { Data = Server.Data, Store = Server.Location.Store };
        (await Checked.RunAsync(options, Server.Time)).Says(Grade.Ok, "root_keys", "every wrapper opens", "");
    }

    [Fact]
    public async Task One_share_less_than_is_needed_does_not_open_it_and_nothing_is_changed()
    {
        using var made = await CreateAsync(3, 5);
        await LoseAllButTheStoreAsync();
        var before = File.ReadAllBytes(Server.StoreFile);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RecoverAsync(made, 0, 1));
        Assert.StartsWith("these shares do not open this store", refused.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(KeyFilePath));
        Assert.Equal(before, File.ReadAllBytes(Server.StoreFile));
    }

    [Fact]
    public async Task A_rotation_needs_no_shares_and_they_open_the_new_root_key_afterwards()
    {
        (await Server.Client(account: "acct_1").Set("k", "kept")).IsOk();
        using var made = await CreateAsync(2, 3);
        for (var version = 2; version <= 3; version++)
        {
            (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
            await DoneAsync(version);
            Assert.Contains(await WrappersAsync(), RecoveryShares.IsName);
        }

        (await Server.Admin.Raw(HttpMethod.Delete, $"{Root}/1", null)).IsOk();
        await LoseAllButTheStoreAsync();
        Assert.Equal([2u, 3u], (await RecoverAsync(made, 2, 0)).Versions);
        await Server.StartAgainAsync();
        await AssertKeptAsync();
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        await DoneAsync(4);
        await LoseAllButTheStoreAsync();
        await RecoverAsync(made, 1, 2);
        await Server.StartAgainAsync();
        await AssertKeptAsync();
    }

    [Fact]
    public async Task New_shares_take_the_place_of_those_of_before()
    {
        using var old = await CreateAsync(2, 3);
        var first = await WrappersAsync();
        using var made = await CreateAsync(2, 2);
        Assert.Equal(2, (await WrappersAsync()).Count);
        Assert.NotEqual(first, await WrappersAsync());
        await LoseAllButTheStoreAsync();
        var refused = await Assert.ThrowsAsync<FormatException>(() => RecoverAsync(old, 0, 1));
        Assert.StartsWith("it is of another set of shares", refused.Message, StringComparison.Ordinal);
        await RecoverAsync(made, 0, 1);
        await Server.StartAgainAsync();
    }

    [Fact]
    public async Task Shares_are_never_what_a_start_rests_on_and_are_removed_by_name()
    {
        using var made = await CreateAsync(2, 3);
        var shares = (await WrappersAsync()).Single(RecoveryShares.IsName);
        (await Server.Admin.Post($"{Wrappers}/remove", [("wrapper", $"file:{KeyFilePath}")]))
            .IsError(400, null, "wrapper");
        (await Server.Admin.Post($"{Root}/rewrap", [])).IsOk();
        Assert.Contains(shares, await WrappersAsync());
        (await Server.Admin.Post($"{Wrappers}/remove", [("wrapper", shares)])).IsOk();
        Assert.DoesNotContain(shares, await WrappersAsync());
        Assert.Null((await ShowAsync(Shares))["id"]);
        await Server.StopAsync();
        await Server.StartAgainAsync();
        await LoseAllButTheStoreAsync();
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RecoverAsync(made, 0, 1));
        Assert.StartsWith("no recovery shares were made", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_public_key_that_was_planted_wraps_nothing_and_stops_the_next_start()
    {
        using var made = await CreateAsync(2, 3);
        var shown = await ShowAsync(Shares);
        using var planted = Recovery.Make((string)shown["store"]!, (string)shown["anchor"]!, 2, 2);
        var own = RecoveryShares.Read(Base64Url.DecodeFromChars(planted.Stored))!;
        Server.Execute("UPDATE meta SET value = $b0 WHERE key = 'recovery shares'", own.ToRow());
        (await Server.Admin.Post($"{Root}/rotate", [])).IsError(500, null, null, type: "api_error");
        (await Server.Admin.Get(Shares)).IsError(500, null, null, type: "api_error");
        Assert.Single((await ShowAsync(Root))["keys"]!.AsArray());
        await RefusedStartAsync("public key of the recovery shares");

        // With its wrapping under its name besides.
        Server.Execute("UPDATE root_key_wrappings SET wrapper = '" + own.Id + "' WHERE wrapper LIKE 'shares:%'");
        await RefusedStartAsync("root_key_wrappings has root key 1 by shares:");
        // Or with none at all.
        Server.Execute("DELETE FROM root_key_wrappings WHERE wrapper LIKE 'shares:%'");
        await RefusedStartAsync("root_key_wrappings lacks root key 1");
    }

    [Fact]
    public async Task Shares_that_are_planted_in_a_store_without_any_stop_the_start_too()
    {
        var shown = await ShowAsync(Shares);
        Assert.Equal("object anchor count id shares store threshold", shown.Fields());
        using var planted = Recovery.Make((string)shown["store"]!, (string)shown["anchor"]!, 2, 2);
        Server.Execute("INSERT INTO meta (key, value) VALUES ('recovery shares', $b0)",
            Base64Url.DecodeFromChars(planted.Stored));
        (await Server.Admin.Post($"{Root}/rotate", [])).IsError(500, null, null, type: "api_error");
        await RefusedStartAsync("public key of the recovery shares");
    }

    /// <summary>
    /// Who writes the database makes up a store with keys of their own, and wraps its root key by the public key that
    /// is there for all to read: shares unwrap it, but the store is not that which they were made for.
    /// </summary>
    [Fact]
    public async Task A_store_that_was_made_up_around_the_public_key_is_not_opened_by_the_shares()
    {
        using var made = await CreateAsync(2, 3);
        await LoseAllButTheStoreAsync();
        using var wrapper = RecoveryShares.Read(Base64Url.DecodeFromChars(made.Stored))!.Wrapper();
        var store = (byte[])Server.Scalar("SELECT value FROM meta WHERE key = 'store id'")!;
        var root = RootKeys.Generate(1);
        var wrapping = (await Instance.WrapAsync(store, root, [wrapper], 1, default))[0];
        using var signing = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var control = new Control
        {
            Serial = 9,
            Generation = StoreGeneration.After(0, 1),
            Roots = [new Control.Root(1, RootState.Done, root.Hash())],
            Wrappings = [ControlFacts.Of(wrapping)],
            Peppers = [new Control.Numbered(1, SecretBytes.ForKey(new byte[Control.PepperSize]))],
            SigningKeys = [new Control.Numbered(1, SecretBytes.ForKey(signing.ExportPkcs8PrivateKey()))],
        };
        Server.Execute("UPDATE meta SET value = $b0 WHERE key = 'control'",
            control.Write(store, new RootKeys(root)).Value);
        Server.Execute("DELETE FROM root_key_wrappings WHERE wrapper LIKE 'file:%'");
        Server.Execute("UPDATE root_key_wrappings SET wrapped = $b0", wrapping.Wrapped);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RecoverAsync(made, 0, 1));
        Assert.StartsWith("this is not the store that the shares were made for", refused.Message,
            StringComparison.Ordinal);
        Assert.False(File.Exists(KeyFilePath));
    }

    [Fact]
    public async Task What_is_not_made_for_the_store_is_refused_and_changes_nothing()
    {
        var shown = await ShowAsync(Shares);
        using var elsewhere = Recovery.Make((string)shown["store"]!, new string('0', 64), 2, 3);
        using var made = Recovery.Make((string)shown["store"]!, (string)shown["anchor"]!, 2, 3);
        foreach (var wrong in (string[])[elsewhere.Stored, made.Stored[..^8], "AAAA", "not base64", $"{made.Stored}="])
            (await Server.Admin.Post(Shares, [("shares", wrong)])).IsError(400, null, "shares");
        (await Server.Admin.Post(Shares, [])).IsError(400, "parameter_missing", "shares");
        Assert.Null((await ShowAsync(Shares))["id"]);
        Assert.Single(await WrappersAsync());

        (await Server.Admin.Post(Shares, [("shares", made.Stored)], "once")).IsOk();
        (await Server.Admin.Post(Shares, [("shares", made.Stored)], "once")).IsOk(); // replayed
        (await Server.Admin.Post(Shares, [("shares", made.Stored)])).IsOk(); // the same are in force already
        shown = await ShowAsync(Shares);
        Assert.Equal((made.Stored, 2, 3), ((string?)shown["shares"], (int)shown["threshold"]!, (int)shown["count"]!));
        Assert.Equal(2, (await WrappersAsync()).Count);
    }

    [Fact]
    public async Task A_copy_of_the_store_keeps_its_shares()
    {
        (await Server.Client(account: "acct_1").Set("k", "kept")).IsOk();
        using var made = await CreateAsync(2, 3);
        await Server.StopAsync();
        using var directory = new TemporaryDirectory();
        var report = await StoreCopy.RunAsync(
            Server.Location, directory.File("copy"), static _ => { }, TimeProvider.System, default);
        Assert.True(report.IsFinished, string.Join('\n', report.Problems));
        File.Delete(directory.File("copy/coffer.key"));
        await RecoverAsync(made, [2, 1], with: options => options with { Data = directory.File("copy") });
        var options = new CofferOptions { Data = directory.File("copy"), Listen = "http://127.0.0.1:0" };
        await using var node = new Nodes.Node(
            await Coffer.Hosting.Server.StartAsync(options, TimeProvider.System, default), "");
        (await node.Find(Server.Keys.TestSecretKey, "k", "acct_1")).IsOk();
    }

    [Fact]
    public async Task An_exported_log_verifies_with_the_key_file_whether_or_not_there_are_shares()
    {
        using var made = await CreateAsync(2, 3);
        using var directory = new TemporaryDirectory();
        await Exports.WriteAsync(Server.Location, directory.File("audit.jsonl"));
        var report = await AuditArchive.VerifyExportAsync(
            directory.File("audit.jsonl"), new KeySettings([WrapperUrl.Of(KeyFilePath)]), null, default);
        Assert.Empty(report.Problems);
        Assert.InRange(report.Entries, 4, 100);
    }

    [Fact]
    public async Task A_recovery_is_refused_while_a_server_runs_and_where_there_is_no_store()
    {
        using var made = await CreateAsync(2, 3);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RecoverAsync(made, 0, 1));
        Assert.StartsWith("another process uses the data directory", refused.Message, StringComparison.Ordinal);
        refused = await Assert.ThrowsAsync<ConfigurationException>(() => RecoverAsync(made, [0, 1],
            with: options => options with { Data = Path.Combine(Server.Data, "none") }));
        Assert.StartsWith("there is no store in", refused.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(Server.Data, "none")));
    }

    [Fact]
    public async Task A_recovery_wraps_by_what_is_set_and_not_by_what_was()
    {
        using var made = await CreateAsync(2, 3);
        await Server.StopAsync();
        var other = WrapperUrl.Of(Path.Combine(Server.Data, "other.key"));
        await RecoverAsync(made, [0, 1], with: options => options with { RootKey = new KeySettings([other]) });
        // The key file of before is there still, and wraps no more.
        await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
        await Server.StartAgainAsync(with: options => options with { RootKey = new KeySettings([other]) });
        Assert.Equal(2, (await WrappersAsync()).Count);
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        await DoneAsync(2);
    }

    [Fact]
    public async Task A_recovery_that_cannot_wrap_changes_nothing()
    {
        using var made = await CreateAsync(2, 3);
        await LoseAllButTheStoreAsync();
        foreach (var url in (WrapperUrl[])[new(WrapperUrl.Credential, "none"), WrapperUrl.Of("/nowhere/other.key")])
        {
            await Assert.ThrowsAsync<ConfigurationException>(() => RecoverAsync(made, [0, 1],
                with: options => options with { RootKey = new KeySettings([url]) }));
        }

        await RecoverAsync(made, 0, 1);
        await Server.StartAgainAsync();
        Assert.Single(await VerbsAsync(), entry => entry.Verb == "recover_root_keys");
    }

    [Fact]
    public async Task An_old_store_is_refused_by_a_recovery_as_by_a_start_until_that_is_accepted()
    {
        using var made = await CreateAsync(2, 3);
        await Server.StopAsync();
        var old = File.ReadAllBytes(Server.StoreFile);
        await Server.StartAgainAsync();
        (await Server.Client().Set("k")).IsOk();
        (await Server.Client().Set("k2")).IsOk();
        await Server.StopAsync();
        File.WriteAllBytes(Server.StoreFile, old);
        File.Delete(KeyFilePath);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RecoverAsync(made, 0, 1));
        Assert.StartsWith("the store is older than its checkpoints", refused.Message, StringComparison.Ordinal);
        var pair = AcceptedRollback.Parse(
            System.Text.RegularExpressions.Regex.Match(refused.Hint, "node_1:[0-9]+").Value)!.Value;
        await RecoverAsync(made, [0, 1], with: options => options with { AcceptedRollbacks = [pair] });
        await Server.StartAgainAsync();
        Assert.Contains(("accept_rollback", "ok"), await VerbsAsync());
    }

    private Task<Recovery.Made> CreateAsync(int threshold, int count) =>
        Shareholders.CreateAsync(Server, threshold, count);

    private Task<Recovery.Outcome> RecoverAsync(Recovery.Made made, params int[] which) =>
        RecoverAsync(made, which, static options => options);

    private Task<Recovery.Outcome> RecoverAsync(
        Recovery.Made made, int[] which, Func<CofferOptions, CofferOptions> with) =>
        Recovery.RunAsync(with(new CofferOptions { Data = Server.Data }), Shareholders.Giving(made, which),
            Server.Time, default);

    private async Task LoseAllButTheStoreAsync()
    {
        await Server.StopAsync();
        foreach (var file in Directory.GetFiles(Server.Data).Where(file => file != Server.StoreFile))
            File.Delete(file);
    }

    private async Task RefusedStartAsync(string says)
    {
        if (isRunning)
            await Server.StopAsync();
        isRunning = false;
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
        Assert.Contains(says, refused.Message, StringComparison.Ordinal);
    }

    private async Task AssertKeptAsync() => Assert.Equal("kept",
        (await Server.Client(account: "acct_1").Find("k", more: ("expand[]", "payload"))).IsOk().Payload);

    private async Task<JsonNode> ShowAsync(string path) => (await Server.Admin.Get(path)).IsOk().Json;

    // Of the newest root key.
    private async Task<List<string>> WrappersAsync() =>
        [.. (await ShowAsync(Root))["keys"]!.AsArray()[^1]!["wrappers"]!.AsArray().Select(each => each!.Id())];

    private Task DoneAsync(int version) => Until.SoAsync($"the rotation to root key {version} is done", async () =>
    {
        var newest = (await ShowAsync(Root))["keys"]!.AsArray()[^1]!;
        return ((int)newest["version"]!, (string?)newest["state"]) == (version, "done");
    });

    private async Task<List<(string Verb, string Outcome)>> VerbsAsync() =>
        [.. (await Server.Admin.Get("/admin/v1/audit", ("limit", "100"))).IsOk().Json["data"]!.AsArray()
            .Select(entry => ((string)entry!["verb"]!, (string)entry["outcome"]!))];
}
