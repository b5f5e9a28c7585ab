using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Shared;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using static Coffer.Tests.Support.Operator;
using Gate = Coffer.Access.Gate;

namespace Coffer.Tests.Api;

/// <summary>What happened is kept for apps that asked for it, and shown to them alone (docs/events.md).</summary>
[Trait("Events", "outbox")]
public sealed class EventsTests : ServerTests
{
    private const string Path = "/v1/events", Managed = "/admin/v1/events", Installs = "/v1/apps/installs";

    private TestServer.Caller Client => Server.Client();

    private TestServer.Caller Live => Server.Client(Server.Keys.LiveSecretKey);

    [Fact]
    public async Task Nothing_is_kept_for_an_app_that_did_not_switch_events_on()
    {
        (await Client.Set("k")).IsOk();
        (await Client.Delete("k")).IsOk();
        (await Server.NewKeyAsync("secret", await Server.AppIdAsync())).Id();
        var install = (await Server.Client(account: "acct_1")
            .Post(Installs, [("app", await Server.AppIdAsync())])).IsOk();
        (await Client.Post($"{Installs}/{install.Id}/uninstall", [])).IsOk();
        Assert.Empty((await Client.Get(Path)).Ids());
        Assert.Equal("", await Server.OnTheSideAsync("SELECT id FROM events WHERE app IS NOT NULL"));
        Assert.False((bool)(await SwitchAsync("false")).Json["events"]!);
    }

