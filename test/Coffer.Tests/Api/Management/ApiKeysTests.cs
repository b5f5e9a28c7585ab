using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api.Management;

/// <summary>API keys: created, listed, rolled, revoked (docs/management.md, "API keys").</summary>
public sealed class ApiKeysTests : ServerTests
{
    private string app = null!;

    private TestServer.Caller Admin => Server.Admin;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    [Fact]
    public async Task A_new_key_is_shown_with_its_secret_once()
    {
        var own = (await Server.KeyAsync("admin", null)).Id();
        var made = (await Admin.Post(KeysPath,
        [
            ("type", "restricted"), ("app", app), ("livemode", "true"), ("permissions[]", "secret_write"),
                ("permissions[]", "secret_read"), ("account", "acct_1"),
            ("addresses[]", "127.0.0.0/8"), ("addresses[]", "2001:db8::1"),
                ("expires_at", $"{Server.Time.Seconds + 10}"),
        ])).IsOk();
        Assert.Matches("^rk_live_cfr[0-9A-Za-z]{39}$", made.Json.Secret());
        Assert.Equal($$"""
            {
              "id": "{{made.Id}}",
              "object": "api_key",
              "account": "acct_1",
              "addresses": [
                "127.0.0.0/8",
                "2001:db8::1/128"
              ],
              "app": "{{app}}",
              "apps": [],
              "created": {{Server.Time.Seconds}},
              "created_by": "{{own}}",
              "expires_at": {{Server.Time.Seconds + 10}},
              "last_used": null,
              "livemode": true,
              "permissions": [
                "secret_read",
                "secret_write"
              ],
              "role": null,
              "type": "restricted",
              "secret": "{{made.Json.Secret()}}"
            }

            """, made.Text);
        Assert.Matches("^key_[0-9A-Za-z]{27}$", made.Id);

        var shown = made.Json.AsObject();
        shown.Remove("secret");
        Assert.True(JsonNode.DeepEquals(shown, (await Admin.Get($"{KeysPath}/{made.Id}")).IsOk().Json));
        Assert.Contains((await Admin.Get(KeysPath, ("app", app))).IsOk().Json["data"]!.AsArray(),
            key => JsonNode.DeepEquals(shown, key));
    }

    [Fact]
    public async Task Each_type_has_its_prefix_and_its_nulls()
    {
        var secret = await Server.NewKeyAsync("secret", app);
        Assert.Matches("^sk_test_cfr", secret.Secret());
        Assert.Equal("null null null False", string.Join(' ', Word(secret["permissions"]), Word(secret["expires_at"]),
            Word(secret["account"]), (bool)secret["livemode"]!));
        Assert.Empty(secret["addresses"]!.AsArray());
        Assert.Matches("^sk_live_cfr", (await Server.NewKeyAsync("secret", app, ("livemode", "true"))).Secret());
        Assert.Matches("^rk_test_cfr",
            (await Server.NewKeyAsync("restricted", app, ("permissions", "secret_read"))).Secret());
        var admin = await Server.NewKeyAsync("admin", null);
        Assert.Matches("^ak_cfr", admin.Secret());
        Assert.Equal("null null null", $"{Word(admin["app"])} {Word(admin["livemode"])} {Word(admin["permissions"])}");
        (await Server.Client(admin.Secret()).Get(KeysPath)).IsOk();
        Assert.Equal(secret.Fields(), admin.Fields());

        static string Word(JsonNode? node) => node?.ToJsonString() ?? "null";
    }

