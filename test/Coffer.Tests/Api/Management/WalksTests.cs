using Coffer.Storage;
using static Coffer.Tests.Support.Operator;
using ApiKey = Coffer.Access.ApiKey;

namespace Coffer.Tests.Api.Management;

/// <summary>
/// A walk through a list continues when what marked the place is gone, forwards and backwards (docs/management.md).
/// </summary>
[Trait("Reports from the field", "R2-11")]
public sealed class WalksTests : ServerTests
{
    private TestServer.Caller Admin => Server.Admin;

    [Theory]
    [InlineData("apps", true)]
    [InlineData("apps", false)]
    [InlineData("keys", true)]
    [InlineData("keys", false)]
    [InlineData("accounts", true)]
    [InlineData("accounts", false)]
    public async Task A_walk_that_deletes_what_it_lists_reaches_the_end(string what, bool forwards)
    {
        var list = await ListAsync(what);
        var made = new List<string>();
        for (var i = 0; i < 5; i++)
            made.Add(await list.Make(i));
        var all = (await Admin.Get(list.Path)).Ids().ToList();
        Assert.Empty(made.Except(all));

        var walked = new List<string>();
        for (string? last = null; ;)
        {
            if (!forwards)
                last ??= all[^1];
            var page = (await Admin.Get(list.Path, [("limit", "1"), .. last is null ? ((string, string)[])[]
                : [(forwards ? "starting_after" : "ending_before", last)]])).IsOk();
            if (page.Ids().FirstOrDefault() is not { } id)
                break;
            walked.Add(last = id);
            if (made.Contains(id))
                await list.Delete(id);
            if (!(bool)page.Json["has_more"]!)
                break;
        }

        // Backwards, from what is last of all.
        Assert.Equal(forwards ? all : all[..^1].AsEnumerable().Reverse(), walked);
        Assert.Equal(all.Except(forwards ? made : made.Except([all[^1]])), (await Admin.Get(list.Path)).Ids());
    }

    [Theory]
    [InlineData("apps")]
    [InlineData("keys")]
    [InlineData("accounts")]
    public async Task A_page_before_an_element_is_what_stands_next_to_it_in_the_lists_order(string what)
    {
        var list = await ListAsync(what);
        for (var i = 0; i < 5; i++)
            await list.Make(i);
        var all = (await Admin.Get(list.Path)).Ids().ToList();
        var page = await Admin.Get(list.Path, ("limit", "2"), ("ending_before", all[4]));
        Assert.Equal(all[2..4], page.Ids());
        Assert.True((bool)page.Json["has_more"]!);
        page = await Admin.Get(list.Path, ("limit", "2"), ("ending_before", all[2]));
        Assert.Equal(all[..2], page.Ids());
        Assert.False((bool)page.Json["has_more"]!);
        Assert.Empty((await Admin.Get(list.Path, ("ending_before", all[0]))).Ids());
        (await Admin.Get(list.Path, ("ending_before", all[0]), ("starting_after", all[2]))).IsError(400, null, null,
            "Received both starting_after and ending_before parameters. Please pass in only one.");
    }

    [Theory]
    [InlineData("apps", "app")]
    [InlineData("keys", "API key")]
    public async Task An_id_that_this_store_never_gave_marks_no_place(string what, string noun)
    {
        var list = await ListAsync(what);
        var id = await list.Make(0);
        await using var other = await TestServer.StartAsync(isOther: true);
        var theirs = what == "apps" ? other.OtherApp : (string)(await other.NewKeyAsync("admin", null))["id"]!;
        string[] never =
            [theirs, id[..^1], id + "0", id.ToUpperInvariant(), id[..^1] + (id[^1] == '0' ? '1' : '0'), "app_", "x"];
        foreach (var direction in (string[])["starting_after", "ending_before"])
        {
            foreach (var each in never)
                (await Admin.Get(list.Path, (direction, each))).IsError(400, "resource_missing", direction,
                    $"No such {noun}: '{each}'");
        }
    }

    [Fact]
    public async Task An_id_of_before_marks_its_place_as_long_as_its_key_is_there()
    {
        const string Old = "key_0123456789abcdefghijABCD";
        await Server.StopAsync();
        await Server.OnStoreAsync(async (_, committer, instance) =>
        {
            var (_, row) = ApiKey.Create(instance, null, livemode: true, Server.Time.Seconds - 10, id: Old);
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutApiKey(row)));
            return 0;
        });
        await Server.StartAgainAsync();
        var newer = (await Server.NewKeyAsync("admin", null)).Id();
        Assert.Equal(Old, (await Admin.Get(KeysPath)).Ids().Last());
        Assert.Empty((await Admin.Get(KeysPath, ("starting_after", Old))).Ids());
        Assert.Contains(newer, (await Admin.Get(KeysPath, ("ending_before", Old))).Ids());
        (await Admin.Post($"{KeysPath}/{Old}/revoke", [])).IsOk();
        (await Admin.Get(KeysPath, ("starting_after", Old))).IsError(400, "resource_missing", "starting_after",
            $"No such API key: '{Old}'");
    }

    private sealed record Listed(string Path, Func<int, Task<string>> Make, Func<string, Task> Delete);

    private async Task<Listed> ListAsync(string what)
    {
        var app = await Server.AppIdAsync();
        return what switch
        {
            "apps" => new Listed(Apps, i => Server.NewAppAsync($"app {i}"),
                async id => (await Admin.Raw(HttpMethod.Delete, $"{Apps}/{id}", null)).IsOk()),
            "keys" => new Listed(KeysPath, async _ => (await Server.NewKeyAsync("secret", app)).Id(),
                async id => (await Admin.Post($"{KeysPath}/{id}/revoke", [])).IsOk()),
            _ => new Listed($"{Apps}/{app}/accounts",
                async i =>
                {
                    (await Server.Client(account: $"acct_{i}").Set("k")).IsOk();
                    return $"acct_{i}";
                },
                async id => (await Server.ForgetAsync(id)).IsOk()),
        };
    }
}
