using System.Text.Json.Nodes;
using Coffer.Management;
using Coffer.Settings;

namespace Coffer.Tests.Api.Management;

/// <summary>Receipts outlive the store in a directory, and say what they know of back-ups.</summary>
[Trait("Keys", "S11")]
[Trait("Engine", "SQLite")] // nodes are waited for by a clock that stands still here: PostgresReceiptTests
public sealed class ReceiptFolderTests : ServerTests
{
    private readonly TemporaryDirectory directory = new();

    private string Folder => directory.File("receipts");

    private string Backups => directory.File("backups");

    [Fact]
    public async Task Each_receipt_is_in_the_directory_too_and_none_is_lost_while_that_is_away()
    {
        var before = (await Server.ForgetAsync("acct_before")).IsOk().Json;
        await SignedAsync(before);
        await Server.StopAsync();
        Directory.CreateDirectory(Folder);
        await StartAsync();
        await UntilAsync(() => Task.FromResult(File.Exists(FileOf(before)))); // the store had it
        var first = (await Server.ForgetAsync("acct_1")).IsOk().Json;
        var signed = await SignedAsync(first);
        await UntilAsync(() => Task.FromResult(File.Exists(FileOf(first))));
        Assert.Equal($"{signed["receipt"]}\n", await File.ReadAllTextAsync(FileOf(first)));
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(FileOf(first)));
        Assert.DoesNotContain("receipts", (await ReadyAsync()).Text, StringComparison.Ordinal);

        // Away for longer than the store keeps receipts.
        Directory.Delete(Folder, recursive: true);
        var away = (await Server.ForgetAsync("acct_away")).IsOk().Json;
        await SignedAsync(away);
        await UntilAsync(async () => (await ReadyAsync()).Text.Contains(
            "\"receipts\":\"receipts cannot be written to their directory", StringComparison.Ordinal));
        Assert.Equal(200, (await ReadyAsync()).Status);
        Server.Time.Move(TimeSpan.FromDays(100));
        await SignedAsync((await Server.ForgetAsync("acct_later")).IsOk().Json);

