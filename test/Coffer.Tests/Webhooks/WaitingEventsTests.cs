using System.Diagnostics;
using Coffer.Shared;
using Coffer.Storage;
using Coffer.Webhooks;
using WebhookEndpoint = Coffer.Access.WebhookEndpoint;

namespace Coffer.Tests.Webhooks;

/// <summary>What becomes of events that an endpoint cannot be sent yet, or does not accept.</summary>
[Trait("Events", "delivery")]
public sealed class WaitingEventsTests : WebhookTests
{
    [Fact]
    public async Task One_that_is_disabled_or_has_no_secret_is_sent_nothing_and_then_all_that_waited()
    {
        var (disabled, secret) = await CreateAsync();
        var (mute, _) = await CreateAsync();
        await CreateAsync();
        await DisableAsync(disabled);
        await EditAsync(mute, static endpoint => endpoint with { Secrets = [] }); // as after a root key has leaked
        foreach (var name in (string[])["a", "b"])
        {
            (await Server.Client(account: "acct_1").Set(name)).IsOk();
            await Receiver.WaitAsync(name == "a" ? 1 : 2);
        }

        string[] ids = [.. Receiver.All.Select(static each => each.Id)];
        Assert.Equal(2, ids.Distinct().Count()); // the third endpoint was sent both
        await DisableAsync(disabled, "false");
        var rolled = (await Server.Admin.Post($"{Endpoints}/{mute}/secret/roll", [])).IsOk().Json.Secret();
        var all = await Receiver.WaitAsync(6);
        foreach (var of in (string[])[secret, rolled])
            Assert.Equal(ids, all.Where(each => each.IsSignedBy(of, Server.Time.Seconds)).Select(each => each.Id));
    }

    [Fact]
    public async Task What_happened_meanwhile_waits_behind_what_is_not_accepted_for_an_hour_since_it_happened()
    {
        var (endpoint, _) = await CreateAsync();
        await DisableAsync(endpoint);
        foreach (var name in (string[])["a", "b"])
            (await Server.Client(account: "acct_1").Set(name)).IsOk();
        Server.Time.Move(TimeSpan.FromMinutes(50));
        Receiver.Answers = static _ => 500;
        await DisableAsync(endpoint, "false");
        var waiting = await DeliveriesAsync(endpoint, all => all.Count == 2);
        Assert.Single(Receiver.All);
        Assert.Equal([1, 0], waiting.Select(each => (int)each!["attempts"]!));
        Assert.Equal(3_600, (long)waiting[1]!["next_attempt"]! - (long)waiting[1]!["created"]!);

        // After an hour it is sent before the other, also in vain, and waits from then on by itself.
        Server.Time.Move(TimeSpan.FromMinutes(10));
        var second = await DeliveriesAsync(endpoint, all => (int)all[1]!["attempts"]! == 1);
        Receiver.Answers = received => received.Id == (string)waiting[0]!["id"]! ? 200 : 500;
        await AgainAsync(); // nobody waits for a rest
        (await Server.Admin.Post($"{Endpoints}/{endpoint}/retry", [("event", (string)waiting[0]!["id"]!)])).IsOk();
        var left = await DeliveriesAsync(endpoint, all => all.Count == 1);
        Assert.Equal((1, (long)second[1]!["next_attempt"]!),
            ((int)left[0]!["attempts"]!, (long)left[0]!["next_attempt"]!));
    }

    [Fact]
    public async Task What_is_new_comes_after_what_is_tried_again_at_that_moment()
    {
        var (endpoint, _) = await CreateAsync();
        Receiver.Answers = static _ => 500;
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        await DeliveriesAsync(endpoint, all => all.Count == 1);
        await DisableAsync(endpoint);
        (await Server.Client(account: "acct_1").Set("b")).IsOk();
        Receiver.Answers = static _ => 200;
        Server.Time.Move(TimeSpan.FromSeconds(10));
        await DisableAsync(endpoint, "false");
        var all = await Receiver.WaitAsync(3);
        Assert.Equal(all[0].Id, all[1].Id);
        Assert.NotEqual(all[0].Id, all[2].Id);
        Assert.DoesNotContain(all, each => each.IsOutOfOrder);
    }

    [Fact]
    public async Task One_that_fails_is_left_alone_for_a_while_whatever_happens()
    {
        await CreateAsync();
        Receiver.Answers = static _ => 500;
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        await Receiver.WaitAsync(1);
        var since = Stopwatch.GetTimestamp();
        (await Server.Client(account: "acct_2").Set("b")).IsOk();
        await Receiver.WaitAsync(2);
        Assert.True(Stopwatch.GetElapsedTime(since) > TimeSpan.FromSeconds(0.9), "it was called at once");
    }

