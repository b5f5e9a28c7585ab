using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Storage;
using static Coffer.Tests.Support.Operator;
using ApiKey = Coffer.Access.ApiKey;

namespace Coffer.Tests.Access;

/// <summary>
/// Rows of API keys: who writes the database widens none, brings none back that has ended, and reaches nothing by the
/// form of before (SECURITY.md, "What is stored").
/// </summary>
[Trait("Keys", "S8")]
public sealed class KeyRowsTests : ServerTests
{
    [Theory]
    [InlineData("revoke", null)]
    [InlineData("roll", "0")]
    [InlineData("roll", "60")]
    public async Task An_old_row_of_a_key_that_is_put_back_opens_nothing(string end, string? grace)
    {
        var key = await Server.NewKeyAsync("secret", await Server.AppIdAsync());
        var browser = (string)(await Server.Client(key.Secret()).Post(Ephemeral, [("user", "usr_1")]))
            .IsOk().Json["secret"]!;
        (await Server.Client(browser).List("usr_1")).IsOk();
        var row = await OnRowsAsync(engine => engine.FindApiKeyAsync(key.Id(), default).AsTask());
        (await Server.Admin.Post($"{KeysPath}/{key.Id()}/{end}",
            grace is null ? [] : [("grace_period", grace)])).IsOk();
        await PutAsync(row!);
        Server.Time.Move(TimeSpan.FromSeconds(60));

        (await Server.Client(key.Secret()).List()).IsError(401, grace is null ? null : "api_key_expired", null);
        (await Server.Client(key.Secret()).Post(Ephemeral, [("user", "usr_1")])).IsError(
            401, grace is null ? null : "api_key_expired", null);
        Assert.Equal(401, (await Server.Client(browser).List("usr_1")).Status);
        (await Server.Admin.Post($"{KeysPath}/{key.Id()}/roll", [("grace_period", "0")])).IsError(400, null, "id");

        // The next sweep removes it again, and says nothing: what ended it is recorded.
        await SweepAsync();
        (await Server.Admin.Get($"{KeysPath}/{key.Id()}")).IsError(404, "resource_missing", "id");
        Assert.Empty(await EntriesAsync("expire_key"));
    }

    [Fact]
    public async Task A_key_that_expired_leaves_the_list_and_is_still_told_that_it_expired()
    {
        var expiring = ("expires_at", $"{Server.Time.Seconds + 100}");
        var key = await Server.NewKeyAsync("secret", await Server.AppIdAsync(), expiring);
        Server.Time.Move(TimeSpan.FromSeconds(99));
        await SweepAsync();
        (await Server.Client(key.Secret()).List()).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(1));
        await SweepAsync();
        (await Server.Client(key.Secret()).List()).IsError(401, "api_key_expired", null);
        (await Server.Admin.Get($"{KeysPath}/{key.Id()}")).IsError(404, "resource_missing", "id");
        var entry = Assert.Single(await EntriesAsync("expire_key"))!;
        Assert.Equal((key.Id(), "expired", await Server.AppIdAsync()),
            ((string?)entry["target"], (string?)entry["outcome"], (string?)entry["app"]));