    [Fact]
    public async Task What_happens_to_secrets_is_told_by_ids_and_with_names_to_who_asks()
    {
        await SwitchAsync();
        var account = Server.Client(account: "acct_1");
        var set = (await account.Set("naïve name", user: "usr_1", more: ("expires_at", $"{Server.Time.Seconds + 60}")))
            .IsOk();
        (await account.Set("naïve name", user: "usr_1")).IsOk();
        (await account.Delete("naïve name", "usr_1")).IsOk();
        (await account.Delete("naïve name", "usr_1")).IsError(404, "resource_missing", "name");

        var list = (await Client.Get(Path)).IsOk();
        Assert.Equal(["secret.deleted", "secret.set", "secret.set"], Types(list));
        Assert.DoesNotContain("naïve", list.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("usr_1", list.Text, StringComparison.Ordinal);
        var first = list.Json["data"]![2]!;
        Assert.Equal("id object account api_version app created data livemode pending_webhooks request type",
            first.Fields());
        Assert.Equal(("event", "acct_1", false, set.Header("Request-Id")), ((string)first["object"]!,
            (string)first["account"]!, (bool)first["livemode"]!, (string)first["request"]!["id"]!));
        var about = first["data"]!["object"]!;
        Assert.Equal("id object created expires_at livemode scope version", about.Fields());
        Assert.Equal((set.Id, "apps.secret", 1L, "user"), ((string)about["id"]!, (string)about["object"]!,
            (long)about["version"]!, (string)about["scope"]!["type"]!));
        Assert.True((bool)list.Json["data"]![0]!["data"]!["object"]!["deleted"]!);

        var named = (await Client.Get($"{Path}/{first.Id()}", ("names", "true"))).IsOk().Json["data"]!["object"]!;
        Assert.Equal(("naïve name", "usr_1"), ((string)named["name"]!, (string)named["scope"]!["user"]!));
        Assert.Equal(first.Id(), (await Client.Get($"{Path}/{first.Id()}")).Id);

        // By the management plane without, and never in the store's files.
        var managed = (await Server.Admin.Get(Managed, ("app", await Server.AppIdAsync()))).IsOk();
        Assert.Equal(list.Ids(), managed.Ids());
        Assert.DoesNotContain("naïve", managed.Text, StringComparison.Ordinal);
        (await Server.Admin.Get(Managed, ("names", "true"))).IsError(400, "parameter_unknown", "names");
        Assert.False(!PostgresServer.IsChosen && Server.IsInFiles("naïve name"u8));
    }

    [Fact]
    public async Task A_key_sees_the_events_of_its_app_and_mode_and_of_the_account_that_it_names()
    {
        await SwitchAsync();
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        (await Server.Client(account: "acct_2").Set("k")).IsOk();
        (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Set("k")).IsOk();
        (await Server.Admin.Post($"{Apps}/{Server.OtherApp}", [("events", "true")])).IsOk();
        (await Server.Client(Server.OtherAppKey, "acct_1").Set("k")).IsOk();

        Assert.Equal(["acct_2", "acct_1"], Accounts(await Client.Get(Path)));
        Assert.Equal(["acct_1"], Accounts(await Server.Client(account: "acct_1").Get(Path)));
        Assert.Empty(Accounts(await Server.Client(account: "acct_none").Get(Path)));
        var live = Assert.Single((await Live.Get(Path)).Ids());
        var other = Assert.Single((await Server.Client(Server.OtherAppKey).Get(Path)).Ids());
        foreach (var id in (string[])[live, other, "evt_none"])
            (await Client.Get($"{Path}/{id}")).IsError(404, "resource_missing", "id");
        var second = (await Client.Get(Path)).Ids().First();
        (await Server.Client(account: "acct_1").Get($"{Path}/{second}")).IsError(404, "resource_missing", "id");

        // The id of another's event as a cursor is a moment, and shows nothing of it.
        Assert.Equal(["acct_2", "acct_1"], Accounts(await Client.Get(Path, ("starting_after", other))));
        (await Client.Get(Path, ("starting_after", "evt_1"))).IsError(400, "resource_missing", "starting_after");
        var held = Server.Client((await Server.NewKeyAsync("admin", null,
            ("role", "viewer"), ("apps[]", Server.OtherApp))).Secret());
        Assert.Equal([other], (await held.Get(Managed)).Ids());
        (await held.Get($"{Managed}/{live}")).IsError(404, "resource_missing", "id");
        (await held.Get(Managed, ("app", await Server.AppIdAsync()))).IsError(404, "resource_missing", "id");
        // Both modes are in one order.
        await Server.NewKeyAsync("secret", Server.OtherApp, ("livemode", "true"));
        (await Server.Client(Server.OtherAppKey, "acct_1").Set("k")).IsOk();
        Assert.Equal(["secret.set", "key.created", "secret.set"], Types(await held.Get(Managed)));
        Assert.Equal(["secret.set", "key.created"], Types(await held.Get(Managed, ("ending_before", other))));
    }

    [Fact]
    public async Task Pages_are_in_the_order_of_commits_and_a_walk_survives_what_is_removed()
    {
        await SwitchAsync();
        for (var i = 0; i < 7; i++)
            (await Server.Client(account: $"acct_{i}").Set($"k{i}")).IsOk();
        var all = (await Client.Get(Path)).Ids().ToList();
        Assert.Equal(7, all.Count);
        Assert.Equal(all, await Client.WalkAsync(Path, 2));
        Assert.Equal(all, await Server.Admin.WalkAsync(Managed, 3, ("app", await Server.AppIdAsync())));
        Assert.Equal(all[..2], (await Client.Get(Path, ("ending_before", all[2]), ("limit", "5"))).Ids());
        Assert.Equal(all[1..3], (await Client.Get(Path, ("ending_before", all[3]), ("limit", "2"))).Ids());

        (await Server.ForgetAsync("acct_3")).IsOk(); // all[3], and something new happens
        Assert.Equal(all[4..], (await Client.Get(Path, ("starting_after", all[3]))).Ids());
        var newer = (await Client.Get(Path, ("ending_before", all[3]))).IsOk();
        Assert.Equal(all[..3], newer.Ids().Skip(1));
        Assert.Equal("account.forgotten", Types(newer)[0]);
    }

    [Fact]
    public async Task Keys_and_accounts_are_told_of_and_what_is_forgotten_takes_its_events_with_it()
    {
        await SwitchAsync();
        var app = await Server.AppIdAsync();
        var made = await Server.NewKeyAsync("secret", app);
        var rolled = (await Server.Admin.Post($"{KeysPath}/{made.Id()}/roll", [("grace_period", "60")])).IsOk();
        (await Server.Admin.Post($"{KeysPath}/{rolled.Id}/revoke", [])).IsOk();
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Set("k")).IsOk();
        var receipt = (string)(await Server.ForgetAsync("acct_1")).IsOk().Json["receipt_id"]!;

        var list = (await Client.Get(Path)).IsOk();
        Assert.Equal(["account.forgotten", "key.revoked", "key.rolled", "key.created"], Types(list));
        var about = list.Json["data"]![0]!["data"]!["object"]!;
        Assert.Equal(("acct_1", receipt, 1), ((string)about["id"]!, (string)about["receipt"]!, (int)about["secrets"]!));
        var replaced = list.Json["data"]![2]!["data"]!["object"]!;
        Assert.Equal((made.Id(), rolled.Id, Server.Time.Seconds + 60), ((string)replaced["id"]!,
            (string)replaced["replaced_by"]!, (long)replaced["expires_at"]!));
        Assert.Equal(["account.forgotten"], Types(await Live.Get(Path)));
        Assert.Equal("", await Server.OnTheSideAsync("SELECT id FROM events WHERE tenant IS NOT NULL"));
        Assert.DoesNotContain(made.Secret(), list.Text, StringComparison.Ordinal);

        // An admin key is the store's, which keeps its events whoever asked for those of apps.
        var admin = (await Server.NewKeyAsync("admin", null, ("role", "viewer"))).Id();
        var newest = (await Server.Admin.Get(Managed, ("limit", "1"))).IsOk().Json["data"]![0]!;
        Assert.Equal(("key.created", admin, null), ((string)newest["type"]!, (string)newest["data"]!["object"]!["id"]!,
            (string?)newest["app"]));
    }