    [Theory]
    [InlineData("", "parameter_missing", "type")]
    [InlineData("type=ephemeral", null, "type")]
    [InlineData("type=secret", "parameter_missing", "app")]
    [InlineData("type=secret&app=", "parameter_invalid_empty", "app")]
    [InlineData("type=secret&app=app_none", null, "app")]
    [InlineData("type=secret&app=APP&kind=x", "parameter_unknown", "kind")]
    [InlineData("type=secret&app=APP&livemode=1", null, "livemode")]
    [InlineData("type=secret&app=APP&permissions[]=secret_read", null, "permissions")]
    [InlineData("type=secret&app=APP&account=acct_1", null, "account")]
    [InlineData("type=restricted&app=APP", "parameter_missing", "permissions")]
    [InlineData("type=restricted&app=APP&permissions=", null, "permissions")]
    [InlineData("type=restricted&app=APP&permissions[]=secret_read&permissions[]=admin", null, "permissions")]
    [InlineData("type=restricted&app=APP&permissions[x]=secret_read", null, "permissions")]
    [InlineData("type=restricted&app=APP&permissions=secret_read&account=acct%201", null, "account")]
    [InlineData("type=restricted&app=APP&permissions=secret_read&account=", "parameter_invalid_empty", "account")]
    [InlineData("type=admin&app=APP", null, "app")]
    [InlineData("type=admin&livemode=true", null, "livemode")]
    [InlineData("type=admin&permissions=secret_read", null, "permissions")]
    [InlineData("type=admin&account=acct_1", null, "account")]
    [InlineData("type=admin&addresses[]=nowhere", null, "addresses")]
    [InlineData("type=admin&addresses[]=10.0.0.0/33", null, "addresses")]
    [InlineData("type=admin&addresses[]=10.0.0.0/", null, "addresses")]
    [InlineData("type=admin&addresses[]=10.0.0.0/8,10.1.0.0/16", null, "addresses")]
    [InlineData("type=admin&addresses[]=1", null, "addresses")]
    [InlineData("type=admin&addresses[]=010.0.0.1", null, "addresses")]
    [InlineData("type=admin&addresses[]=0x7f.0.0.1/8", null, "addresses")]
    [InlineData("type=admin&addresses[]=[::1]:80", null, "addresses")]
    [InlineData("type=admin&addresses[]=fe80::1%25eth0", null, "addresses")]
    [InlineData("type=admin&expires_at=x", "parameter_invalid_integer", "expires_at")]
    [InlineData("type=admin&expires_at=0", null, "expires_at")]
    [InlineData("type=admin&expires_at=NOW", null, "expires_at")]
    public async Task Bad_input_names_the_parameter_and_makes_no_key(string form, string? code, string param)
    {
        var before = (await Admin.Get(KeysPath, ("limit", "100"))).Ids().Count();
        form = form.Replace("APP", app, StringComparison.Ordinal).Replace("NOW", $"{Server.Time.Seconds}",
            StringComparison.Ordinal);
        (await Admin.Raw(HttpMethod.Post, KeysPath, form)).IsError(400, code, param);
        Assert.Equal(before, (await Admin.Get(KeysPath, ("limit", "100"))).Ids().Count());
    }

    [Fact]
    public async Task There_are_at_most_20_addresses()
    {
        (string, string)[] twenty = [.. Enumerable.Range(0, 20).Select(i => ("addresses[]", $"10.0.{i}.0/24"))];
        // the same one again
        Assert.Equal(
            20,
            (await Server.NewKeyAsync("admin", null,
                [.. twenty, ("addresses[]", "10.0.0.0/24")]))["addresses"]!.AsArray().Count);
        (await Admin.Post(KeysPath,
            [("type", "admin"), .. twenty, ("addresses[]", "10.1.0.0/16")])).IsError(400, null, "addresses");
    }

    [Theory]
    [InlineData("127.0.0.1", true)]
    [InlineData("127.0.0.0/8", true)]
    [InlineData("0.0.0.0/0", true)]
    [InlineData("::ffff:127.0.0.1", true)]
    [InlineData("::ffff:127.0.0.0/104", true)]
    [InlineData("127.0.0.2", false)]
    [InlineData("10.0.0.0/8", false)]
    [InlineData("::1", false)]
    public async Task A_key_is_taken_from_its_networks_only(string network, bool isTaken)
    {
        var key = (await Server.NewKeyAsync("secret", app, ("addresses[]", network))).Secret();
        var answer = await Server.Client(key).List();
        if (isTaken)
            answer.IsOk();
        else
            answer.IsError(
                403, null, null,
                "The provided key is not accepted from this address. Use it from one of its networks, or ask the "
                    + "operator to add this address.");
        (await Server.Client(
            (await Server.NewKeyAsync("secret", app, ("addresses[]", network),
                ("addresses[]", "127.0.0.0/30"))).Secret()).List()).IsOk();
        Assert.Equal(
            isTaken ? 200 : 403,
            (await Server.Client(
                (await Server.NewKeyAsync("admin", null, ("addresses[]", network))).Secret()).Get(Apps)).Status);
    }

