using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>The part of the contract that says in which order commits are seen, and what is told of them.</summary>
public abstract partial class EngineContract
{
    [Trait("Firm ground", "6")]
    [Fact]
    public async Task Commits_that_change_access_are_numbered_in_their_order_and_others_take_no_number()
    {
        var first = Number();
        Write(new RowWrite.PutMeta("m", [1]), new RowWrite.PutSecret(NewSecret("a")));
        Write(Revoke("b", 1, 100), Revoke("a", 1, 100)); // one commit, one number
        Write(new RowWrite.PutApiKey(NewKey("key_1", "app_1", 1)));
        Write(Revoke("c", 1, 100));
        Write(Revoke("a", 2, 100)); // put again, it is the newest
        Assert.Equal([("b", first + 1), ("c", first + 3), ("a", first + 4)], await OrderAsync(-1, "", 10));
        Assert.Equal([("c", first + 3), ("a", first + 4)], await OrderAsync(first + 3, "", 10));
        Assert.Equal([("a", first + 4)], await OrderAsync(first + 3, "c", 10));
        Assert.Equal([("b", first + 1)], await OrderAsync(-1, "", 1));
        Assert.Empty(await OrderAsync(first + 5, "", 10));
        Assert.Equal(first + 4, Number());

        async Task<IEnumerable<(string, long)>> OrderAsync(long number, string subject, int limit) =>
            (await engine.ListRevocationsAsync(number, subject, limit, default))
                .Select(row => (row.Subject, row.Number));
    }

    [Trait("Firm ground", "6")]
    [Fact]
    public async Task A_change_knows_the_number_of_its_commit_before_it_is_committed_and_all_of_a_commit_know_the_same()
    {
        var before = Number();
        List<Managing> changes = [new(new() { NeedsNumber = true }), new(new()),
            new(new() { App = "app_1", NeedsNumber = true })];
        var revoking = new Change.Plain(Revoke("a", 1, 100));
        engine.Write([changes[0], revoking, .. changes[1..]], _ => null);
        Assert.Equal([before + 1, 0, before + 1], changes.Select(change => change.Found!.Number));
        Assert.Equal(before + 1, Assert.Single(await engine.ListRevocationsAsync(-1, "", 10, default)).Number);
        // The same when it was given out for what was written before it.
        var late = new Managing(new() { ApiKey = "key_none", NeedsNumber = true });
        engine.Write([revoking, new Change.Plain(new RowWrite.DeleteRevocations(["x"], 0)), late], _ => null);
        Assert.Equal(before + 2, late.Found!.Number);
    }

    [Trait("Firm ground", "6")]
    [Fact]
    public async Task A_revocation_is_there_until_it_is_pruned_and_its_times_never_go_back()
    {
        Write(Revoke("a", 5, 100), Revoke("b", 6, 101));
        Write(Revoke("a", 7, 120), Revoke("b", 3, 90));
        Assert.Equal(["a 7 120 False", "b 6 101 False"], await ListAsync());
        Assert.Empty(await EndedAsync(100));
        Write(new RowWrite.DeleteRevocations(["a", "b"], 100));
        Assert.Equal(2, (await ListAsync()).Count());
        Assert.Equal(["b", "a"], await EndedAsync(120));
        Assert.Equal(["b"], await engine.ListEndedRevocationsAsync(120, 1, default));
        Write(new RowWrite.DeleteRevocations(["b", "none"], 120));
        Assert.Equal(["a 7 120 False"], await ListAsync());

        async Task<IEnumerable<string>> EndedAsync(long now) =>
            await engine.ListEndedRevocationsAsync(now, 10, default);

        async Task<IEnumerable<string>> ListAsync() => (await engine.ListRevocationsAsync(-1, "", 10, default))
            .Select(row => $"{row.Subject} {row.MadeUntil} {row.KeptUntil} {row.IsUnordered}")
                .Order(StringComparer.Ordinal);
    }

    [Trait("Firm ground", "5")]
    [Fact]
    public async Task A_generation_never_goes_back_is_kept_as_long_as_was_asked_for_and_goes_only_as_it_was_seen()
    {
        var other = Tenant with { Livemode = true };
        Write(Generation(Tenant, 5, 100, 1), Generation(other, 7, 50, 2));
        Write(Generation(Tenant, 4, 90, 9), new RowWrite.KeepGeneration(other, 200),
            new RowWrite.KeepGeneration(other, 150), new RowWrite.KeepGeneration(Tenant with { Account = "none" }, 1));
        Assert.Equal(["5 100 1", "7 200 2"], await ListAsync(-1));
        Assert.Equal(["7 200 2"], await ListAsync(5));
        Write(new RowWrite.DeleteGeneration(Tenant, 5, 99), new RowWrite.DeleteGeneration(Tenant, 6, 100),
            new RowWrite.DeleteGeneration(other, 7, 199));
        Assert.Equal(2, (await ListAsync(-1)).Count());
        Write(new RowWrite.DeleteGeneration(Tenant, 5, 100),
            new RowWrite.DeleteGeneration(Tenant with { Account = "none" }, 5, 100));
        Assert.Equal(["7 200 2"], await ListAsync(-1));

        async Task<IEnumerable<string>> ListAsync(long number) =>
            (await engine.ListGenerationsAsync(number, default))
                .Select(row => $"{row.Number} {row.KeptUntil} {row.Mac[0]}");

        static RowWrite.PutGeneration Generation(TenantId tenant, long number, long kept, byte mac) =>
            new(new GenerationRow(tenant, number, kept, [mac]));
    }

