using Coffer.Access;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Access;

/// <summary>What a node keeps of revocations in memory, and how it learns of new ones.</summary>
[Trait("Firm ground", "6")]
public sealed class RevocationsTests : IDisposable
{
    private static readonly TenantId Tenant = new("app_1", Livemode: false, "acct_1");

    private readonly TemporaryDirectory directory = new();
    private readonly ManualTime time = new();
    private readonly SqliteEngine engine;
    private readonly Instance instance;
    private readonly Revocations revocations;

    public RevocationsTests()
    {
        engine = SqliteEngine.Open(directory.File("coffer.db"));
        KeyFile.Create(directory.File("coffer.key"), time.GetUtcNow());
        (instance, var rows) = Instance.CreateAsync(
            KeyWrappers.OfFile(directory.File("coffer.key")), 0, default).GetAwaiter().GetResult();
        Write(rows);
        revocations = New();
    }

    [Fact]
    public async Task What_was_added_is_known_at_once_and_what_was_known_is_not_read_again()
    {
        var keys = Enumerable.Range(0, 300).Select(_ => NewKey()).ToList();
        Write([.. keys[..100].Select(End)]);
        Assert.True(await IsRevokedAsync(keys[0]));
        Assert.False(await IsRevokedAsync(keys[100]));

        // Who read all of it again would take these for good.
        Execute("DELETE FROM revocations");
        foreach (var key in keys[100..200])
        {
            Assert.False(await IsRevokedAsync(key));
            Write(End(key));
            Assert.True(await IsRevokedAsync(key));
        }

        Assert.True(await IsRevokedAsync(keys[0]));
        Assert.False(await IsRevokedAsync(keys[200]));
        // Where it is not known what was changed, all of it is read.
        engine.Changed(News.AllAccess);
        Assert.False(await IsRevokedAsync(keys[0]));
        Assert.True(await IsRevokedAsync(keys[150]));
    }

    [Fact]
    public async Task What_nobody_told_of_is_known_within_the_bound()
    {
        var key = NewKey();
        Assert.False(await IsRevokedAsync(key));
        engine.Changed = static _ => { };
        Write(End(key));
        Assert.False(await IsRevokedAsync(key));
        time.Move(Epoch.Bound);
        Assert.True(await IsRevokedAsync(key));
    }

    [Fact]
    public async Task More_than_a_page_is_read_whole_whether_or_not_the_rows_are_of_one_commit()
    {
        var keys = Enumerable.Range(0, 12_000).Select(_ => NewKey()).ToList();
        Write([.. keys.Select(End)]);
        foreach (var key in keys)
            Assert.True(await IsRevokedAsync(key));
    }

    [Fact]
    public async Task Rows_whose_number_is_none_are_not_read_for_ever()
    {
        var (ended, other) = (NewKey(), NewKey());
        Write(End(ended));
        Execute("""
            INSERT INTO revocations (subject, made_until, kept_until, n)
            WITH RECURSIVE rows(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM rows WHERE i < 5000)
            SELECT 'planted/' || i, 1, 99999999999, (i % 7) || ' planted' FROM rows
            """);
        var found = await Task.Run(async () => (await IsRevokedAsync(ended), await IsRevokedAsync(other)))
            .WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal((true, false), found);
    }

    [Fact]
    public async Task What_is_over_leaves_the_memory_and_a_clock_that_goes_back_brings_it_in_again()
    {
        var (key, other) = (NewKey(life: 60), NewKey(life: 6_000));
        Write(End(key), End(other));
        Assert.True(await IsRevokedAsync(key));
        time.Move(TimeSpan.FromSeconds(200));
        Assert.True(await IsRevokedAsync(other));
        Assert.False(await IsRevokedAsync(key)); // by itself it is expired
        time.Move(TimeSpan.FromSeconds(-190));
        engine.Changed(Of(End(NewKey())));
        Assert.True(await IsRevokedAsync(key));
    }