    [Fact]
    public async Task What_is_given_up_lets_the_next_go_and_disables_only_what_has_accepted_nothing_since()
    {
        var (endpoint, _) = await CreateAsync();
        Receiver.Answers = static received => received.Account == "acct_1" ? 500 : 200;
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        var id = (await Receiver.WaitAsync(1))[0].Id;
        await AttemptsAsync(1, isGivenUp: false);
        Server.Time.Move(TimeSpan.FromSeconds(1));
        (await Server.Client(account: "acct_2").Set("c")).IsOk();
        await ShownAsync(endpoint, shown => (long?)shown["last_delivered"] == Server.Time.Seconds);
        Server.Time.Move(Deliveries.Tried - TimeSpan.FromMinutes(10) - TimeSpan.FromSeconds(1));
        await AgainAsync(); // here and below: nobody waits for a rest
        await AttemptsAsync(2, isGivenUp: false);
        (await Server.Client(account: "acct_1").Set("b")).IsOk();
        await DeliveriesAsync(endpoint, all => all.Count == 2);
        Receiver.Answers = received => received.Id == id ? 500 : 200;
        Server.Time.Move(TimeSpan.FromMinutes(10));
        await AgainAsync();
        await AttemptsAsync(3, isGivenUp: true);
        await ShownAsync(endpoint, shown => (int)shown["deliveries"]!["waiting"]! == 0);
        Assert.False(Assert.Single(Receiver.All, each => each.Account == "acct_1" && each.Id != id).IsOutOfOrder);
        await ShownAsync(endpoint, shown => (string)shown["status"]! == "enabled");

        // By hand it is tried for as long again; and for as long after the endpoint was disabled for a time.
        await AgainAsync();
        (await Server.Admin.Post($"{Endpoints}/{endpoint}/retry", [("event", id)])).IsOk();
        await AttemptsAsync(4, isGivenUp: false);
        await DisableAsync(endpoint);
        Server.Time.Move(TimeSpan.FromDays(4));
        await AgainAsync();
        await DisableAsync(endpoint, "false");
        await AttemptsAsync(5, isGivenUp: false);
        Server.Time.Move(Deliveries.Tried);
        await AgainAsync();
        await AttemptsAsync(6, isGivenUp: true);
        await ShownAsync(endpoint, shown => (string)shown["status"]! == "failed"); // nothing since it was enabled

        Task AttemptsAsync(int count, bool isGivenUp) => DeliveriesAsync(endpoint, all => all.Count > 0
            && (int)all[0]!["attempts"]! == count && all[0]!["failed"] is null != isGivenUp);
    }

    [Fact]
    public async Task A_store_that_was_restored_sends_nothing_until_it_is_finished()
    {
        var (id, _) = await CreateAsync();
        await DisableAsync(id);
        (await Server.Client(account: "acct_1").Set("a")).IsOk();
        await HoldAsync(isHeld: true);
        await Task.Delay(300, TestContext.Current.CancellationToken); // nothing says that it was looked for work
        Assert.Empty(Receiver.All);
        await HoldAsync(isHeld: false);
        await Receiver.WaitAsync(1);

        Task HoldAsync(bool isHeld) => EditAsync(id, static endpoint => endpoint with { IsDisabled = false },
            control => control with { IsHeld = isHeld });
    }

    [Fact]
    public async Task Of_two_nodes_that_have_sent_the_same_one_stores_what_came_of_it()
    {
        var (id, _) = await CreateAsync();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var endpoint = WebhookEndpoint.From(instance, (await engine.FindAsync(EndpointRow.ById, default, id))!);
            DeliveryOutcome Sent(long position) => new(instance, endpoint) { Position = position };
            var (first, late) = (Sent(7), Sent(9));
            late.Fail(new DeliveryRow(id, 8, "", 1, 1, 1, 500));
            await committer.CommitAsync(first);
            await committer.CommitAsync(late);
            Assert.Equal((true, false), (first.IsStored, late.IsStored));
            Assert.Equal(7, (await engine.FindAsync(EndpointRow.ById, default, id))!.Position);
            Assert.Empty(await engine.ListAsync(DeliveryRow.After, default, id, 0, 10));
            return true;
        });
    }
}