    [Trait("Firm ground", "5")]
    [Fact]
    public async Task What_a_key_is_minted_by_is_what_was_written_last_in_the_same_commit_too()
    {
        var key = NewKey("key_1", "app_1", 1) with { Account = "acct_own" };
        var mint = new Change.ManagementKey { Mint = ("key_1", Tenant) };
        Assert.Equal((null, "app_1", null), Show(Managed(mint).Mint!));
        Write(new RowWrite.PutApiKey(key));
        Assert.Equal(Number(), Managed(mint).Mint!.Last);
        var (before, after) = (new Managing(mint), new Managing(mint));
        engine.Write(
        [
            before,
            new Change.Plain(new RowWrite.PutGeneration(new GenerationRow(Tenant, 9, 1, [1])),
                new RowWrite.PutApiKey(key with { Generation = 8 })),
            after,
            new Change.Plain(new RowWrite.DeleteApiKey("key_1")),
        ], _ => null);
        Assert.Equal((null, "app_1", null), Show(before.Found!.Mint!));
        Assert.Equal((8L, "app_1", 9L), Show(after.Found!.Mint!));
        Assert.Null(Managed(mint).Mint!.Key);
        Assert.Null(await engine.FindApiKeyAsync("key_1", default));
        Assert.Null(Managed(new() { Mint = ("key_1", Tenant with { App = "app_none" }) }).Mint!.App);

        static (long?, string?, long?) Show(Change.MintFound found) =>
            (found.Key?.Generation, found.App?.Id, found.Generation?.Number);
    }

    [Trait("Firm ground", "6")]
    [Fact]
    public void What_a_commit_changed_is_told_before_the_commit_is_answered_and_a_commit_that_failed_tells_nothing()
    {
        var told = new List<string>();
        engine.Changed += news => told.Add(news.ToString());
        Write(new RowWrite.PutMeta("m", [1]), new RowWrite.TouchApiKey("key_1", 1),
            new RowWrite.AddTenant(Tenant with { Account = "acct_2" }, 1, [1]));
        Assert.Empty(told);
        Write(new RowWrite.PutApp(new AppRow("app_1", "one", "acct_own", 1)),
            new RowWrite.PutApiKey(NewKey("key_1", "app_1", 1)), Revoke("x", 1, 2));
        Write(new RowWrite.ShredTenant(tenant, Tenant), new RowWrite.DeleteApiKey("key_1"));
        Write(new RowWrite.PutGeneration(new GenerationRow(Tenant, 1, 1, [1])));
        Write(new RowWrite.DeleteGeneration(Tenant, 1, 1));
        var root = new RowWrite.PutRootKey(new RootKeyRow(1, 0, [1]));
        Assert.Throws<ApiError>(() => Write(Revoke("y", 1, 2), root, root));
        Assert.Equal(["revocations\nkey key_1\napp app_1\n", "key key_1\ntenant app_1 test acct_1\n", "generations\n",
            "generations removed\n"], told);
    }

    [Trait("Keys", "S31")]
    [Fact]
    public async Task Nothing_is_written_unless_the_control_row_is_the_one_that_is_known()
    {
        var (known, moved) = ((byte[])[1], 0);
        engine.KnownControl = () => known;
        engine.ControlMoved = () => moved++;
        RowWrite[] under =
        [
            new RowWrite.AddTenant(Tenant with { Account = "acct_2" }, 1, [1]),
            new RowWrite.PutApp(new AppRow("app_2", "two", "acct_own", 1, [1])),
            new RowWrite.RewrapTenant(tenant, [9], [1]), new RowWrite.RewrapApp("app_1", [9], [1]),
        ];
        Write(under[0]); // a store without a control row
        Write(new RowWrite.PutMeta("control", [1]));
        foreach (var row in under)
            Write(row);
        Assert.Equal(0, moved);
        known = [2]; // another node has changed it
        foreach (var row in under)
            Assert.Throws<Engine.LockedException>(() => Write(new RowWrite.PutMeta("beside", [1]), row));
        Assert.Equal(under.Length, moved);
        Assert.Null(await engine.FindMetaAsync("beside", default));
        Assert.Throws<Engine.LockedException>(() => Write(new RowWrite.PutMeta("beside", [1])));
        Assert.Equal(under.Length + 1, moved);
        known = [1];
        Write(under);
    }

    private static RowWrite.PutRevocation Revoke(string subject, long until, long kept) =>
        new(new RevocationRow(subject, until, kept) { App = "app_1" });

    /// <summary>The number of the last commit that has one.</summary>
    private long Number() => Managed(new() { Mint = ("none", Tenant) }).Mint!.Last;
}
