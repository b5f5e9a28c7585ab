using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Transfer;

namespace Coffer.Tests.Transfer;

/// <summary>
/// What receipts show as forgotten after a back-up does not come back with it; what came after they leave (S3, S11).
/// </summary>
[Trait("Keys", "S11")]
[Trait("Engine", "SQLite")]
public sealed class RestoredReceiptsTests : ServerTests
{
    private const string Unsigned = "it was not signed by this store, or was edited";

    private readonly TemporaryDirectory directory = new();

    private string Receipts => directory.File("receipts");

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        await Server.StopAsync();
        Directory.CreateDirectory(Receipts);
        await StartAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Accounts_that_were_forgotten_after_the_back_up_are_forgotten_again_and_no_others(bool isOld)
    {
        foreach (var account in (string[])["acct_kept", "acct_back", "acct_gone", "acct_twice"])
            (await Server.Client(account: account).Set("k", account)).IsOk();
        await ForgetAsync("acct_back");
        await ForgetAsync("acct_twice");
        if (isOld) // if not, all is of one second
            Server.Time.Move(TimeSpan.FromSeconds(5));
        foreach (var account in (string[])["acct_back", "acct_twice"])
            (await Server.Client(account: account).Set("k", "installed again")).IsOk();
        await Server.StopAsync();
        if (isOld) // what the store knew of these receipts is gone after 90 days
            Server.Execute("DELETE FROM receipts");
        var file = await BackupAsync();
        await StartAsync();
        await ForgetAsync("acct_gone");
        await ForgetAsync("acct_twice");
        await ForgetAsync("acct_never");
        await Server.StopAsync();

        // The receipts are all that is left of what came after.
        var options = await RestoreAsync(file);
        var (_, _, forgotten) = await FinishAsync(options);
        Assert.Equal(2, forgotten);
        await using var node = await NodeAsync(options);
        var key = Server.Keys.TestSecretKey;
        Assert.Equal(401, (await node.Find(key, "k", "acct_kept")).Status); // nobody knows of keys: --unknown
        await using var connection = StoreContents.Connect(new(options.Data, null));
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await using var command = connection.CreateCommand();
        command.CommandText = "SELECT group_concat(account, ' ') FROM (SELECT account FROM tenants ORDER BY account)";
        Assert.Equal("acct_back acct_kept", await command.ExecuteScalarAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task With_a_log_beside_them_receipts_show_what_the_log_does_not_reach()
    {
        (await Server.Client(account: "acct_gone").Set("k")).IsOk();
        (await Server.Client(account: "acct_kept").Set("k", "kept")).IsOk();
        await Server.StopAsync();
        var (file, log) = (await BackupAsync(), directory.File("log"));
        await Exports.WriteAsync(Server.Location, log);
        await StartAsync();
        await ForgetAsync("acct_gone");
        await Server.StopAsync();
        var options = await RestoreAsync(file);
        var (ended, shown, forgotten) = await FinishAsync(options, log);
        Assert.Equal((0, 0L, 1), (ended, shown!.Entries, forgotten));
        await using var node = await NodeAsync(options);
        Assert.Equal("kept", (await node.Find(Server.Keys.TestSecretKey, "k", "acct_kept")).IsOk().Payload);
        (await node.Find(Server.Keys.TestSecretKey, "k", "acct_gone")).IsError(404, "resource_missing", "name");
        var entries = await AuditArchive.ListAsync(
            new(options.Data, null), new AuditFilter(null, null, "forget_account", null, null, null, null), 1, default);
        Assert.Equal(("restored", Path.GetFileNameWithoutExtension(Assert.Single(Directory.GetFiles(Receipts)))),
            (AuditArchive.Field(entries[0], "reason"), AuditArchive.Field(entries[0], "target")));
        entries = await AuditArchive.ListAsync(
            new(options.Data, null), new AuditFilter(null, null, "finish_restore", null, null, null, null), 1, default);
        Assert.Equal("a log with 0 entries, and 1 receipts", AuditArchive.Field(entries[0], "reason"));
        Assert.Empty((await AuditArchive.VerifyStoreAsync(new(options.Data, null), null, default)).Problems);
    }

    [Fact]
    [Trait("Keys", "S27")]
    public async Task What_was_uninstalled_after_the_back_up_is_closed_in_its_mode_and_what_came_back_stays()
    {
        var live = Server.Keys.LiveSecretKey;
        foreach (var account in (string[])["acct_kept", "acct_back", "acct_gone"])
            (await Server.Client(account: account).Set("k", account)).IsOk();
        (await Server.Client(live, "acct_gone").Set("k", "live")).IsOk();
        await UninstallAsync("acct_back");
        (await Server.Client(account: "acct_back").Post("/v1/apps/installs", [("app", await Server.AppIdAsync())]))
            .IsOk();
        (await Server.Client(account: "acct_back").Set("k", "installed again")).IsOk();
        await Server.StopAsync();
        var (file, log) = (await BackupAsync(), directory.File("log"));
        await Exports.WriteAsync(Server.Location, log);
        await StartAsync();
        await UninstallAsync("acct_gone");
        (await Server.Client(account: "acct_never").Set("k")).IsOk();
        await UninstallAsync("acct_never");
        await Server.StopAsync();

        var options = await RestoreAsync(file);
        var (_, _, forgotten) = await FinishAsync(options, log);
        Assert.Equal(2, forgotten);
        await using var node = await NodeAsync(options);
        var key = Server.Keys.TestSecretKey;
        foreach (var account in (string[])["acct_gone", "acct_never"])
        {
            (await node.Find(key, "k", account)).IsError(403, "account_invalid", null);
            (await node.Set(key, "k", account: account)).IsError(403, "account_invalid", null);
        }

        Assert.Equal("acct_kept", (await node.Find(key, "k", "acct_kept")).IsOk().Payload);
        Assert.Equal("installed again", (await node.Find(key, "k", "acct_back")).IsOk().Payload);
        Assert.Equal("live", (await node.Find(live!, "k", "acct_gone")).IsOk().Payload);
        var entries = await AuditArchive.ListAsync(
            new(options.Data, null), new AuditFilter(null, null, "uninstall", null, null, null, null), 2, default);
        Assert.All(entries, entry => Assert.Equal("restored", AuditArchive.Field(entry, "reason")));
    }

    [Fact]
    public async Task Receipts_that_are_forged_edited_or_of_another_store_are_named_and_nothing_is_changed()
    {
        (await Server.Client(account: "acct_gone").Set("k")).IsOk();
        await Server.StopAsync();
        var file = await BackupAsync();
        await StartAsync();
        await ForgetAsync("acct_gone");
        await Server.StopAsync();
        var whole = (await File.ReadAllTextAsync(Directory.GetFiles(Receipts).Single())).Trim();
        var parts = whole.Split('.');
        using var foreign = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await using var other = await TestServer.StartAsync(isOther: true);
        await other.StopAsync();
        var (foreignText, ofOther) = (await SignAsync(Server, foreign), await SignAsync(other));
        var statement = Encoding.UTF8.GetString(Base64Url.DecodeFromChars(parts[1]));
        var edited = Base64Url.EncodeToString(Encoding.UTF8.GetBytes(
            statement.Replace("acct_gone", "acct_kept", StringComparison.Ordinal)));
        var options = await RestoreAsync(file);
        foreach (var (name, text, why) in ((string, string, string)[])[
            ("edited", $"{parts[0]}.{edited}.{parts[2]}", Unsigned), ("cut", whole[..^10], Unsigned),
            ("forged", foreignText, Unsigned),
            ("planted", await SignAsync(Server, foreign, number: 2), Unsigned),
            ("other", ofOther, "it is of another store, "), ("none", "none", "it is not a receipt"),
            ("long", new string('x', 2_000_000), "it is too long for a receipt")])
        {
            var path = Path.Combine(Receipts, name + SignedReceipt.Suffix);
            await File.WriteAllTextAsync(path, text);
            var refused = await Assert.ThrowsAsync<ConfigurationException>(() => FinishAsync(options));
            Assert.StartsWith($"1 receipts are not this store's: {path}: {why}", refused.Message,
                StringComparison.Ordinal);
            File.Delete(path);
        }

        await using (var node = await NodeAsync(options))
            Assert.Equal(503, (await node.Find(Server.Keys.TestSecretKey, "k", "acct_gone")).Status); // held still
        await File.WriteAllTextAsync(Path.Combine(Receipts, "notes.txt"), "of the operator");
        Assert.Equal(1, (await FinishAsync(options)).Forgotten);
    }

    [Fact]
    public async Task A_receipt_by_a_key_that_came_after_the_back_up_is_accepted_by_the_succession_only()
    {
        (await Server.Client(account: "acct_gone").Set("k")).IsOk();
        await Server.StopAsync();
        var (file, pem) = (await BackupAsync(), await AuditArchive.PublicKeyAsync(Server.Location, default));
        using var later = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await Server.OnStoreAsync(async (_, committer, instance) =>
        {
            var change = new ControlChange(instance, control => control with
            {
                SigningKeys =
                [
                    .. control.SigningKeys, new Control.Numbered(2, SecretBytes.ForKey(later.ExportPkcs8PrivateKey())),
                ],
            }, [], []);
            await committer.CommitAsync(change);
            return change.HasChanged;
        });
        await StartAsync();
        await ForgetAsync("acct_gone");
        await Server.StopAsync();
        var receipt = Directory.GetFiles(Receipts).Single();
        var statement = JsonNode.Parse(KnownReceipts.Verify(receipt, pem, "the key"))!;
        Assert.Equal((2, 1), ((int)statement["signing_key"]!, statement["signing_keys"]!.AsArray().Count));

        // The same statement by the same key, without the word of the key before it.
        var options = await RestoreAsync(file);
        var alone = Path.Combine(Receipts, "alone" + SignedReceipt.Suffix);
        await File.WriteAllTextAsync(alone, await SignAsync(Server, later, number: 2));
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => FinishAsync(options));
        Assert.StartsWith($"1 receipts are not this store's: {alone}: it was not signed", refused.Message,
            StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => KnownReceipts.Verify(alone, pem, "the key"));
        File.Delete(alone);
        Assert.Equal(1, (await FinishAsync(options)).Forgotten);
    }

    [Fact]
    public async Task An_anchor_that_is_kept_with_the_receipts_proves_which_store_a_back_up_is_of()
    {
        await Server.StopAsync();
        var file = await BackupAsync();
        var by = new StoreLocation(directory.NewKeyed(Server.Data), null);
        var source = new RestoredStore.Source(file) { Receipts = Receipts };
        using (var opened = await RestoredStore.OpenAsync(source, by, default))
            Assert.False(opened.IsAnchored);
        var kept = Path.Combine(Receipts, DataDirectoryAnchor);
        File.Copy(Path.Combine(Server.Data, DataDirectoryAnchor), kept);
        using (var opened = await RestoredStore.OpenAsync(source, by, default))
            Assert.True(opened.IsAnchored);
        await using var other = await TestServer.StartAsync(isOther: true);
        File.Copy(Path.Combine(other.Data, DataDirectoryAnchor), kept, overwrite: true);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(
            () => RestoredStore.OpenAsync(source, by, default));
        Assert.Contains("is not the one that", refused.Message, StringComparison.Ordinal);
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        directory.Dispose();
    }

    private const string DataDirectoryAnchor = Coffer.Storage.DataDirectory.Anchor;

    private Task StartAsync() => Server.StartAgainAsync(with: options => options with { Receipts = Receipts });

    private async Task ForgetAsync(string account) =>
        await WrittenAsync((string)(await Server.ForgetAsync(account)).IsOk().Json["receipt_id"]!);

    private async Task UninstallAsync(string account)
    {
        var installer = Server.Client(account: account);
        var id = (await installer.Get("/v1/apps/installs")).Ids().Single();
        await WrittenAsync((await installer.Post($"/v1/apps/installs/{id}/uninstall", [])).IsOk()
            .Header("Coffer-Receipt")!);
    }

    private async Task WrittenAsync(string id)
    {
        var file = Path.Combine(Receipts, id + SignedReceipt.Suffix);
        await Until.SoAsync("the receipt is written", () => File.Exists(file));
    }

    private async Task<string> BackupAsync()
    {
        var path = directory.NewPath();
        await BackupFiles.CreateAsync(Server.Location, path, null, path + BackupKeys.Suffix, static _ => { },
            TimeProvider.System.GetUtcNow().ToUnixTimeSeconds(), default);
        return path;
    }

    private async Task<CofferOptions> RestoreAsync(string file)
    {
        var options = new CofferOptions { Data = directory.NewKeyed(Server.Data), Listen = "http://127.0.0.1:0" };
        Assert.NotNull((await RestoredStore.RestoreAsync(
            new(file), options, static _ => { }, TimeProvider.System, default)).Key);
        return options;
    }

    private Task<(int Ended, LaterLog? Shown, int Forgotten)> FinishAsync(CofferOptions options, string? log = null) =>
        RestoredStore.FinishAsync(
            options, isUnknown: log is null, log, TimeProvider.System, default, Receipts);

    private static async Task<Nodes.Node> NodeAsync(CofferOptions options) =>
        new(await Coffer.Hosting.Server.StartAsync(options, TimeProvider.System, default), options.Data);

    // A receipt of a store for acct_gone, signed by its key, or by another that is said to be its key of a number.
    private static Task<string> SignAsync(TestServer server, ECDsa? key = null, int number = 1) =>
        server.OnStoreAsync(async (_, _, instance) =>
        {
            var receipt = Receipt.New("app_1", "acct_gone", 1, 1, 1_900_000_000)
                .Signed(instance, Coffer.Storage.Reach.Files, 1_900_000_000, backups: null).Text!;
            if (key is null)
                return receipt;
            var parts = receipt.Split('.');
            var statement = JsonNode.Parse(Base64Url.DecodeFromChars(parts[1]))!.AsObject();
            statement["signing_key"] = number;
            statement.Remove("signing_keys");
            var signed = $"{parts[0]}."
                + Base64Url.EncodeToString(
                    Encoding.UTF8.GetBytes(statement.ToJsonString()));
            var signature = key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256);
            return $"{signed}.{Base64Url.EncodeToString(signature)}";
        });
}