        // Long after, nobody knows it any more; one that was revoked is known for good.
        var revoked = await Server.NewKeyAsync("secret", await Server.AppIdAsync());
        (await Server.Admin.Post($"{KeysPath}/{revoked.Id()}/revoke", [])).IsOk();
        Server.Time.Move(TimeSpan.FromDays(400));
        await SweepAsync();
        (await Server.Client(key.Secret()).List()).IsError(401, null, null);
        Assert.True(await OnRowsAsync(async (engine, _, instance) =>
            await engine.FindEndedKeyAsync(ApiKey.Mac(instance, revoked.Secret()), default) is not null));
    }

    [Fact]
    public async Task What_says_that_a_key_has_ended_ends_it_even_if_it_is_not_what_Coffer_wrote()
    {
        var key = await Server.NewKeyAsync("secret", await Server.AppIdAsync());
        (await Server.Admin.Post($"{KeysPath}/{key.Id()}/revoke", [])).IsOk();
        await OnRowsAsync(async (engine, committer, instance) =>
        {
            var row = (await engine.FindEndedKeyAsync(ApiKey.Mac(instance, key.Secret()), default))!;
            row = row with { Ended = 5, How = "rolled" };
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutEndedKey(row)));
            return true;
        });
        (await Server.Client(key.Secret()).List()).IsError(401, null, null);
    }

    [Fact]
    public async Task A_store_of_before_is_read_in_the_form_of_before_and_then_never_again()
    {
        var app = await Server.AppIdAsync();
        var reader = await Server.NewKeyAsync("restricted", app, ("permissions[]", "secret_read"));
        await Server.StopAsync();
        await Server.MakeEarlierAsync(appsAreSealed: true);
        await Server.StartAgainAsync();
        (await Server.Client(reader.Secret()).List()).IsOk();
        (await Server.Client().List()).IsOk();
        var admin = (await Server.Admin.Get(KeysPath)).IsOk().Json["data"]!.AsArray().Last(
            key => (string)key!["type"]! == "admin")!;
        Assert.Null(admin["damaged"]);
        var raised = await EntriesAsync("raise_level");
        Assert.Equal(["9", "8", "7", "6", "5", "4", "3", "2"], raised.Select(entry => (string)entry!["target"]!));
        Assert.Equal(5, (long)raised[5]!["count"]!);

        var row = await OnRowsAsync(engine => engine.FindApiKeyAsync(admin.Id(), default).AsTask());
        Assert.Equal("owner", row!.Role);
        await OnRowsAsync(async (_, committer, instance) =>
        {
            row = StoreEdits.InFirstForm(instance, row);
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutApiKey(row)));
            return true;
        });
        (await Server.Admin.Get(KeysPath)).IsError(500, null, null, type: "api_error");
    }

    [Fact]
    public async Task A_row_of_before_that_does_not_prove_itself_is_not_made_an_owners()
    {
        await Server.StopAsync();
        await Server.MakeEarlierAsync(appsAreSealed: true);
        await Server.OnStoreAsync(async (engine, committer, _) =>
        {
            var row = (await engine.ListApiKeysAsync(null, null, false, 10, default)).First(key => key.Kind == "admin");
            await committer.CommitAsync(new Change.Plain(
                new RowWrite.PutApiKey(row with { Mac = [1], Id = "key_planted" })));
            return true;
        });
        await Server.StartAgainAsync();
        Assert.True((bool)(await Server.Admin.Get($"{KeysPath}/key_planted")).IsOk().Json["damaged"]!);
        Assert.Null((await OnRowsAsync(engine => engine.FindApiKeyAsync("key_planted", default).AsTask()))!.Role);
    }

    [Fact]
    public async Task While_a_node_of_before_runs_rows_are_written_in_the_form_that_it_knows()
    {
        await Server.StopAsync();
        await Server.MakeEarlierAsync(appsAreSealed: true);
        await Server.OnStoreAsync((engine, _, instance) =>
        {
            var (_, row) = ApiKey.Create(instance, null, livemode: true, 1);
            Assert.Equal((null, null), (row.Role, row.CreatedBy));
            Assert.True(ApiKey.IsInFirstForm(instance, row));
            foreach (var unknown in (ApiKeyRow[])[row with { Role = "viewer" }, row with { IsOffline = true }])
                Assert.Contains("Update all nodes first",
                    Assert.Throws<ApiError>(() => ApiKey.Prove(instance, unknown)).Message, StringComparison.Ordinal);
            return Task.FromResult(true);
        });
    }

    [Fact]
    public async Task An_ended_key_that_is_found_by_a_text_keeps_no_sweep_from_its_end()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "SQLite keeps a text where bytes belong");
        foreach (var mac in (string[])["'text'", "x'01'"])
        {
            Server.Execute($"""
                INSERT INTO ended_keys (mac, id, kind, livemode, created, ended, how, proof)
                VALUES ({mac}, 'key_planted', 'secret', 0, 0, 1, 'expired', x'00')
                """);
        }

        await SweepAsync().WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal("text", await Server.OnTheSideAsync("SELECT mac FROM ended_keys WHERE id = 'key_planted'"));
    }

    private async Task<JsonArray> EntriesAsync(string verb) =>
        (await Server.Admin.Get("/admin/v1/audit", ("verb", verb))).IsOk().Json["data"]!.AsArray();

    private Task PutAsync(ApiKeyRow row) => OnRowsAsync(async (_, committer, _) =>
    {
        await committer.CommitAsync(new Change.Plain(new RowWrite.PutApiKey(row)));
        return true;
    });

    private Task SweepAsync() => OnRowsAsync(async (engine, committer, instance) =>
    {
        await new EndedKeys(engine, committer, instance).SweepAsync(Server.Time.Seconds, default);
        return true;
    });

    private Task<T> OnRowsAsync<T>(Func<Engine, Task<T>> read) => OnRowsAsync((engine, _, _) => read(engine));

    private async Task<T> OnRowsAsync<T>(Func<Engine, Committer, Instance, Task<T>> work)
    {
        await Server.StopAsync();
        var result = await Server.OnStoreAsync(work);
        await Server.StartAgainAsync();
        return result;
    }
}