    [Fact]
    public async Task Installs_are_told_of_and_an_uninstall_takes_all_other_events_of_the_account_with_it()
    {
        await SwitchAsync();
        var app = await Server.AppIdAsync();
        var account = Server.Client(account: "acct_1");
        var made = (await account.Post(Installs, [("app", app)])).IsOk();
        (await account.Post(Installs, [("app", app)])).IsOk(); // it is there
        (await account.Set("k")).IsOk();
        var list = (await Client.Get(Path)).IsOk();
        Assert.Equal(["secret.set", "apps.install.created"], Types(list));
        var told = list.Json["data"]![1]!;
        Assert.Equal(("acct_1", made.Header("Request-Id")),
            ((string)told["account"]!, (string)told["request"]!["id"]!));
        var about = told["data"]!["object"]!;
        Assert.Equal("id object account app channel created livemode status", about.Fields());
        Assert.Equal((made.Id, "apps.install", "acct_1", app, "public", "installed"), (about.Id(),
            (string)about["object"]!, (string)about["account"]!, (string)about["app"]!, (string)about["channel"]!,
            (string)about["status"]!));
        Assert.All(about.AsObject().Where(field => field.Key != "object"), field => Assert.Equal(
            made.Json[field.Key]!.ToJsonString(), field.Value!.ToJsonString()));

        var removed = (await account.Post($"{Installs}/{made.Id}/uninstall", [], "once")).IsOk();
        (await account.Post($"{Installs}/{made.Id}/uninstall", [], "once")).IsOk();
        var last = Assert.Single((await Client.Get(Path)).IsOk().Json["data"]!.AsArray())!;
        Assert.Equal(("apps.install.deleted", removed.Header("Request-Id")),
            ((string)last["type"]!, (string)last["request"]!["id"]!));
        about = last["data"]!["object"]!;
        Assert.Equal((made.Id, "uninstalling", removed.Header("Coffer-Receipt")),
            (about.Id(), (string)about["status"]!, (string)about["receipt_id"]!));
        Assert.Equal("1", await Server.OnTheSideAsync("SELECT count(*) FROM events WHERE account = 'acct_1'"));

        // The same by an operator, and what was told of the install goes when the account is forgotten.
        (await Server.Admin.Post($"{Apps}/{app}/installs", [("account", "acct_2")])).IsOk();
        Assert.Equal(["apps.install.created", "apps.install.deleted"], Types(await Client.Get(Path)));
        (await Server.ForgetAsync("acct_2")).IsOk();
        Assert.Equal(["account.forgotten", "apps.install.deleted"], Types(await Client.Get(Path)));
    }

