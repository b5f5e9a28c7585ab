using System.Threading.Channels;
using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>Who reads in the order of commits misses none, and nodes receive each.</summary>
[Trait("Firm ground", "6")]
public sealed class CommitOrderTests(PostgresServer server) : IDisposable
{
    private readonly List<IDisposable> open = [];

    /// <summary>
    /// One writer has its number and has not committed; another takes one and commits; a reader reads up to the
    /// greatest number that it sees; then the first commits. With a sequence, whose numbers nobody holds, the reader
    /// misses the first.
    /// </summary>
    [Theory]
    [InlineData(CommitOrder.Advance, CommitOrder.Last, false)]
    [InlineData("SELECT nextval('mutant')", "currval('mutant')", true)]
    public async Task A_reader_misses_no_commit_that_was_held_between_its_number_and_its_end(string take, string own,
        bool misses)
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        await PostgresServer.ExecuteAsync(store, "CREATE SEQUENCE mutant; CREATE TABLE rows (n BIGINT, who TEXT)");
        await using var slow = await ConnectAsync(store);
        await ExecuteAsync(slow, $"BEGIN; {take}; INSERT INTO rows VALUES ({own}, 'slow')");
        await using var quick = await ConnectAsync(store);
        var quickly = Task.Run(() => ExecuteAsync(quick,
            $"BEGIN; {take}; INSERT INTO rows VALUES ({own}, 'quick'); COMMIT"));
        await Task.WhenAny(quickly, Task.Delay(500, TestContext.Current.CancellationToken));
        var (last, seen) = (0L, new List<string>());
        await ReadAsync();
        await ExecuteAsync(slow, "COMMIT");
        await quickly;
        await ReadAsync();
        Assert.Equal(misses, !seen.Contains("slow"));
        Assert.Contains("quick", seen);

