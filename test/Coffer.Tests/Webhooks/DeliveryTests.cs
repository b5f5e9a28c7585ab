using System.Net;
using System.Text.Json.Nodes;
using Coffer.Shared;
using Coffer.Telemetry;
using Coffer.Webhooks;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Webhooks;

/// <summary>What happens is sent to endpoints, in its order, until it is accepted (docs/events.md).</summary>
[Trait("Events", "delivery")]
public sealed class DeliveryTests : WebhookTests
{
    [Fact]
    public async Task An_event_arrives_signed_for_its_endpoint_and_mode_with_ids_only()
    {
        var (endpoint, secret) = await CreateAsync();
        var (_, live) = await CreateAsync(livemode: "true");
        (await Server.Client(account: "acct_1").Set("the name", user: "usr_1")).IsOk();
        var received = Assert.Single(await Receiver.WaitAsync(1));
        Assert.Equal(("secret.set", "acct_1"), (received.Type, received.Account));
        Assert.True(received.IsSignedBy(secret, Server.Time.Seconds));
        Assert.False(received.IsSignedBy(live, Server.Time.Seconds));
        Assert.False(received.IsOutOfOrder);
        Assert.DoesNotContain("the name", received.Body, StringComparison.Ordinal);
        Assert.DoesNotContain("usr_1", received.Body, StringComparison.Ordinal);
        Assert.Equal("application/json; charset=utf-8", received.Headers["Content-Type"]);
        Assert.StartsWith("Coffer/", received.Headers["User-Agent"], StringComparison.Ordinal);
        var listed = (await Server.Client().Get("/v1/events")).IsOk().Json["data"]![0]!;
        Assert.Equal(listed.ToJsonString(), received.Json.ToJsonString());
        await ShownAsync(endpoint, shown => (long?)shown["last_delivered"] == Server.Time.Seconds);
    }

    [Fact]
    public async Task Names_go_to_the_endpoint_of_an_app_that_asked_and_kinds_as_wanted()
    {
        await CreateAsync(more: [("names", "true"), ("enabled_events[]", "secret.deleted"),
            ("api_version", "2030-01-01.next")]);
        var client = Server.Client(account: "acct_1");
        (await client.Set("the name", user: "usr_1")).IsOk();
        (await client.Delete("the name", "usr_1")).IsOk();
        var received = Assert.Single(await Receiver.WaitAsync(1));
        Assert.Equal(("secret.deleted", "the name", "usr_1", "2030-01-01.next"), (received.Type,
            (string)received.Object["name"]!, (string)received.Object["scope"]!["user"]!,
            (string)received.Json["api_version"]!));
        // Past what it does not want it goes as well, and that is stored.
        (await client.Set("unwanted")).IsOk();
        await Until.SoAsync("it has come to the last event", async () => "0" == await Server.OnTheSideAsync(
            "SELECT (SELECT max(seq) FROM events) - position FROM webhook_endpoints"));
        // Of one that is no app's never.
        (await Server.Admin.Post(Endpoints, [("livemode", "false"), ("url", $"{Receiver.Url}"), ("names", "true")]))
            .IsError(400, null, "names");
    }