    [Fact]
    public async Task An_expired_secret_is_told_of_once_whether_it_is_removed_or_set_again()
    {
        await SwitchAsync();
        var account = Server.Client(account: "acct_1");
        foreach (var name in (string[])["removed", "again"])
            (await account.Set(name, more: ("expires_at", $"{Server.Time.Seconds + 60}"))).IsOk();
        (await Server.Client(Server.OtherAppKey).Set("silent", more: ("expires_at", $"{Server.Time.Seconds + 60}")))
            .IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(61));
        (await account.Set("again")).IsOk();
        Assert.Equal(["secret.set", "secret.expired", "secret.set", "secret.set"], Types(await Client.Get(Path)));
        await SweepAsync();
        await SweepAsync();
        var list = (await Client.Get(Path, ("names", "true"))).IsOk();
        Assert.Equal(["secret.expired", "secret.set", "secret.expired", "secret.set", "secret.set"], Types(list));
        Assert.Equal("removed", (string)list.Json["data"]![0]!["data"]!["object"]!["name"]!);
        Assert.Equal("1", await Server.OnTheSideAsync("SELECT count(*) FROM secrets"));
    }

    [Fact]
    public async Task A_secret_is_told_of_a_week_before_it_expires_once_for_each_time_that_it_was_set_so()
    {
        await SwitchAsync();
        var account = Server.Client(account: "acct_1");
        var later = Server.Time.Seconds + 8 * 86_400;
        (await account.Set("long", more: ("expires_at", $"{later}"))).IsOk();
        (await account.Set("never")).IsOk();
        await SweepAsync();
        Assert.DoesNotContain("secret.expiring", Types(await Client.Get(Path)));
        Server.Time.Move(TimeSpan.FromDays(1) + TimeSpan.FromSeconds(1));
        for (var i = 0; i < 3; i++)
            await SweepAsync(); // each as another process
        var list = (await Client.Get(Path, ("names", "true"))).IsOk();
        Assert.Equal(["secret.expiring", "secret.set", "secret.set"], Types(list));
        var about = list.Json["data"]![0]!["data"]!["object"]!;
        Assert.Equal(("long", later), ((string)about["name"]!, (long)about["expires_at"]!));

        (await account.Set("long", more: ("expires_at", $"{later + 1_000}"))).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(1_000));
        await SweepAsync();
        Assert.Equal(2, Types(await Client.Get(Path)).Count(type => type == "secret.expiring"));
    }

    [Fact]
    public async Task Events_are_kept_for_30_days_and_what_an_endpoint_did_not_accept_as_long()
    {
        await SwitchAsync();
        (await Client.Set("old")).IsOk();
        var old = long.Parse(await Server.OnTheSideAsync("SELECT max(seq) FROM events"));
        Server.Time.Move(TimeSpan.FromDays(30) - TimeSpan.FromSeconds(1));
        (await Client.Set("new")).IsOk();
        await SweepAsync(new RowWrite.PutDelivery(new DeliveryRow("we_1", old, "", 1, 1, 1, 500) { Failed = 1 }));
        Assert.Equal(2, (await Client.Get(Path)).Ids().Count());
        Assert.Equal("1", await Server.OnTheSideAsync("SELECT count(*) FROM deliveries"));
        Server.Time.Move(TimeSpan.FromSeconds(1));
        await SweepAsync();
        Assert.Equal("0", await Server.OnTheSideAsync("SELECT count(*) FROM deliveries"));
        var left = Assert.Single((await Client.Get(Path)).Ids());
        Assert.Equal(left, await Server.OnTheSideAsync("SELECT id FROM events"));
    }

    [Fact]
    public async Task A_repetition_by_an_idempotency_key_happens_once()
    {
        await SwitchAsync();
        for (var i = 0; i < 2; i++)
        {
            (await Client.Post("/v1/apps/secrets",
                [("name", "k"), ("payload", "p"), ("scope[type]", "account")], "once")).IsOk();
        }

        Assert.Single((await Client.Get(Path)).Ids());
    }

    [Theory]
    [Trait("Engine", "SQLite")] // it edits the store's file
    [InlineData("kind = 'secret.deleted'")]
    [InlineData("account = 'acct_2'")]
    [InlineData("created = created - 1")]
    [InlineData("livemode = 1")]
    [InlineData("tenant = NULL")]
    public async Task An_edited_event_is_reported_and_shown_to_nobody(string edit)
    {
        await SwitchAsync();
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        (await Server.Client(account: "acct_2").Set("k")).IsOk();
        var whole = (await Client.Get(Path)).Ids().First();
        Assert.Equal(1, Server.Execute($"UPDATE events SET {edit} WHERE account = 'acct_1'"));
        Assert.Equal([whole], (await Client.Get(Path)).Ids());
        var app = await Server.AppIdAsync();
        Assert.Equal([whole], (await Server.Admin.Get(Managed, ("app", app), ("limit", "1"))).Ids());
        var reported = (await Server.Admin.Get("/admin/v1/audit", ("verb", "check_row"))).IsOk();
        Assert.Contains("events", reported.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_rotation_of_keys_seals_events_again_and_none_is_lost()
    {
        await SwitchAsync();
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        await Server.NewKeyAsync("secret", await Server.AppIdAsync());
        var before = (await Client.Get(Path, ("names", "true"))).IsOk().Text;
        (await Server.Admin.Post("/admin/v1/root_keys/rotate", [])).IsOk();
        (await Server.Admin.Post("/admin/v1/tenant_keys/rotate", [("app", await Server.AppIdAsync())])).IsOk();
        var hex = PostgresServer.IsChosen ? "encode(substr(sealed, 3, 4), 'hex')" : "hex(substr(sealed, 3, 4))";
        await Until.SoAsync("both rotations are done", async () =>
            await Server.OnTheSideAsync($"SELECT DISTINCT {hex} FROM events") == "00000002"
            && Types(await Server.Admin.Get(Managed)).Contains("root_key.rotated"));
        Assert.Equal(before, (await Client.Get(Path, ("names", "true"))).IsOk().Text);
    }

    [Fact]
    public async Task What_another_node_has_sealed_again_is_opened_and_what_it_has_forgotten_is_no_damage()
    {
        await SwitchAsync();
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        var id = new TenantId(await Server.AppIdAsync(), Livemode: false, "acct_1");
        await Server.StopAsync();
        await Server.StepsAsync(async (other, committer, engine) =>
        {
            using var refusals = new Refusals(Server.Time);
            var recorder = new Recorder(committer, static () => new AuditPolicy(Buffered: false, MetadataReads: false),
                NullLogger<Recorder>.Instance);
            var gate = new Gate(refusals, recorder, engine,
                new Damages(recorder, Server.Time, NullLogger<Damages>.Instance));
            EventList Node() => new(engine, new Tenants(engine, committer, other.Instance, Server.Time, 10), gate);
            var node = Node();
            var before = await RowAsync();
            Assert.NotNull(await node.OpenAsync(before, default)); // whose keys it keeps
            await committer.CommitAsync(
                new TenantResealing.Beginning(other, (await other.FindAsync(id, default))!, retired: null));
            await committer.CommitAsync(
                new TenantResealing.OfEvent(other, (await other.RereadAsync(id, default))!, before));
            var after = await RowAsync();
            Assert.NotEqual(before.Sealed, after.Sealed);
            Assert.NotNull(await node.OpenOrReportAsync(after, default));
            await committer.CommitAsync(new Change.Plain(new RowWrite.ShredTenant(after.Tenant!.Value, id)));
            Assert.Null(await Node().OpenOrReportAsync(after, default));

            async Task<EventRow> RowAsync() => Assert.Single(
                await engine.ListAsync(EventRow.Newer, default, 0L, 10), static row => row.Tenant is not null);
        });
        await Server.StartAgainAsync();
        Assert.Empty((await Server.Admin.Get("/admin/v1/audit", ("verb", "check_row"))).Ids());
    }

    private async Task<Answer> SwitchAsync(string on = "true") =>
        (await Server.Admin.Post($"{Apps}/{await Server.AppIdAsync()}", [("events", on)])).IsOk();

    // What a server does every ten seconds, on the store of one that rests meanwhile.
    private async Task SweepAsync(params RowWrite[] before)
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            if (before.Length > 0)
                await committer.CommitAsync(new Change.Plain(before));
            var tenants = new Tenants(engine, committer, instance, Server.Time, 100);
            var notices = new ExpiryNotices(engine, committer, tenants);
            using var reaper = new Reaper(engine, committer, null, Server.Time, NullLogger<Reaper>.Instance)
            {
                Tenants = tenants,
                SweepsMore = ct => notices.SweepAsync(Server.Time.Seconds, ct),
            };
            await reaper.SweepAsync(default);
            return true;
        });
        await Server.StartAgainAsync();
    }

    private static string[] Types(Answer list) =>
        [.. list.IsOk().Json["data"]!.AsArray().Select(each => (string)each!["type"]!)];

    private static string?[] Accounts(Answer list) =>
        [.. list.IsOk().Json["data"]!.AsArray().Select(each => (string?)each!["account"])];
}