        async Task ReadAsync()
        {
            await using var reading = await ConnectAsync(store);
            await using var command = new NpgsqlCommand($"SELECT n, who FROM rows WHERE n > {last} ORDER BY n",
                reading);
            await using var reader = await command.ExecuteReaderAsync();
            while (await reader.ReadAsync())
            {
                last = reader.GetInt64(0);
                seen.Add(reader.GetString(1));
            }
        }
    }

    [Fact]
    public async Task A_node_that_is_held_between_its_number_and_its_commit_holds_back_those_after_it_and_no_others()
    {
        var store = await server.NewDatabaseAsync();
        Engine[] engines = [await OpenAsync(store), await OpenAsync(store)];
        using var held = new ManualResetEventSlim();
        using var running = new ManualResetEventSlim();
        var slow = Task.Run(() => engines[0].Write([new Holding(held, running)], _ => null),
            TestContext.Current.CancellationToken);
        running.Wait(TestContext.Current.CancellationToken);
        var quick = Task.Run(() => AsCommitter(() => engines[1].Write([new Change.Plain(Revoke("quick"))], _ => null)),
            TestContext.Current.CancellationToken);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        Assert.False(quick.IsCompleted);
        Assert.Empty(await engines[1].ListRevocationsAsync(-1, "", 10, default));
        held.Set();
        await Task.WhenAll(slow, quick);
        Assert.Equal(["slow", "quick"],
            (await engines[1].ListRevocationsAsync(-1, "", 10, default)).Select(row => row.Subject));
    }

    [Fact]
    [Trait("Events", "outbox")]
    public async Task An_event_waits_for_a_commit_that_has_its_number_and_is_told_of_to_other_nodes()
    {
        var store = await server.NewDatabaseAsync();
        Engine[] engines = [await OpenAsync(store), await JoinAsync(store)];
        var received = Receive(engines[1]);
        using var held = new ManualResetEventSlim();
        using var running = new ManualResetEventSlim();
        var slow = Task.Run(() => engines[0].Write([new Holding(held, running, Happened("evt_slow"))], _ => null),
            TestContext.Current.CancellationToken);
        running.Wait(TestContext.Current.CancellationToken);
        var quick = Task.Run(
            () => AsCommitter(() => engines[1].Write([new Change.Plain(Happened("evt_quick"))], _ => null)),
            TestContext.Current.CancellationToken);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        Assert.False(quick.IsCompleted);
        held.Set();
        await Task.WhenAll(slow, quick);
        Assert.Equal(["evt_slow", "evt_quick"],
            (await engines[1].ListAsync(EventRow.Newer, default, 0L, 10)).Select(row => row.Id));
        Assert.Equal("events\n", await NextAsync(received));
    }

    [Fact]
    public async Task Nodes_hear_what_a_commit_changed_and_nothing_else()
    {
        var store = await server.NewDatabaseAsync();
        var (teller, receiver) = (await JoinAsync(store), await JoinAsync(store));
        var received = Receive(receiver);
        TenantId[] tenants = [new("app_1", false, "acct_1"), new("app_1", true, "acct_2")];
        teller.Write([new Change.Plain(
            [.. tenants.Select((tenant, number) => new RowWrite.ShredTenant(number, tenant))])], _ => null);
        teller.Write([new Change.Plain(Revoke("key_1"))], _ => null);
        Assert.Equal("tenant app_1 test acct_1\ntenant app_1 live acct_2\n", await NextAsync(received));
        Assert.Equal("revocations\n", await NextAsync(received));
        // A call without a word is of anything.
        await PostgresServer.ExecuteAsync(store, "NOTIFY coffer");
        Assert.Equal("everything", await NextAsync(received));
        await Task.Delay(1_500, TestContext.Current.CancellationToken);
        Assert.False(received.TryRead(out _));
    }

    [Fact]
    public async Task Nodes_hear_within_seconds_though_no_bell_rings()
    {
        var store = await server.NewDatabaseAsync();
        var received = Receive(await JoinAsync(store));
        await PostgresServer.ExecuteAsync(store, $"""
            BEGIN; {CommitOrder.Advance}; INSERT INTO told (n, what) VALUES ({CommitOrder.Last}, E'key key_1\n'); COMMIT
            """);
        Assert.Equal("key key_1\n", await NextAsync(received));
    }

    [Theory]
    [InlineData("UPDATE epoch SET n = n + 5")] // rows that are gone already
    [InlineData("INSERT INTO epoch VALUES (1, 9); INSERT INTO told VALUES (9, 'revocations')")]
    [InlineData("UPDATE epoch SET n = n - 1; DELETE FROM told")] // another server, which never had them
    public async Task A_node_that_may_have_missed_something_takes_everything_for_changed(string sql)
    {
        var store = await server.NewDatabaseAsync();
        var node = await JoinAsync(store);
        node.Write([new Change.Plain(Revoke("a"))], _ => null);
        var received = Receive(node);
        await Task.Delay(1_500, TestContext.Current.CancellationToken);
        while (received.TryRead(out _))
        {
            // its own
        }

        await PostgresServer.ExecuteAsync(store,
            sql.Replace("INSERT INTO epoch VALUES (1, 9)", "UPDATE epoch SET n = 9", StringComparison.Ordinal));
        Assert.Equal("everything", await NextAsync(received));
        node.Write([new Change.Plain(Revoke("b"))], _ => null);
        Assert.Equal("revocations\n", await NextAsync(received));
    }

    [Fact]
    public async Task What_was_told_long_ago_is_removed()
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        await PostgresServer.ExecuteAsync(store,
            "INSERT INTO told VALUES (1, '', now() - interval '11 minutes'), (2, '', now() - interval '9 minutes')");
        _ = await JoinAsync(store);
        await Until.SoAsync("the older one is removed", async () =>
            (long)(await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM told"))! <= 1);

        Assert.Equal(2L, await PostgresServer.ScalarAsync(store, "SELECT n FROM told"));
    }

    [Fact]
    public async Task A_node_says_in_a_row_that_it_runs_and_takes_the_row_away_when_it_leaves()
    {
        var store = await server.NewDatabaseAsync();
        var node = await OpenAsync(store);
        node.Address = "http://127.0.0.1:1/";
        await node.JoinAsync(default);
        const string Rows = """
            SELECT coalesce(string_agg(number || ' ' || address || ' ' || draining, ','), '') FROM nodes
            WHERE until > now() AND abs(clock_offset) < 60000
            """;
        Assert.Equal("1 http://127.0.0.1:1/ 0", await PostgresServer.ScalarAsync(store, Rows));
        var until = (DateTime)(await PostgresServer.ScalarAsync(store, "SELECT until FROM nodes"))!;
        await Until.SoAsync("it is renewed", async () =>
            (DateTime)(await PostgresServer.ScalarAsync(store, "SELECT until FROM nodes"))! != until);

        node.Dispose();
        Assert.Equal("", await PostgresServer.ScalarAsync(store, Rows));
    }

    [Fact]
    public async Task A_node_of_the_release_before_is_seen_and_what_it_tells_is_heard_as_long_as_it_runs()
    {
        var store = await server.NewDatabaseAsync();
        var (node, other) = (await JoinAsync(store), await JoinAsync(store));
        Assert.False(node.HasOlderNodes || other.HasOlderNodes);
        var received = Receive(node);
        await using (var older = await ConnectAsync(store))
        {
            await ExecuteAsync(older, $"SELECT pg_advisory_lock({PostgresLocks.Names}, 3)");
            await Until.SoAsync("both see it", () => node.HasOlderNodes && other.HasOlderNodes);
            Assert.Equal("everything", await NextAsync(received));
            await ExecuteAsync(older, "SELECT pg_notify('coffer', 'access')");
            Assert.True(News.Parse(await NextAsync(received)).IsAllAccess);
            await ExecuteAsync(older, @"SELECT pg_notify('coffer', E'tenant gone\napp_1\nlive\nacct_1')");
            Assert.Equal("tenant app_1 live acct_1\n", await NextAsync(received));
        }

        await Until.SoAsync("both see that it is gone", () => !node.HasOlderNodes && !other.HasOlderNodes);
        Assert.Equal("everything", await NextAsync(received));
    }

    public void Dispose()
    {
        foreach (var each in open)
            each.Dispose();
    }

    private async Task<PostgresEngine> OpenAsync(string store)
    {
        var engine = await PostgresEngine.OpenAsync(store, default);
        open.Add(engine);
        return engine;
    }

    private async Task<PostgresEngine> JoinAsync(string store)
    {
        var engine = await OpenAsync(store);
        await engine.JoinAsync(default);
        return engine;
    }

    // Who waits for long gives way, and tries again.
    private static void AsCommitter(Action write)
    {
        while (true)
        {
            try
            {
                write();
                return;
            }
            catch (Engine.LockedException)
            {
                // again
            }
        }
    }

    private static ChannelReader<string> Receive(Engine engine)
    {
        var received = Channel.CreateUnbounded<string>();
        engine.Changed = news => received.Writer.TryWrite(news.ToString());
        return received.Reader;
    }

    private static async Task<string> NextAsync(ChannelReader<string> received)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(30));
        return await received.ReadAsync(patience.Token);
    }

    private static RowWrite.PutRevocation Revoke(string subject) => new(new RevocationRow(subject, 1, 2));

    private static async Task<NpgsqlConnection> ConnectAsync(string store)
    {
        var connection = new NpgsqlConnection(store + ";Pooling=false");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        return connection;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
    }

    private static RowWrite.PutEvent Happened(string id) =>
        new(new EventRow(id, null, Livemode: true, null, null, "key.created", 1, [1]));

    private sealed class Holding(ManualResetEventSlim held, ManualResetEventSlim running, RowWrite? write = null)
        : Change
    {
        public override ManagementKey ManagementAt => new() { NeedsNumber = true };

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            running.Set();
            held.Wait();
            return [write ?? Revoke("slow")];
        }
    }
}