    [Fact]
    public async Task Past_a_bound_of_an_app_what_would_end_one_key_ends_those_of_its_tenant_and_then_of_its_app()
    {
        var small = New(new Revocations.Bounds(OfAnApp: 3, InAll: 5, Generations: 2));
        for (var i = 0; i < 3; i++)
        {
            Assert.True(small.HasRoomFor("app_1"));
            Write(End(NewKey()));
            await small.IsRevokedAsync(NewKey(), default);
        }

        Assert.False(small.HasRoomFor("app_1"));
        Assert.True(small.HasRoomFor("app_2"));
        Assert.True(small.HasRoomForGeneration("app_1"));
        foreach (var account in (string[])["acct_1", "acct_2"])
            Write(Generations.Raise(instance, Tenant with { Account = account }, Number(), time.Seconds));
        await small.IsRevokedAsync(NewKey(), default);
        Assert.False(small.HasRoomForGeneration("app_1"));
        Assert.True(small.HasRoomForGeneration("app_2"));

        // The bound of all is one for all.
        for (var i = 0; i < 2; i++)
            Write(Revocations.Write("app_2", NewKey().Id, time.Seconds, time.Seconds + 60));
        await small.IsRevokedAsync(NewKey(), default);
        Assert.False(small.HasRoomFor("app_3"));
        time.Move(TimeSpan.FromHours(2));
        await small.IsRevokedAsync(NewKey(), default);
        Assert.True(small.HasRoomFor("app_1"));
    }

    [Fact]
    public async Task A_revocation_past_the_bound_is_never_refused_and_ends_more()
    {
        var small = New(new Revocations.Bounds(OfAnApp: 1, InAll: 100, Generations: 1));
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        var endings = new Endings(engine, instance, small, new MintingKeys(engine, instance, new Epoch()),
            new FormatOne(engine, committer, instance, time), time);
        Write(new RowWrite.PutApp(new App("app_1", "one", "acct_1", 0).ToRow(instance)));
        var (first, second, same, other) = (NewKey(), NewKey(), NewKey(),
            NewKey(tenant: Tenant with { Account = "acct_2" }));

        await EndAsync(first);
        Assert.Equal((true, false, false, false), await RevokedAsync());
        await EndAsync(second); // there is no room for it, and its tenant ends with it
        Assert.Equal((true, true, true, false), await RevokedAsync());
        Assert.Equal(0, await AppGenerationAsync());
        await EndAsync(other); // nor for another tenant
        Assert.Equal(Number(), await AppGenerationAsync());

        async Task EndAsync(EphemeralKey key)
        {
            var (at, rows) = endings.End(key.Tenant, key.Id, key.Created, key.Expires);
            await committer.CommitAsync(new Ending(at, found => rows(found, time.Seconds)));
            await small.IsRevokedAsync(NewKey(), default);
        }

        async Task<(bool, bool, bool, bool)> RevokedAsync() =>
            (await small.IsRevokedAsync(first, default), await small.IsRevokedAsync(second, default),
            await small.IsRevokedAsync(same, default), await small.IsRevokedAsync(other, default));

        async Task<long> AppGenerationAsync() =>
            App.From((await engine.FindAppAsync("app_1", default))!, instance).Generation;
    }

    [Fact]
    public async Task A_minting_key_that_nothing_known_proves_is_looked_up_again_by_the_control_row_of_now()
    {
        // Where another node has it proven by a pepper that is not known yet, reading that row makes it known.
        var (_, row) = ApiKey.Create(instance, new AppRow("app_1", "one", "acct_1", 0), livemode: false, time.Seconds);
        Write(new RowWrite.PutApp(new App("app_1", "one", "acct_1", 0).ToRow(instance)),
            new RowWrite.PutApiKey(row with { Proof = [.. row.Proof[1..], row.Proof[0]] }));
        using var minting = new MintingKeys(engine, instance, new Epoch());
        await Assert.ThrowsAsync<ApiError>(() => minting.FindAsync(row.Id, "app_1", default).AsTask());
        instance.Reload = _ =>
        {
            Write(new RowWrite.PutApiKey(row));
            return Task.CompletedTask;
        };
        Assert.Equal(row.Id, (await minting.FindAsync(row.Id, "app_1", default))?.Id);
    }

