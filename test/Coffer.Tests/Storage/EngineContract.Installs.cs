using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>The part of the contract that is about installs, and about accounts that are closed.</summary>
public abstract partial class EngineContract
{
    [Fact]
    [Trait("Keys", "S27")]
    public async Task A_closed_account_is_known_to_what_asks_in_the_transaction_until_it_is_opened()
    {
        var key = new UninstallKey("app_1", Livemode: false, [7, 7]);
        var row = new UninstallRow(key, "install_1", tenant, 5, "rcpt_1");
        var asking = new Change.ManagementKey { Closed = key };
        List<Managing> changes = [new(asking), new(asking), new(asking with { App = "app_1" }), new(asking)];
        var other = new Managing(asking with { Closed = key with { Livemode = true } });
        engine.Write(
            [
                changes[0], new Change.Plain(new RowWrite.PutUninstall(row)), changes[1], changes[2], other,
                new Change.Plain(new RowWrite.DeleteUninstall(key), new RowWrite.DeleteUninstall(key)), changes[3],
            ],
            _ => null);
        Assert.Equal([null, "install_1", "install_1", null],
            changes.Select(change => change.Found!.Uninstalled?.Install));
        Assert.Null(other.Found!.Uninstalled);
        Write(new RowWrite.PutUninstall(row), new RowWrite.PutUninstall(row with { Install = "install_2" }));
        var minting = new Managing(asking with { Mint = ("key_1", Tenant) });
        engine.Write([minting], _ => null);
        Assert.Equal(("install_2", tenant, 5L, "rcpt_1"), minting.Found!.Uninstalled is { } found
            ? (found.Install, found.Number, found.Created, found.Receipt)
            : default);
        Assert.Equal([7, 7], (await engine.FindAsync(UninstallRow.Of, default, "app_1", false, (byte[])[7, 7]))!
            .Key.Account);
        // It goes with its app.
        Write(new RowWrite.ShredTenant(tenant, Tenant), new RowWrite.DeleteApp("app_1"));
        Assert.Null(await engine.FindAsync(UninstallRow.Of, default, "app_1", false, (byte[])[7, 7]));
    }

    [Fact]
    [Trait("Keys", "S27")]
    public async Task Installs_are_found_by_their_ids_and_listed_by_their_numbers_and_those_that_go_by_their_receipts()
    {
        for (var i = 2; i <= 4; i++)
        {
            Write(new RowWrite.AddTenant(Tenant with { Account = $"acct_{i}" }, 10 * i, [1])
            {
                Install = $"install_{i}",
            });
        }

        Write(new RowWrite.AddTenant(Tenant with { Livemode = true }, 20, [1]),
            new RowWrite.GiveInstall(tenant, "install_1"), new RowWrite.GiveInstall(999, "install_9"));
        var first = (await engine.ListAsync(InstallRow.ById, default, "install_1")).Single();
        Assert.Equal((tenant, Tenant, 1L, true), (first.Number, first.Tenant, first.Created, first.IsSound));
        Assert.Empty(await engine.ListAsync(InstallRow.ById, default, "install_9"));
        Assert.Equal("install_3", (await engine.FindAsync(
            InstallRow.ByOwner, default, "app_1", false, "acct_3"))!.Install);
        Assert.Null((await engine.FindAsync(InstallRow.ByOwner, default, "app_1", true, "acct_1"))!.Install);
        Assert.Equal(["acct_4", "acct_3", "acct_2", "acct_1"], await ListAsync(InstallRow.Below, long.MaxValue, 9));
        Assert.Equal(["acct_4", "acct_3"], await ListAsync(InstallRow.Below, long.MaxValue, 2));
        Assert.Equal(["acct_1"], await ListAsync(InstallRow.Below, first.Number + 1, 9));
        Assert.Equal(["acct_2", "acct_3"], await ListAsync(InstallRow.Above, first.Number, 2));
        Assert.Equal(["acct_3", "acct_2"], await ListAsync(InstallRow.Below, long.MaxValue, 9, 20, 30));

        for (var i = 1; i <= 3; i++)
        {
            Write(new RowWrite.PutReceipt(new ReceiptRow($"rcpt_{i}", i, i == 2 ? 9 : null, [(byte)i])),
                new RowWrite.PutUninstall(new UninstallRow(
                    new UninstallKey("app_1", false, [(byte)i]), $"gone_{i}", 100 + i, 10 * i, $"rcpt_{i}")));
        }

        Assert.Equal(["gone_3 3", "gone_1 1"], await GoingAsync(UninstallRow.GoingBelow, 0, 99, long.MaxValue, 9));
        Assert.Equal(["gone_1 1"], await GoingAsync(UninstallRow.GoingAbove, 0, 99, 0, 1));
        Assert.Equal(["gone_1 1"], await GoingAsync(UninstallRow.GoingBelow, 0, 29, long.MaxValue, 9));
        Assert.Empty(await GoingAsync(UninstallRow.GoingAbove, 0, 99, 103, 9));
        Assert.Equal("rcpt_3", (await engine.FindAsync(
            UninstallRow.Going, default, "app_1", false, "gone_3"))!.Receipt.Id);
        Assert.Null(await engine.FindAsync(UninstallRow.Going, default, "app_1", false, "gone_2"));
        Assert.Null(await engine.FindAsync(UninstallRow.Going, default, "app_1", true, "gone_3"));
        Assert.Equal(102, (await engine.FindAsync(
            UninstallRow.ByInstall, default, "app_1", false, "gone_2"))!.Number);
        Assert.Equal("gone_1", (await engine.FindAsync(
            UninstallRow.GoingOf, default, "app_1", false, (byte[])[1]))!.Row.Install);

        async Task<IEnumerable<string>> ListAsync(
            Query<InstallRow> query, long bound, int limit, long from = 0, long until = 99) =>
            (await engine.ListAsync(query, default, "app_1", false, from, until, bound, limit))
                .Select(row => row.Tenant.Account);

        async Task<IEnumerable<string>> GoingAsync(
            Query<GoingRow> query, long from, long until, long bound, int limit) =>
            (await engine.ListAsync(query, default, "app_1", false, from, until, bound, limit))
                .Select(row => $"{row.Row.Install} {row.Receipt.Sealed[0]}");
    }
}