    [Theory]
    [InlineData("secret_read", 200, 403, 403)]
    [InlineData("secret_write", 403, 200, 403)]
    [InlineData("secret_read,secret_write", 200, 200, 200)]
    public async Task A_restricted_key_may_do_what_its_permissions_say(string permissions, int reads, int writes,
        int both)
    {
        await Server.Client().Set("k", "p");
        await Server.Client().Set("l", "p");
        var caller = Server.Client(
            (await Server.NewKeyAsync("restricted", app,
                [.. permissions.Split(',').Select(word => ("permissions[]", word))])).Secret());
        Assert.Equal(reads, (await caller.Find("k")).Status);
        Assert.Equal(reads, (await caller.Find("k", null, ("expand[]", "payload"))).Status);
        Assert.Equal(reads, (await caller.List()).Status);
        Assert.Equal(writes, (await caller.Set("k", "q", null, ("expand[]", "payload"))).Status);
        Assert.Equal(both, (await caller.Delete("l", null, ("expand[]", "payload"))).Status);
        Assert.Equal(writes, (await caller.Delete("k")).Status);
        if (reads == 403)
            (await caller.Find("not there")).IsError(
                403, "more_permissions_required", null,
                "The provided key does not have the permission 'secret_read', which this request needs. Use a key "
                    + "that has it.");
    }