    [Fact]
    public async Task The_operators_endpoint_is_sent_what_happens_in_the_store_by_ids()
    {
        var (endpoint, _) = await CreateAsync(livemode: "true", of: null);
        await EditAsync(endpoint, static endpoint => endpoint with { HasNames = true }); // which it may not have
        (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Set("the name")).IsOk();
        (await Server.Client(account: "acct_1").Set("of test mode")).IsOk();
        var admin = (await Server.NewKeyAsync("admin", null, ("role", "viewer"))).Id();
        // What is no account's keeps no order with what is.
        Receiver.Received[] all = [.. (await Receiver.WaitAsync(2)).OrderBy(each => each.Type, StringComparer.Ordinal)];
        Assert.Equal(["key.created", "secret.set"], all.Select(each => each.Type));
        Assert.Equal((OwnApp, admin), ((string)all[1].Json["app"]!, (string)all[0].Object["id"]!));
        Assert.DoesNotContain("the name", all[1].Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_not_accepted_is_tried_again_and_the_next_of_its_account_waits()
    {
        var (endpoint, secret) = await CreateAsync();
        Receiver.Answers = received => received.Account == "acct_1" ? 500 : 204;
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        await Receiver.WaitAsync(1);
        (await Server.Client(account: "acct_1").Set("b")).IsOk();
        (await Server.Client(account: "acct_2").Set("c")).IsOk();
        var two = await Receiver.WaitAsync(2);
        Assert.Equal(["acct_1", "acct_2"], two.Select(each => each.Account));
        var waiting = await DeliveriesAsync(endpoint, all => all.Count == 2);
        Assert.Equal((1, 500), ((int)waiting[0]!["attempts"]!, (int)waiting[0]!["last_status"]!));
        Assert.Equal((0, null), ((int)waiting[1]!["attempts"]!, (int?)waiting[1]!["last_status"]));

        Receiver.Answers = static _ => 200;
        Server.Time.Move(TimeSpan.FromSeconds(10));
        var all = await Receiver.WaitAsync(4);
        Assert.Equal([all[0].Id, all[1].Id, all[0].Id], all.Take(3).Select(each => each.Id));
        Assert.Equal((string)waiting[1]!["id"]!, all[3].Id);
        Assert.All(all, each => Assert.False(each.IsOutOfOrder));
        // The same event, and another time: what a receiver accepts for five minutes is new at each attempt.
        Assert.Equal(all[0].Body, all[2].Body);
        Assert.True(all[2].IsSignedBy(secret, Server.Time.Seconds));
        await DeliveriesAsync(endpoint, left => left.Count == 0);
    }

    // Other tests count in the same process: by how it grows.
    [Fact]
    public async Task What_becomes_of_attempts_is_counted()
    {
        Metrics.TurnOn();
        var before = (Accepted: Counted("accepted"), Not: Counted("not_accepted"));
        await CreateAsync();
        Receiver.Answers = static received => received.Account == "acct_1" ? 500 : 200;
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        (await Server.Client(account: "acct_2").Set("b")).IsOk();
        await Receiver.WaitAsync(2);
        await Until.SoAsync("both are counted", () => Task.FromResult(
            Counted("accepted") > before.Accepted && Counted("not_accepted") > before.Not), TimeSpan.FromSeconds(30));

        static long Counted(string outcome) => Metrics.WebhookAttempts.All
            .Where(each => each.Values[0] == outcome).Sum(each => each.Count);
    }

    [Fact]
    public async Task After_an_hour_order_gives_way_and_the_delivery_says_so()
    {
        var (endpoint, _) = await CreateAsync();
        Receiver.Answers = static _ => 500;
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        var first = (await Receiver.WaitAsync(1))[0].Id;
        await DeliveriesAsync(endpoint, all => all.Count == 1 && (int)all[0]!["attempts"]! == 1);
        Receiver.Answers = received => received.Id == first ? 500 : 200;
        var before = Receiver.All.Count;
        (await Server.Client(account: "acct_1").Set("b")).IsOk();
        await DeliveriesAsync(endpoint, all => all.Count == 2);
        Server.Time.Move(TimeSpan.FromHours(1) - TimeSpan.FromSeconds(1));
        await Receiver.WaitAsync(before + 1); // the first, again in vain
        Assert.Equal(first, Receiver.All[^1].Id);
        Server.Time.Move(TimeSpan.FromSeconds(1));
        var second = (await Receiver.WaitAsync(before + 2))[^1];
        Assert.NotEqual(first, second.Id);
        Assert.True(second.IsOutOfOrder);
        Receiver.Answers = static _ => 200;
        Server.Time.Move(TimeSpan.FromHours(12));
        var last = (await Receiver.WaitAsync(before + 3))[^1];
        Assert.Equal((first, true), (last.Id, last.IsOutOfOrder));
    }

    [Fact]
    public async Task After_three_days_an_endpoint_that_accepts_nothing_is_disabled_and_continues_when_it_is_enabled()
    {
        var (endpoint, _) = await CreateAsync();
        Receiver.Answers = static _ => 503;
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        await Receiver.WaitAsync(1);
        var attempts = 1;
        foreach (var pause in Deliveries.Pauses.Concat(Enumerable.Repeat(Deliveries.Pauses[^1], 5)))
        {
            await DeliveriesAsync(endpoint, all => all.Count > 0 && (int)all[0]!["attempts"]! == attempts);
            if ((await DeliveriesAsync(endpoint, _ => true))[0]!["failed"] is not null)
                break;
            Server.Time.Move(pause);
            await AgainAsync(); // nothing of it is in memory; and nobody waits for a rest
            await Receiver.WaitAsync(++attempts);
        }

        Assert.Equal(13, attempts);
        await ShownAsync(endpoint, shown => (string)shown["status"]! == "failed");
        var entries = (await Server.Admin.Get("/admin/v1/audit", ("verb", "disable_webhook_endpoint"))).IsOk();
        var entry = Assert.Single(entries.Json["data"]!.AsArray())!;
        Assert.Equal((endpoint, OwnApp), ((string)entry["target"]!, (string)entry["app"]!));
        (await Server.Client(account: "acct_1").Set("b")).IsOk();
        Receiver.Answers = static _ => 200;
        (await Server.Admin.Post($"{Endpoints}/{endpoint}", [("disabled", "false")])).IsOk();
        Assert.NotEqual(Receiver.All[0].Id, (await Receiver.WaitAsync(attempts + 1))[^1].Id);
        // What was given up is sent again by hand.
        (await Server.Admin.Post($"{Endpoints}/{endpoint}/retry", [("event", Receiver.All[0].Id)])).IsOk();
        Assert.Equal(Receiver.All[0].Id, (await Receiver.WaitAsync(attempts + 2))[^1].Id);
        await DeliveriesAsync(endpoint, all => all.Count == 0);
    }

    [Fact]
    public async Task What_is_forgotten_is_not_sent_though_it_waits()
    {
        var (endpoint, _) = await CreateAsync();
        Receiver.Answers = static _ => 500;
        var account = Server.Client(account: "acct_1");
        // One that is not under the account's keys, and one that is.
        (await account.Post("/v1/apps/installs", [("app", OwnApp)])).IsOk();
        await Receiver.WaitAsync(1);
        (await account.Set("a")).IsOk();
        await DeliveriesAsync(endpoint, all => all.Count == 2);
        Receiver.Answers = static _ => 200;
        (await Server.ForgetAsync("acct_1")).IsOk();
        Assert.Equal("0", await Server.OnTheSideAsync(
            "SELECT count(*) FROM deliveries WHERE event NOT IN (SELECT seq FROM events)"));
        Server.Time.Move(TimeSpan.FromHours(1));
        var second = (await Receiver.WaitAsync(2))[1];
        Assert.Equal(("account.forgotten", "acct_1"), (second.Type, (string)second.Object["id"]!));
        await DeliveriesAsync(endpoint, all => all.Count == 0);
        Assert.Equal(2, Receiver.All.Count);
    }

    [Fact]
    public async Task A_rolled_secret_signs_beside_the_new_one_for_24_hours()
    {
        var (endpoint, old) = await CreateAsync();
        var rolled = (await Server.Admin.Post($"{Endpoints}/{endpoint}/secret/roll", [])).IsOk().Json;
        var secret = (string)rolled["secret"]!;
        Assert.Equal(2, (int)rolled["secrets"]!);
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        var first = (await Receiver.WaitAsync(1))[0];
        Assert.True(first.IsSignedBy(secret, Server.Time.Seconds) && first.IsSignedBy(old, Server.Time.Seconds));
        Server.Time.Move(TimeSpan.FromHours(24));
        (await Server.Client(account: "acct_1").Set("b")).IsOk();
        var second = (await Receiver.WaitAsync(2))[1];
        Assert.True(second.IsSignedBy(secret, Server.Time.Seconds) && !second.IsSignedBy(old, Server.Time.Seconds));
        (await Server.Admin.Post($"{Endpoints}/{endpoint}/secret/roll", [("grace_period", "86401")]))
            .IsError(400, "parameter_invalid_integer", "grace_period");
    }

    [Fact]
    public async Task A_redirect_is_not_followed_and_a_long_answer_is_cut()
    {
        var (endpoint, _) = await CreateAsync();
        Receiver.Answers = static _ => 302;
        Receiver.Writes = context =>
        {
            context.Response.Headers.Location = "/elsewhere";
            return Task.CompletedTask;
        };
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        await Receiver.WaitAsync(1);
        var waiting = await DeliveriesAsync(endpoint, all => all.Count == 1);
        Assert.Equal(302, (int)waiting[0]!["last_status"]!);

        Receiver.Answers = static _ => 200;
        Receiver.Writes = static async context =>
        {
            var block = new byte[64 * 1024];
            while (!context.RequestAborted.IsCancellationRequested)
                await context.Response.Body.WriteAsync(block, context.RequestAborted);
        };
        Server.Time.Move(TimeSpan.FromSeconds(10));
        await DeliveriesAsync(endpoint, all => all.Count == 0); // though the answer had no end
        Assert.Equal(2, Receiver.All.Count);
    }

    [Fact]
    public async Task What_an_endpoint_cannot_be_is_refused()
    {
        (string, string)[] good = [("app", OwnApp), ("livemode", "false"), ("url", $"{Receiver.Url}")];
        foreach (var (param, value) in ((string, string)[])[
            ("url", "http://10.0.0.1/"), ("url", "https://u:p@example.com/"), ("enabled_events[]", "secret.read"),
            ("api_version", "yesterday"), ("app", "app_none"), ("app", Server.OtherApp)])
        {
            var refused = await Server.Admin.Post(Endpoints, [.. good.Where(each => each.Item1 != param),
                (param, value)]);
            refused.IsError(400, null, param.Replace("[]", "", StringComparison.Ordinal));
        }

        (await Server.Admin.Post(Endpoints, [.. good[..2]])).IsError(400, "parameter_missing", "url");
        (await Server.Admin.Post(Endpoints, [good[0], good[2]])).IsError(400, "parameter_missing", "livemode");
        var (endpoint, _) = await CreateAsync();
        // Of its own app and mode alone, whatever there is.
        (await Server.Admin.Post($"{Apps}/{Server.OtherApp}", [("events", "true")])).IsOk();
        var events = new List<string> { "evt_none" };
        foreach (var other in (string[])[Server.Keys.LiveSecretKey!, Server.OtherAppKey])
        {
            (await Server.Client(other).Set("k")).IsOk();
            events.Add(Assert.Single((await Server.Client(other).Get("/v1/events")).Ids()));
        }

        foreach (var id in events)
            (await Server.Admin.Post($"{Endpoints}/{endpoint}/retry", [("event", id)])).IsError(400, null, "event");
        foreach (var (method, path) in ((HttpMethod, string)[])[
            (HttpMethod.Get, ""), (HttpMethod.Get, "/deliveries"), (HttpMethod.Delete, "")])
            (await Server.Admin.Raw(method, $"{Endpoints}/we_none{path}", null)).IsError(404, "resource_missing", "id");
        for (var i = 1; i < 16; i++)
            await CreateAsync();
        (await Server.Admin.Post(Endpoints, good)).IsError(400, null, "app");
        Assert.Equal(16, (await Server.Admin.WalkAsync(Endpoints, 5)).Distinct().Count());
        (await Server.Admin.Raw(HttpMethod.Delete, $"{Endpoints}/{endpoint}", null)).IsOk();
        Assert.DoesNotContain(endpoint, (await Server.Admin.Get(Endpoints, ("limit", "100"))).Ids());
    }

    [Fact]
    public async Task An_operator_of_one_app_manages_its_endpoints_and_no_others()
    {
        var mine = await Server.NewAppAsync("mine");
        (await Server.Admin.Post($"{Apps}/{mine}", [("events", "true")])).IsOk();
        var (theirs, _) = await CreateAsync();
        var (store, _) = await CreateAsync(livemode: "true", of: null);
        var held = Server.Client((await Server.NewKeyAsync("admin", null, ("role", "operator"), ("apps[]", mine)))
            .Secret());
        var own = (await held.Post(Endpoints, [("app", mine), ("livemode", "false"), ("url", $"{Receiver.Url}")]))
            .IsOk();
        Assert.Equal([own.Id], (await held.Get(Endpoints)).Ids());
        foreach (var other in (string[])[theirs, store])
        {
            (await held.Get($"{Endpoints}/{other}")).IsError(404, "resource_missing", "id");
            (await held.Get($"{Endpoints}/{other}/deliveries")).IsError(404, "resource_missing", "id");
            (await held.Post($"{Endpoints}/{other}", [("disabled", "true")])).IsError(404, "resource_missing", "id");
            (await held.Post($"{Endpoints}/{other}/secret/roll", [])).IsError(404, "resource_missing", "id");
        }

        (await held.Post(Endpoints, [("livemode", "true"), ("url", $"{Receiver.Url}")])).IsError(403, null, null);
        // One of all apps does not reach what is the store's, which an owner sees to.
        var free = Server.Client((await Server.NewKeyAsync("admin", null, ("role", "operator"))).Secret());
        (await free.Post($"{Endpoints}/{store}", [("disabled", "true")])).IsError(403, null, null);
        (await free.Post($"{Endpoints}/{theirs}", [("disabled", "true")])).IsOk();
    }
}
