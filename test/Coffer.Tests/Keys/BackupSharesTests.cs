using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Transfer;

namespace Coffer.Tests.Keys;

/// <summary>A back-up opens with the recovery shares of its time and nothing else (docs/keys.md).</summary>
[Trait("Keys", "S12")]
[Trait("Engine", "SQLite")]
public sealed class BackupSharesTests : ServerTests
{
    private const string Wrappers = "/admin/v1/root_keys/wrappers";

    private readonly TemporaryDirectory directory = new();

    [Fact]
    public async Task A_back_up_is_restored_by_shares_alone_and_they_open_what_it_became()
    {
        (await Server.Client(account: "acct_1").Set("k", "kept")).IsOk();
        using var made = await CreateAsync();
        await Server.StopAsync();
        var file = await BackupAsync();

        // Neither the key file nor anything else of the machine is left.
        var options = new CofferOptions { Data = directory.File("new"), Listen = "http://127.0.0.1:0" };
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RestoreAsync(file, options, made, 0));
        Assert.StartsWith("these shares do not open this store", refused.Message, StringComparison.Ordinal);
        using var others = Recovery.Make(new string('0', 32), new string('0', 64), 2, 3);
        await Assert.ThrowsAsync<FormatException>(() => RestoreAsync(file, options, others, 0, 1));
        Assert.False(Directory.Exists(options.Data));

        var outcome = await RestoreAsync(file, options, made, 2, 0);
        Assert.Empty(outcome.Restored.Problems);
        await RestoredStore.FinishAsync(options, isUnknown: false, null, TimeProvider.System, default);
        await using (var node = await NodeAsync(options))
        {
            Assert.Equal("kept", (await node.Find(Server.Keys.TestSecretKey, "k", "acct_1")).IsOk().Payload);
            var keys = (await node.Get(Server.Keys.AdminKey!, "/admin/v1/root_keys")).IsOk().Json["keys"]!.AsArray();
            // What wrapped them before wraps no more: it was lost, or stolen.
            Assert.All(keys, key => Assert.Equal(2, key!["wrappers"]!.AsArray().Count));
            Assert.DoesNotContain("null", keys.Select(key => key!["wrappers"]!.ToJsonString()).First(
                text => text.Contains("file:", StringComparison.Ordinal)).Split("shares:")[0],
                StringComparison.Ordinal);
        }

