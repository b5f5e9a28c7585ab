using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Coffer.Shared;
using static Coffer.EndToEnd.AdminCli;

namespace Coffer.EndToEnd;

/// <summary>
/// A store is lost, and comes back from a back-up by what outlives it: receipts in a directory, a public key, and
/// shares that people hold.
/// </summary>
[Trait("Keys", "S11")]
public sealed class ReceiptDirectoryTests
{
    [Fact]
    public async Task What_outlives_a_store_brings_it_back_without_the_accounts_that_were_forgotten()
    {
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        var (receipts, backups, shares) = (folder.File("receipts"), folder.File("backups"), folder.File("shares"));
        var (to, pem) = (folder.File("restored"), folder.File("key.pem"));
        Directory.CreateDirectory(receipts);
        string app, file, receipt;
        await using (var coffer = await CofferProcess.ServeAsync(
            data, "--receipts", receipts, "--backup-directory", backups))
        {
            var cli = new AdminCli(coffer);
            await File.WriteAllTextAsync(pem, await cli.OkAsync("audit", "public-key"), Ct);
            await cli.OkAsync("root-keys", "shares", "create", "--shares", "3", "--threshold", "2", "--out", shares);
            app = Text((await cli.JsonAsync("apps", "list")).EnumerateArray().Last(), "id");
            foreach (var account in (string[])["acct_kept", "acct_gone", "acct_out"])
            {
                using var client = new WireClient(coffer.Url, coffer.TestKey, account);
                (await client.SetAsync("k", account)).Is(200);
            }

            file = folder.File("back-up");
            (await Ran.CofferAsync("backup", "create", file, "--data", data.Path)).EndedWith(0);
            await cli.OkAsync("accounts", "forget", "acct_gone", "--app", app, "--yes");
            receipt = Assert.Single(Directory.GetFiles(receipts, "rcpt_*.jws"));
            Assert.Equal(0, await coffer.StopAsync());
        }

        // Anybody with the public key proves what was signed.
        var stated = JsonElement.Parse((await Ran.CofferAsync(
            "receipt", "verify", receipt, "--public-key", pem)).EndedWith(0).Stdout);
        Assert.Equal(("acct_gone", "account.forgotten", 1), (Text(stated, "account"), Text(stated, "object"),
            stated.GetProperty("back_ups").GetProperty("count").GetInt32()));
        var edited = folder.File("edited.jws");
        await File.WriteAllTextAsync(edited, (await File.ReadAllTextAsync(receipt, Ct)).TrimEnd()[..^2] + "AA", Ct);
        (await Ran.CofferAsync("receipt", "verify", edited, "--public-key", pem)).Refused(
            2, "it was not signed by this store, or was edited", "which store the public key is of");
        (await Ran.CofferAsync("receipt", "verify", receipt)).Refused(64, "Give --public-key");

        // Another account is taken out of the back-up, whose receipt goes to the others.
        File.Copy($"{file}.keys", $"{file}.keys-old");
        var forgotten = (await Ran.CofferAsync("backup", "forget", file, "--app", app, "--account", "acct_out",
            "--receipts", receipts, "--data", data.Path, "--yes")).EndedWith(0);
        var named = Regex.Match(forgotten.Stdout, @"The receipt is (\S+)\. ").Groups[1].Value;
        stated = JsonElement.Parse((await Ran.CofferAsync(
            "receipt", "verify", named, "--data", data.Path)).EndedWith(0).Stdout);
        Assert.Equal(("backup.account_forgotten", 2), (Text(stated, "object"), stated.GetProperty("part").GetInt32()));

        // The machine is gone, with the key file: two people come together.
        var typed = Encoding.UTF8.GetBytes(string.Concat(
            Directory.GetFiles(shares).Order().Take(2).Select(path => File.ReadAllText(path).TrimEnd() + "\n")));
        string[] restore = ["restore", file, "--shares", "--receipts", receipts, "--data", to];
        (await RunAsync([.. restore, "--keys", $"{file}.keys-old"])).Refused(
            78, "are an old copy, number 1", "the newest copy");
        var verified = (await RunAsync(["backup", "verify", file, "--shares"])).EndedWith(0);
        Assert.Contains("2 secrets opened, 1 tenants taken out, 0 problems", verified.Stdout, StringComparison.Ordinal);
        Assert.Contains("not compared with an anchor", verified.Stdout, StringComparison.Ordinal);
        var restored = (await RunAsync(restore)).EndedWith(0);
        Assert.Contains("2 secrets opened, 1 tenants taken out", restored.Stdout, StringComparison.Ordinal);
        File.Copy(edited, Path.Combine(receipts, "edited.jws"));
        string[] finish = ["restore", "--finish", "--unknown", "--receipts", receipts, "--data", to];
        (await Ran.CofferAsync(finish)).Refused(
            78, "edited.jws: it was not signed by this store", "Nothing was changed");
        File.Delete(Path.Combine(receipts, "edited.jws"));
        Assert.Contains("1 accounts were forgotten again", (await Ran.CofferAsync(finish)).EndedWith(0).Stdout,
            StringComparison.Ordinal);
        Assert.Contains("it is of the store that the anchor names",
            (await Ran.CofferAsync("audit", "verify", "--data", to)).EndedWith(0).Stdout, StringComparison.Ordinal);

        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", to]))
        {
            var admin = Regex.Match(restored.Stdout, "ak_[0-9A-Za-z]+").Value;
            var accounts = await new AdminCli(coffer, admin).JsonAsync("accounts", "list", "--app", app);
            Assert.Equal("acct_kept", Text(Assert.Single(accounts.EnumerateArray()), "id"));
            Assert.Equal(0, await coffer.StopAsync());
        }

        Task<Ran> RunAsync(string[] arguments) => Ran.ProgramAsync(Needs.Program, arguments, input: typed);
    }

    [Fact]
    public async Task A_wrapper_that_alone_opens_a_back_up_is_not_removed_without_a_word_of_it()
    {
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        var key = $"file:{data.File("coffer.key")}";
        await using (var coffer = await CofferProcess.ServeAsync(data, "--backup-directory", folder.File("backups")))
        {
            var cli = new AdminCli(coffer);
            await Until.SoAsync("a back-up is made", () => Directory.Exists(folder.File("backups"))
                && Directory.GetFiles(folder.File("backups"), "*.backup").Length == 1);
            Assert.Empty((await cli.RunAsync("root-keys", "status")).EndedWith(0).Stderr);
            var asked = await cli.RunAsync("root-keys", "remove", key);
            Assert.Matches(@"Nothing that remains opens the back-up coffer-[0-9TZ]+\.backup of [-0-9:TZ ]+\.\n"
                + "coffer: error: this cannot be undone", asked.EndedWith(64).Stderr);
            Assert.Equal(0, await coffer.StopAsync());
        }
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;
}