        Directory.CreateDirectory(Folder);
        await Server.ForgetAsync("acct_back");
        await UntilAsync(() => Task.FromResult(File.Exists(FileOf(away))));
        await UntilAsync(async () => !(await ReadyAsync()).Text.Contains("receipts", StringComparison.Ordinal));
        Assert.Empty(Directory.GetFiles(Folder, "*.new"));
    }

    [Fact]
    [Trait("Firm edges", "14")]
    public async Task Trouble_with_the_directory_has_a_line_for_each_cause_and_one_when_it_is_over()
    {
        var forgotten = (await Server.ForgetAsync("acct_1")).IsOk().Json;
        await SignedAsync(forgotten);
        await Server.StopAsync();
        var log = new KeptLog<ReceiptFolder>();
        await Server.OnStoreAsync(async (engine, _, instance) =>
        {
            var folder = new ReceiptFolder(Folder, log);
            await CatchUpAsync(times: 2);
            Directory.CreateDirectory(FileOf(forgotten)); // another one is where the receipt is to be
            await CatchUpAsync(times: 2);
            Assert.NotNull(folder.Trouble);
            Directory.Delete(FileOf(forgotten));
            await CatchUpAsync(times: 1);
            Assert.Null(folder.Trouble);
            return true;

            async Task CatchUpAsync(int times)
            {
                for (var i = 0; i < times; i++)
                    await folder.CatchUpAsync(engine, instance, default);
            }
        });
        Assert.Collection(log.Texts,
            line => Assert.Contains("cannot be written: there is no directory", line, StringComparison.Ordinal),
            line => Assert.Contains("is a directory, and would be lost", line, StringComparison.Ordinal),
            line => Assert.Contains($"are written to {Folder} again", line, StringComparison.Ordinal));
    }

    /// <summary>SQLite says of each BLOB that it is greater than any text.</summary>
    [Fact]
    public async Task A_row_that_was_planted_holds_no_receipt_up()
    {
        var forgotten = (await Server.ForgetAsync("acct_1")).IsOk().Json;
        await SignedAsync(forgotten);
        await Server.StopAsync();
        Server.Execute("INSERT INTO receipts SELECT CAST(id AS BLOB), created, signed, sealed FROM receipts");
        Directory.CreateDirectory(Folder);
        await Server.OnStoreAsync(async (engine, _, instance) =>
        {
            var folder = new ReceiptFolder(Folder, new KeptLog<ReceiptFolder>());
            var ct = TestContext.Current.CancellationToken;
            await Task.Run(() => folder.CatchUpAsync(engine, instance, ct), ct).WaitAsync(TimeSpan.FromSeconds(30), ct);
            Assert.False(folder.IsBehind);
            return true;
        });
        Assert.True(File.Exists(FileOf(forgotten)));
    }

    [Fact]
    public async Task A_receipt_names_the_back_ups_of_the_schedule_that_may_hold_the_account_and_until_when()
    {
        await Server.StopAsync();
        Directory.CreateDirectory(Folder);
        await StartAsync(new CofferOptions.BackupOptions(Backups, null, Hours: 6, Days: 7));
        await UntilAsync(() => Task.FromResult(
            Directory.Exists(Backups) && Directory.GetFiles(Backups, "*.backup").Length == 1));
        var made = Server.Time.Seconds;
        Server.Time.Move(TimeSpan.FromMinutes(5));
        var signed = await SignedAsync((await Server.ForgetAsync("acct_1")).IsOk().Json);
        var statement = JsonNode.Parse(
            SignedReceipt.Read((string)signed["receipt"]!, null, await KeysAsync()).Statement)!["back_ups"]!;
        var name = Path.GetFileName(Directory.GetFiles(Backups, "*.backup").Single());
        Assert.Equal((1, name), ((int)statement["count"]!, (string?)Assert.Single(statement["files"]!.AsArray())));
        // As long as one is kept, until the next is made that removes it, and an hour for that.
        Assert.Equal(made + (7 * 86_400) + (6 * 3_600) + 3_600, (long)statement["until"]!);
        Assert.Contains("back_ups", signed["not_reached"]!.AsArray().Select(word => (string)word!));
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        directory.Dispose();
    }

    private Task StartAsync(CofferOptions.BackupOptions? backups = null) => Server.StartAgainAsync(
        with: options => options with { Receipts = Folder, Backups = backups ?? options.Backups });

    private string FileOf(JsonNode forgotten) =>
        Path.Combine(Folder, $"{forgotten["receipt_id"]}{SignedReceipt.Suffix}");

    private async Task<Coffer.Keys.PublicKeys> KeysAsync()
    {
        using var http = new HttpClient();
        var pem = await http.GetStringAsync(new Uri(Server.Url, "/.well-known/coffer-audit-key"));
        return Coffer.Keys.PublicKeys.FromPem(pem)!;
    }

    // What was proven is believed for a moment.
    private Task<Answer> ReadyAsync()
    {
        Server.Time.Move(TimeSpan.FromSeconds(1));
        return Server.Client().Get("/readyz");
    }

    private async Task<JsonNode> SignedAsync(JsonNode forgotten)
    {
        JsonNode receipt = forgotten;
        await UntilAsync(async () =>
        {
            receipt = (await Server.Admin.Get($"/admin/v1/receipts/{forgotten["receipt_id"]}")).IsOk().Json;
            return (string?)receipt["status"] == "signed";
        });
        return receipt;
    }

    private static async Task UntilAsync(Func<Task<bool>> isSo)
    {
        for (var tries = 0; !await isSo(); tries++)
        {
            Assert.True(tries < 400, "it did not come to it within 20 seconds");
            await Task.Delay(50);
        }
    }
}