        // The restored store has the shares still.
        File.Delete(Path.Combine(options.Data, "coffer.key"));
        await Assert.ThrowsAsync<ConfigurationException>(() => NodeAsync(options));
        await Recovery.RunAsync(options, Shareholders.Giving(made, 1, 2), TimeProvider.System, default);
        await using var again = await NodeAsync(options);
        (await again.Find(Server.Keys.TestSecretKey, "k", "acct_1")).IsOk();
    }

    [Fact]
    public async Task A_back_up_of_before_there_were_shares_says_so_and_one_that_was_made_up_around_them_is_refused()
    {
        using var made = await CreateAsync();
        var id = (string)(await Server.Admin.Get(Shareholders.Path)).IsOk().Json["id"]!;
        await Server.StopAsync();
        var whole = await BackupAsync();
        using (var opened = await RestoredStore.OpenAsync(
            new(whole) { Gather = Shareholders.Giving(made, 0, 1) }, directory.Path, default))
            Assert.Empty(opened.Prove(static _ => { }).Problems);

        // Anybody wraps a root key of their own by the public key, and seals a control row under it.
        var shares = RecoveryShares.Read(Base64Url.DecodeFromChars(made.Stored))!;
        var store = (byte[])Server.Scalar("SELECT value FROM meta WHERE key = 'store id'")!;
        var root = RootKeys.Generate(1);
        using var wrapper = shares.Wrapper();
        var wrapping = (await Instance.WrapAsync(store, root, [wrapper], 1, default))[0];
        using var signing = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var control = new Control
        {
            Serial = 9,
            Level = Control.CurrentLevel,
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
        using var gathering = ShareGathering.Of(Convert.ToHexStringLower(store), made.Stored);
        await Shareholders.Giving(made, 0, 1)(gathering, default);
        using var opening = gathering.Open()!;
        var madeUp = await BackupAsync(stored => Instance.OpenAsync(stored, KeyWrappers.Of(opening), default));
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => RestoredStore.OpenAsync(
            new(madeUp) { Gather = Shareholders.Giving(made, 0, 1) }, directory.Path, default));
        Assert.StartsWith("this is not the store that the shares were made for", refused.Message,
            StringComparison.Ordinal);

        await using var other = await TestServer.StartAsync(isOther: true);
        await other.StopAsync();
        var path = directory.NewPath();
        await BackupFiles.CreateAsync(
            other.Location, path, null, path + BackupKeys.Suffix, static _ => { }, 1, default);
        refused = await Assert.ThrowsAsync<ConfigurationException>(() => RestoredStore.OpenAsync(
            new(path) { Gather = Shareholders.Giving(made, 0, 1) }, directory.Path, default));
        Assert.StartsWith($"no recovery shares had been made when {path} was", refused.Message,
            StringComparison.Ordinal);
        Assert.StartsWith("shares:", id, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Root_keys_name_each_back_up_of_the_schedule_and_what_still_opens_it()
    {
        var (backups, key, other) = (directory.File("backups"),
            WrapperUrl.Of(Path.Combine(Server.Data, "coffer.key")), WrapperUrl.Of(directory.File("other.key")));
        KeyFile.Create(other.Rest, TimeProvider.System.GetUtcNow());
        await Server.StopAsync();
        await StartAsync(key, other);
        await UntilAsync(1);
        var shown = Assert.Single(await ShownAsync());
        Assert.Equal("id created file wrappers", shown.Fields());
        Assert.Equal(key.ToString(), (string?)Assert.Single(shown["wrappers"]!.AsArray())!["url"]);

        (await Server.Admin.Post(Wrappers, [("wrapper", other.ToString())])).IsOk();
        (await Server.Admin.Post($"{Wrappers}/remove", [("wrapper", key.ToString())])).IsOk();
        // It is set still, so it opens the back-up still.
        Assert.Single(Assert.Single(await ShownAsync())["wrappers"]!.AsArray());
        await Server.StopAsync();
        await StartAsync(other);
        Assert.Empty(Assert.Single(await ShownAsync())["wrappers"]!.AsArray());
        Server.Time.Move(TimeSpan.FromDays(2));
        await Server.StopAsync();
        await StartAsync(other);
        await UntilAsync(2);
        Assert.Equal([0, 1], (await ShownAsync()).Select(each => each["wrappers"]!.AsArray().Count));
        await Server.StopAsync();
        await Server.StartAgainAsync(with: options => options with { RootKey = new KeySettings([other]) });
        Assert.Null((await Server.Admin.Get("/admin/v1/root_keys")).IsOk().Json["back_ups"]);

        Task StartAsync(params WrapperUrl[] urls) => Server.StartAgainAsync(with: options => options with
        {
            RootKey = new KeySettings(urls),
            Backups = new CofferOptions.BackupOptions(backups, null),
        });

        async Task<List<JsonNode>> ShownAsync() =>
            [.. (await Server.Admin.Get("/admin/v1/root_keys")).IsOk().Json["back_ups"]!.AsArray().Select(
                each => each!)];

        Task UntilAsync(int count) => Until.SoAsync($"there are {count} back-ups",
            () => Directory.Exists(backups) && Directory.GetFiles(backups, "*.backup").Length >= count);
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        directory.Dispose();
    }

    private Task<Recovery.Made> CreateAsync() => Shareholders.CreateAsync(Server, threshold: 2, count: 3);

    private async Task<string> BackupAsync(Func<StoredKeys, Task<Instance>>? open = null)
    {
        var path = directory.NewPath();
        var wrappers = open is null ? KeyWrappers.OfFile(Path.Combine(Server.Data, "coffer.key")) : null;
        open ??= stored => Instance.OpenAsync(stored, wrappers!, default);
        await BackupFiles.WriteAsync(Server.Location, open, path, null, path + BackupKeys.Suffix, static _ => { },
            1_900_000_000, default);
        return path;
    }

    private static Task<RestoredStore.Outcome> RestoreAsync(
        string file, CofferOptions options, Recovery.Made made, params int[] which) => RestoredStore.RestoreAsync(
        new(file) { Gather = Shareholders.Giving(made, which) }, options, static _ => { }, TimeProvider.System,
        default);

    private static async Task<Nodes.Node> NodeAsync(CofferOptions options) =>
        new(await Coffer.Hosting.Server.StartAsync(options, TimeProvider.System, default), options.Data);
}