    [Fact]
    public async Task A_pinned_key_acts_in_its_account_and_in_no_other()
    {
        await Server.Client(account: "acct_1").Set("k", "one");
        await Server.Client().Set("k", "the app's own");
        var key = (await Server.NewKeyAsync("restricted", app, ("permissions", "secret_read"),
            ("account", "acct_1"))).Secret();
        Assert.Equal("one", (await Server.Client(key).Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        Assert.Equal("one",
            (await Server.Client(key, "acct_1").Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        var own = (string)(await Admin.Get($"{Apps}/{app}")).Json["account"]!;
        foreach (var other in (string[])["acct_2", own, "ACCT_1"])
            (await Server.Client(key, other).Find("k")).IsError(403, "account_invalid", null);
    }

    [Fact]
    public async Task A_key_with_an_expiry_is_refused_from_that_second_on_and_stays_in_the_list()
    {
        var key = await Server.NewKeyAsync("admin", null, ("expires_at", $"{Server.Time.Seconds + 10}"));
        Server.Time.Move(TimeSpan.FromSeconds(9.999));
        (await Server.Client(key.Secret()).Get(Apps)).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(0.001));
        (await Server.Client(key.Secret()).Get(Apps)).IsError(401, "api_key_expired", null);
        Assert.Contains(key.Id(), (await Admin.Get(KeysPath, ("limit", "100"))).Ids());
        (await Admin.Post($"{KeysPath}/{key.Id()}/roll", [("grace_period", "0")])).IsError(400, null, "id");
        (await Admin.Post($"{KeysPath}/{key.Id()}/revoke", [])).IsOk();
        Assert.DoesNotContain(key.Id(), (await Admin.Get(KeysPath, ("limit", "100"))).Ids());
        (await Server.Client(key.Secret()).Get(Apps)).IsError(401, null, null);
    }

    [Fact]
    public async Task The_list_is_newest_first_of_all_keys_or_of_an_app()
    {
        var made = new List<string>();
        for (var i = 0; i < 5; i++)
        {
            Server.Time.Move(TimeSpan.FromSeconds(1));
            made.Insert(0, (await Server.NewKeyAsync("secret", Server.OtherApp)).Id());
        }

        var walked = await Admin.WalkAsync(KeysPath, 2);
        Assert.Equal(made, walked.Take(5));
        Assert.Equal(3 + 1 + 5, walked.Distinct().Count());
        Assert.Equal(made, (await Admin.WalkAsync(KeysPath, 2, ("app", Server.OtherApp))).Take(5));
        Assert.Equal(6, (await Admin.Get(KeysPath, ("app", Server.OtherApp))).Ids().Count());
        Assert.Equal(2, (await Admin.Get(KeysPath, ("app", app))).Ids().Count());
        Assert.Empty((await Admin.Get(KeysPath, ("app", "app_none"))).Ids());
        var page = (await Admin.Get(KeysPath, ("limit", "2"))).IsOk().Json;
        Assert.Equal(("list", true, KeysPath),
            ((string?)page["object"], (bool)page["has_more"]!, (string?)page["url"]));
        Assert.DoesNotContain("\"secret\":", (await Admin.Get(KeysPath)).Text, StringComparison.Ordinal);
        (await Admin.Get(KeysPath, ("starting_after", "key_none"))).IsError(400, "resource_missing", "starting_after",
            "No such API key: 'key_none'");
        Assert.Single((await Admin.Get(KeysPath, ("limit", "0"))).Ids());
        Assert.Equal(9, (await Admin.Get(KeysPath, ("limit", "101"))).Ids().Count());
    }

    [Fact]
    public async Task What_is_not_there_is_404()
    {
        foreach (var answer in (Answer[])[
            await Admin.Get($"{KeysPath}/key_none"), await Admin.Post($"{KeysPath}/key_none/roll",
                [("grace_period", "0")]), await Admin.Post($"{KeysPath}/key_none/revoke", [])])
            answer.IsError(404, "resource_missing", "id", "No such API key: 'key_none'");
        (await Admin.Raw(HttpMethod.Delete, $"{KeysPath}/key_none", null)).IsError(404, null, null);
    }

    [Fact]
    public async Task A_rolled_key_may_do_the_same_and_the_old_one_ends_with_its_grace()
    {
        var old = await Server.NewKeyAsync("restricted", app, ("permissions", "secret_read"), ("account", "acct_1"),
            ("addresses[]", "127.0.0.1"));
        Server.Time.Move(TimeSpan.FromSeconds(5));
        var rolled = (await Admin.Post($"{KeysPath}/{old.Id()}/roll", [("grace_period", "60")])).IsOk().Json;
        Assert.Equal(old.Fields(), rolled.Fields());
        Assert.NotEqual(old.Id(), rolled.Id());
        Assert.NotEqual(old.Secret(), rolled.Secret());
        foreach (var same in (string[])["account", "addresses", "app", "livemode", "permissions", "type", "expires_at"])
            Assert.True(JsonNode.DeepEquals(old[same], rolled[same]), same);
        Assert.Equal(Server.Time.Seconds, (long)rolled["created"]!);
        Assert.Equal(Server.Time.Seconds + 60,
            (long)(await Admin.Get($"{KeysPath}/{old.Id()}")).IsOk().Json["expires_at"]!);

        (await Server.Client(old.Secret()).List()).IsOk();
        (await Server.Client(rolled.Secret()).List()).IsOk();
        (await Server.Client(rolled.Secret(), "acct_2").List()).IsError(403, "account_invalid", null);
        (await Server.Client(rolled.Secret()).Set("k")).IsError(403, "more_permissions_required", null);
        Server.Time.Move(TimeSpan.FromSeconds(59));
        (await Server.Client(old.Secret()).List()).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(1));
        (await Server.Client(old.Secret()).List()).IsError(401, "api_key_expired", null);
        (await Server.Client(rolled.Secret()).List()).IsOk();
    }

    [Fact]
    public async Task Without_grace_the_old_key_ends_at_once_and_its_own_expiry_comes_first()
    {
        var old = await Server.NewKeyAsync("secret", app);
        (await Server.Client(old.Secret()).List()).IsOk(); // it is cached now
        var next = (await Admin.Post($"{KeysPath}/{old.Id()}/roll", [("grace_period", "0")])).IsOk().Json;
        (await Server.Client(old.Secret()).List()).IsError(401, "api_key_expired", null);
        (await Server.Client(next.Secret()).List()).IsOk();

        var brief = await Server.NewKeyAsync("secret", app, ("expires_at", $"{Server.Time.Seconds + 10}"));
        (await Admin.Post($"{KeysPath}/{brief.Id()}/roll", [("grace_period", "604800")])).IsOk();
        Assert.Equal(Server.Time.Seconds + 10, (long)(await Admin.Get($"{KeysPath}/{brief.Id()}")).Json["expires_at"]!);
    }

    [Fact]
    public async Task A_revoked_key_is_gone_at_once()
    {
        var key = await Server.NewKeyAsync("secret", app);
        (await Server.Client(key.Secret()).List()).IsOk();
        var revoked = (await Admin.Post($"{KeysPath}/{key.Id()}/revoke", [])).IsOk().Json;
        Assert.Equal("id object account addresses app apps created created_by expires_at last_used livemode "
            + "permissions revoked role type",
            revoked.Fields());
        Assert.True((bool)revoked["revoked"]!);
        (await Server.Client(key.Secret()).List()).IsError(401, null, null);
        (await Admin.Get($"{KeysPath}/{key.Id()}")).IsError(404, "resource_missing", "id");
        (await Admin.Post($"{KeysPath}/{key.Id()}/revoke", [])).IsError(404, "resource_missing", "id");
        (await Server.Client().List()).IsOk();
    }

    [Fact]
    public async Task The_last_admin_key_that_does_not_expire_stays()
    {
        var first = (await Server.KeyAsync("admin", null)).Id();
        (await Admin.Post($"{KeysPath}/{first}/revoke", [])).IsError(400, null, null);
        var expiring = await Server.NewKeyAsync("admin", null, ("expires_at", $"{Server.Time.Seconds + 1_000}"));
        (await Admin.Post($"{KeysPath}/{first}/revoke", [])).IsError(400, null, null);
        (await Admin.Post($"{KeysPath}/{expiring.Id()}/revoke", [])).IsOk();

        var second = Server.Client((await Server.NewKeyAsync("admin", null)).Secret());
        (await second.Post($"{KeysPath}/{first}/revoke", [])).IsOk();
        (await Admin.Get(KeysPath)).IsError(401, null, null);
        var last = (string)(await second.Get(KeysPath)).Json["data"]!.AsArray().Single(
            key => (string?)key!["type"] == "admin")!["id"]!;
        (await second.Post($"{KeysPath}/{last}/revoke", [])).IsError(400, null, null);
        // Rolled, it makes room for the one that follows it.
        var third = Server.Client(
            (await second.Post($"{KeysPath}/{last}/roll", [("grace_period", "60")])).IsOk().Json.Secret());
        (await third.Post($"{KeysPath}/{last}/revoke", [])).IsOk();
        (await third.Get(KeysPath)).IsOk();
    }

    [Theory]
    [Trait("Firm edges", "24")]
    [InlineData("addresses[]", "127.0.0.1/32")]
    [InlineData("role", "operator")]
    [InlineData("expires_at", "4102444800")]
    [InlineData(null, null)] // it was rolled, and is in its grace
    public async Task A_key_that_works_only_from_somewhere_for_a_while_or_for_less_is_no_way_in(
        string? param, string? value)
    {
        var first = (await Server.KeyAsync("admin", null)).Id();
        var key = await Server.NewKeyAsync("admin", null, param is null ? [] : [(param, value!)]);
        if (param is null)
        {
            var next = (await Admin.Post($"{KeysPath}/{key.Id()}/roll", [("grace_period", "604800")])).IsOk().Json;
            (await Admin.Post($"{KeysPath}/{next.Id()}/revoke", [])).IsOk();
        }

        (await Admin.Post($"{KeysPath}/{first}/revoke", [])).IsError(400, null, null);
        (await Admin.Post($"{KeysPath}/{key.Id()}/revoke", [])).IsOk();
    }

    [Fact]
    [Trait("Firm edges", "25")]
    public async Task What_a_key_minted_ends_with_it_at_once_or_at_the_end_of_its_grace()
    {
        foreach (var grace in (int[])[0, 60])
        {
            var key = await Server.NewKeyAsync("secret", app);
            var minted = (string)(await Server.Client(key.Secret()).Post(Ephemeral, [("user", "usr_1")])).IsOk()
                .Json["secret"]!;
            (await Server.Client(minted).List("usr_1")).IsOk();
            (await Admin.Post($"{KeysPath}/{key.Id()}/roll", [("grace_period", $"{grace}")])).IsOk();
            if (grace > 0)
            {
                (await Server.Client(minted).List("usr_1")).IsOk();
                Server.Time.Move(TimeSpan.FromSeconds(grace));
            }

            Assert.Equal(401, (await Server.Client(minted).List("usr_1")).Status);
        }
    }

    [Theory]
    [Trait("Firm edges", "25")]
    [InlineData("secret", "60")]
    [InlineData("secret", "0")]
    [InlineData("admin", "604800")]
    public async Task A_key_in_its_grace_is_not_rolled_again_and_the_one_that_replaced_it_is(string type, string grace)
    {
        var old = await Server.NewKeyAsync(type, type == "admin" ? null : app);
        var end = UnixTime.Shown(Server.Time.Seconds + 100);
        var next = (await Admin.Post($"{KeysPath}/{old.Id()}/roll", [("grace_period", "100")])).IsOk().Json;
        var refused = (await Admin.Post($"{KeysPath}/{old.Id()}/roll", [("grace_period", grace)]))
            .IsError(400, null, "id");
        Assert.Contains($"ends at {end}", refused.Text, StringComparison.Ordinal);
        var last = (await Admin.Post($"{KeysPath}/{next.Id()}/roll", [("grace_period", grace)])).IsOk().Json;
        Assert.Null((string?)last["expires_at"]);
        (await Admin.Post($"{KeysPath}/{old.Id()}/revoke", [])).IsOk();
    }

    [Fact]
    public async Task Two_admin_keys_that_revoke_themselves_at_once_leave_one()
    {
        var (id, token) = ((await Server.KeyAsync("admin", null)).Id(), Server.Keys.AdminKey!);
        for (var round = 0; round < 10; round++)
        {
            var second = (await Server.Client(token).Post(KeysPath, [("type", "admin")])).IsOk().Json;
            (string Id, string Token)[] admins = [(id, token), (second.Id(), second.Secret())];
            var answers = await Task.WhenAll(
                admins.Select(admin => Server.Client(admin.Token).Post($"{KeysPath}/{admin.Id}/revoke", [])));
            Assert.Equal([200, 400], answers.Select(answer => answer.Status).Order());
            (id, token) = admins[Array.FindIndex(answers, answer => answer.Status == 400)];
        }
    }

    [Fact]
    public async Task The_last_use_is_told_to_the_hour()
    {
        var key = await Server.NewKeyAsync("secret", app);
        Server.Time.Move(TimeSpan.FromMinutes(17));
        var hour = Server.Time.Seconds - Server.Time.Seconds % 3_600;
        (await Server.Client(key.Secret()).List()).IsOk();
        Assert.Equal(hour, await LastUsedAsync(hour));

        Server.Time.Move(TimeSpan.FromMinutes(30));
        await Server.Admin.Post($"{Apps}/{app}", [("name", "a")]); // what is cached of its keys is read again
        (await Server.Client(key.Secret()).List()).IsOk();
        Server.Time.Move(TimeSpan.FromMinutes(13));
        await Server.Admin.Post($"{Apps}/{app}", [("name", "b")]);
        (await Server.Client(key.Secret()).List()).IsOk();
        Assert.Equal(hour + 3_600, await LastUsedAsync(hour + 3_600));
        Assert.Null((string?)(await Server.NewKeyAsync("secret", app))["last_used"]);

        // No request waits for it to be noted.
        async Task<long?> LastUsedAsync(long expected)
        {
            for (var i = 0; ; i++)
            {
                if ((long?)(await Admin.Get($"{KeysPath}/{key.Id()}")).IsOk().Json["last_used"] is { } last
                    && (last == expected || i > 100))
                    return last;
                await Task.Delay(10);
                Assert.InRange(i, 0, 200);
            }
        }
    }

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    public async Task No_token_is_in_the_files_in_clear()
    {
        var made = (await Admin.Post(KeysPath, [("type", "secret"), ("app", app)], "k")).IsOk().Json;
        (await Server.Client(made.Secret()).List()).IsOk();
        await Server.StopAsync();
        Assert.False(Server.IsInFiles(Encoding.ASCII.GetBytes(made.Secret())));
        Assert.False(Server.IsInFiles(Encoding.ASCII.GetBytes(made.Secret()[11..])));
        Assert.True(Server.IsInFiles(Encoding.ASCII.GetBytes(made.Id())));
    }
}