    [Fact]
    public async Task The_end_of_a_minting_key_ends_what_was_minted_before_it_in_the_order_of_commits()
    {
        Write(Revocations.Write("app_1", "key_1", time.Seconds, time.Seconds + 86_400));
        var number = Number();
        var key = NewKey();
        Assert.True(await IsRevokedAsync(key with { Ties = new Ties(0, 0, 0, number - 1) }));
        // A developer's key comes back under the same id, and mints again.
        Assert.False(await IsRevokedAsync(key with { Ties = new Ties(0, 0, 0, number) }));
    }

    [Fact]
    public async Task What_a_node_of_the_release_before_revoked_ends_keys_of_both_formats_by_its_time()
    {
        var (early, late) = (NewKey(), NewKey(created: time.Seconds + 10));
        // As it is written there: no number, and no app.
        Execute($"""
            INSERT INTO revocations (subject, made_until, kept_until)
            VALUES ('app_1/acct_1', {time.Seconds + 5}, {time.Seconds + 86_400})
            """);
        Assert.Equal((true, false), (await IsRevokedAsync(early), await IsRevokedAsync(late)));
        Assert.Equal((true, false), (await IsRevokedAsync(early with { Ties = null }),
            await IsRevokedAsync(late with { Ties = null })));

        // Over a row that this release wrote; then this release again.
        Write(Revocations.Write("app_1", Revocations.Of("app_1", "acct_1"), time.Seconds + 6, time.Seconds + 86_400));
        engine.Changed(News.AllAccess);
        Assert.False(await IsRevokedAsync(early)); // by a number, in the other table
        Execute($"UPDATE revocations SET made_until = {time.Seconds + 11}");
        engine.Changed(News.AllAccess);
        Assert.Equal((true, true), (await IsRevokedAsync(early), await IsRevokedAsync(late)));
    }

    public void Dispose()
    {
        revocations.Dispose();
        engine.Dispose();
        directory.Dispose();
    }

    private Revocations New(Revocations.Bounds? bounds = null) => new(engine, instance, time, bounds);

    private ValueTask<bool> IsRevokedAsync(EphemeralKey key) => revocations.IsRevokedAsync(key, default);

    private EphemeralKey NewKey(long life = 3_600, long? created = null, TenantId? tenant = null)
    {
        var (owner, from) = (tenant ?? Tenant, created ?? time.Seconds);
        return new EphemeralKey(EphemeralKey.NewId(instance, owner, from, from + life), owner, "usr_1"u8.ToArray(),
            Permissions.All, "key_1", from, from + life)
        {
            Ties = new Ties(0, 0, 0, 0),
        };
    }

    private static RowWrite End(EphemeralKey key) =>
        Revocations.Write(key.Tenant.App, key.Id, key.Created, key.Expires);

    private static News Of(RowWrite row)
    {
        var news = new News();
        news.Add(row);
        return news;
    }

    private void Write(params RowWrite[] rows) => engine.Write([new Change.Plain(rows)], _ => null);

    private long Number()
    {
        using var session = new SqliteSession(directory.File("coffer.db"));
        return session.Scalar(CommitOrder.SelectLast.Text.Sqlite);
    }

    private void Execute(string sql)
    {
        using var connection = StoreEdits.Connect(directory.File("coffer.db"));
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private sealed class Ending(Change.ManagementKey at, Func<Change.ManagementFound, RowWrite[]> rows) : Change
    {
        public override ManagementKey ManagementAt => at;

        public override IReadOnlyList<RowWrite> Decide(Found found) => rows(found.Management!);
    }
}
