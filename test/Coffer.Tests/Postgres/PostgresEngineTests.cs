using System.Text;
using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Tests.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace Coffer.Tests.Postgres;

public sealed class PostgresEngineContract(PostgresServer server) : EngineContract
{
    private protected override async Task<Engine> OpenAsync() =>
        await PostgresEngine.OpenAsync(await server.NewDatabaseAsync(), default);

    private protected override ValueTask CloseAsync() => ValueTask.CompletedTask;
}

public sealed class PostgresEngineTests(PostgresServer server) : IDisposable
{
    private readonly List<IDisposable> open = [];

    [Fact]
    public async Task Nodes_that_open_an_empty_database_at_once_migrate_it_once()
    {
        var store = await server.NewDatabaseAsync();
        foreach (var engine in await Task.WhenAll(
            Enumerable.Range(0, 8).Select(_ => Task.Run(() => PostgresEngine.OpenAsync(store, default)))))
            engine.Dispose();
        Assert.Equal((long)Coffer.Storage.Migrations.Of("postgres").Count,
            await PostgresServer.ScalarAsync(store, "SELECT sum(version)::bigint FROM coffer_schema"));
    }

    [Fact]
    public async Task A_store_of_a_newer_schema_is_refused_and_left_alone()
    {
        var store = await server.NewDatabaseAsync();
        (await OpenAsync(store)).Dispose();
        await PostgresServer.ExecuteAsync(store, "UPDATE coffer_schema SET version = 999");
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenAsync(store, default));
        Assert.Contains(
            $"newer Coffer (schema 999; this program knows {Coffer.Storage.Migrations.Of("postgres").Count})",
            refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_programs_database_is_refused_and_left_alone()
    {
        var store = await server.NewDatabaseAsync();
        await PostgresServer.ExecuteAsync(store, "CREATE TABLE theirs (x INT)");
        Assert.Contains(
            "another program",
            (await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenAsync(store, default))).Message,
            StringComparison.Ordinal);
        Assert.Equal(1L,
            await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"));
        var own = new NpgsqlConnectionStringBuilder(store) { SearchPath = "coffer" }.ConnectionString;
        await PostgresServer.ExecuteAsync(store, "CREATE SCHEMA coffer");
        (await OpenAsync(own)).Dispose(); // a schema of its own will do
    }

    [Fact]
    public async Task A_password_is_never_shown()
    {
        foreach (var store in (string[])["postgres://coffer:hunter2@127.0.0.1/coffer",
            "Host=127.0.0.1;Password=hunter2;Port=many", "Password=hunter2", "hunter2"])
        {
            var options = new CofferOptions { Data = "x", Store = store };
            var refused = Assert.Throws<ConfigurationException>(() => Preflight.Require(options));
            Assert.Contains("--store", refused.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("hunter2", refused.Message + refused.Hint, StringComparison.Ordinal);
        }

        var away = await Assert.ThrowsAsync<ConfigurationException>(
            () =>
                PostgresEngine.OpenAsync("Host=127.0.0.1;Port=1;Database=coffer;Username=coffer;Password=hunter2",
                    default));
        Assert.Contains("the database coffer at 127.0.0.1 cannot be used", away.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", away.Message + away.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_node_takes_the_lowest_name_that_is_free_and_keeps_it_when_its_connection_breaks()
    {
        var store = await server.NewDatabaseAsync();
        Engine[] nodes = [await JoinAsync(store), await JoinAsync(store), await JoinAsync(store)];
        Assert.Equal(["node_1", "node_2", "node_3"], nodes.Select(node => node.Node));
        nodes[1].Dispose();
        Assert.Equal("node_2", (await JoinAsync(store)).Node);

        using var told = new SemaphoreSlim(0);
        nodes[0].Changed = _ => told.Release();
        await PostgresServer.EndOthersAsync(store);
        Assert.True(await told.WaitAsync(TimeSpan.FromSeconds(10)), "what was missed in between is read again");
        Assert.Equal("node_1", nodes[0].Node);
        nodes[2].Write([new Change.Plain(new RowWrite.PutRevocation(new RevocationRow("key_1", 1, 2)))], _ => null);
        Assert.True(await told.WaitAsync(TimeSpan.FromSeconds(10)), "it listens again");
    }

    [Fact]
    public async Task A_node_whose_name_was_taken_meanwhile_goes_on_as_another_with_its_own_chain()
    {
        var store = await server.NewDatabaseAsync();
        var (instance, committers) = await TwoNodesAsync(store, TimeProvider.System, join: true);
        await committers[0].CommitAsync(new Change.Noted(new AuditEntry("find", "ok")));
        await committers[1].CommitAsync(new Change.Noted(new AuditEntry("find", "ok")));
        await PostgresServer.ExecuteAsync(store,
            "UPDATE nodes SET holder = 'another', until = now() + interval '1 hour' WHERE number = 1");
        var moved = open.OfType<PostgresEngine>().First();
        await Until.SoAsync("it takes another name", () => moved.Node == "node_3", instead: () => moved.Node);

        await committers[0].CommitAsync(new Change.Noted(new AuditEntry("find", "ok")));
        await committers[0].CommitAsync(new Change.Noted(new AuditEntry("find", "ok")));
        Assert.Equal(4, await VerifiedAsync(moved, instance));
        Assert.Equal(2, (await moved.FindLastAuditAsync("node_3", default))!.Last);
    }

    [Fact]
    public async Task Two_processes_of_one_name_do_not_fork_its_chain()
    {
        // Neither has joined, so both take themselves for node_1.
        var store = await server.NewDatabaseAsync();
        var (instance, committers) = await TwoNodesAsync(store, TimeProvider.System);
        var failed = 0;
        await Task.WhenAll(Enumerable.Range(0, 200).Select(async i =>
        {
            try
            {
                await committers[i % 2].CommitAsync(new Change.Noted(new AuditEntry("find", "ok")));
            }
            catch (ApiError e) when (e.Status == 503)
            {
                Interlocked.Increment(ref failed);
            }
        }));
        await committers[0].CommitAsync(new Change.Plain()).ContinueWith(static _ => { }, TaskScheduler.Default);
        Assert.Equal(200 - failed, await VerifiedAsync(await OpenAsync(store), instance));
    }

    [Fact]
    public async Task What_two_nodes_remove_from_the_log_at_once_leaves_it_whole()
    {
        var store = await server.NewDatabaseAsync();
        var time = new ManualTime();
        var (instance, committers) = await TwoNodesAsync(store, time, join: true);
        for (var i = 0; i < 300; i++)
        {
            await committers[i % 2].CommitAsync(new Change.Noted(new AuditEntry("find", "ok")));
            time.Move(TimeSpan.FromSeconds(1));
        }

        for (var i = 0; i < 20; i++)
        {
            time.Move(TimeSpan.FromSeconds(10));
            var engine = await OpenAsync(store);
            var keys = AuditKeys.Of(instance);
            await Task.WhenAll(committers.Select((committer, n) => Task.Run(() =>
                new Retention(engine, committer, keys, () => TimeSpan.FromSeconds(250 - 2 * n), time,
                    NullLogger<Retention>.Instance).SweepAsync(default))));
            await VerifiedAsync(engine, instance);
        }
    }

    [Fact]
    public async Task A_log_that_is_read_while_nodes_write_misses_no_entry_of_any()
    {
        // node_1 has taken the lower number and is not done with it when node_2 is.
        var store = await server.NewDatabaseAsync();
        Engine[] nodes = [await OpenAsync(store), await OpenAsync(store)];
        await using var holder = new NpgsqlConnection(store);
        await holder.OpenAsync(TestContext.Current.CancellationToken);
        // Who would put the same entry waits for it to be known whether this one is put.
        const string Hold = "BEGIN; INSERT INTO audit (node, first, last, mac, entries) SELECT 'node_1', 1, 1, '', ''";
        await using (var hold = new NpgsqlCommand(Hold, holder))
            await hold.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        var slow = Task.Run(() => PutWhenFree(nodes[0], "node_1", 1), TestContext.Current.CancellationToken);
        const string Waiting = """
            SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE datname = current_database() AND locktype = 'transactionid' AND NOT granted
            """;
        await Until.SoAsync("it waits", async () => (long)(await PostgresServer.ScalarAsync(store, Waiting))! > 0);

        Put(nodes[1], "node_2", 1);
        using var snapshot = await PostgresEngine.OpenSnapshotAsync(store, default);
        var (first, row) = Assert.Single(await snapshot.ListAuditAsync(0, newestFirst: false, long.MaxValue, default));
        Assert.Equal("node_2", row.Node);
        await using (var end = new NpgsqlCommand("ROLLBACK", holder))
            await end.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        await slow;
        Put(nodes[0], "node_1", 2);
        // not its second without its first
        Assert.Empty(await snapshot.ListAuditAsync(first, newestFirst: false, long.MaxValue, default));

        // As the committer does: what waited for too long for a lock is written again.
        static void PutWhenFree(Engine engine, string node, long number)
        {
            for (var isPut = false; !isPut;)
            {
                try
                {
                    Put(engine, node, number);
                    isPut = true;
                }
                catch (Engine.LockedException)
                {
                    Thread.Yield();
                }
            }
        }

        static void Put(Engine engine, string node, long number) =>
            engine.Write([new Change.Plain()], _ => new RowWrite.PutAudit(new AuditRow(node, number, number, [], [])));
    }

    [Fact]
    public async Task Nodes_that_write_the_same_rows_do_so_in_the_same_order()
    {
        var store = await server.NewDatabaseAsync();
        Engine[] engines = [await OpenAsync(store), await OpenAsync(store)];
        engines[0].Write([new Change.Plain(new RowWrite.PutApp(new AppRow("app_1", "one", "acct_own", 1)))], _ => null);
        await Task.WhenAll(engines.Select((engine, n) => Task.Run(() =>
        {
            for (var i = 0; i < 50; i++)
            {
                var rows = Enumerable.Range(0, 20).Select(key => n == 0 ? key : 19 - key).SelectMany(key => (RowWrite[])
                    [new RowWrite.PutMeta($"{key}", [(byte)n]), new RowWrite.PutRevocation(
                        new RevocationRow($"{key}", 1, 2)), new RowWrite.TouchApiKey($"{key}", 1),
                    new RowWrite.AddTenant(new TenantId("app_1", false, $"acct_{i} {key}"), 1, [1])]);
                engine.Write([new Change.Plain([.. rows])], _ => null);
            }
        })));
        Assert.Equal(
            0L,
            await PostgresServer.ScalarAsync(store,
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"));
    }

    [Fact]
    public async Task Of_two_nodes_that_wait_for_each_other_one_begins_anew()
    {
        var store = await server.NewDatabaseAsync();
        Engine[] engines = [await OpenAsync(store), await OpenAsync(store)];
        using var both = new Barrier(2);
        var decisions = 0;
        await Task.WhenAll(engines.Select((engine, n) => Task.Run(() => WritePatiently(engine,
        [
            new Change.Plain(new RowWrite.PutMeta($"{n}", [(byte)n])),
            // What it asks for has the first row sent before it decides: each then holds what the other wants.
            new Asking(new SecretKey(1, [1]), () =>
            {
                if (Interlocked.Increment(ref decisions) <= 2)
                    both.SignalAndWait();
            }),
            new Change.Plain(new RowWrite.PutMeta($"{1 - n}", [(byte)n])),
        ]))));
        Assert.InRange(decisions, 3, 24); // who begins again may be quick enough to be in the other's way once more
        Assert.Equal(await engines[0].FindMetaAsync("0", default), await engines[0].FindMetaAsync("1", default));
    }

    [Fact]
    public async Task A_node_that_stops_in_the_middle_holds_the_others_up_for_some_seconds_only()
    {
        var store = await server.NewDatabaseAsync();
        Engine[] engines = [await OpenAsync(store), await OpenAsync(store)];
        var owner = new TenantId("app_1", false, "acct_1");
        engines[0].Write(
            [new Change.Plain(new RowWrite.PutApp(new AppRow("app_1", "one", "acct_own", 1)),
                new RowWrite.AddTenant(owner, 1, [1]))],
            _ => null);
        var key = new SecretKey((await engines[0].FindTenantAsync(owner, default))!.Id, [1]);
        using var held = new ManualResetEventSlim();
        using var running = new ManualResetEventSlim();
        var stopped = Task.Run(() => engines[0].Write([new Asking(key, () =>
        {
            running.Set();
            held.Wait();
        })], _ => null), TestContext.Current.CancellationToken);
        running.Wait(TestContext.Current.CancellationToken);
        var watch = System.Diagnostics.Stopwatch.StartNew();
        WritePatiently(engines[1], [new Asking(key, static () => { })]);
        Assert.InRange(watch.Elapsed, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(8));
        held.Set();
        Assert.Equal(503, (await Assert.ThrowsAsync<ApiError>(() => stopped)).Status);
        engines[0].Write([new Asking(key, static () => { })], _ => null);
    }

    [Fact]
    public async Task A_connection_that_is_ended_fails_nothing_that_was_not_being_committed()
    {
        var store = await server.NewDatabaseAsync();
        var engine = await OpenAsync(store);
        for (var i = 0; i < 5; i++)
        {
            await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => engine.FindMetaAsync("k", default).AsTask()));
            engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [(byte)i]))], _ => null);
            await PostgresServer.EndOthersAsync(store);
            Assert.Equal([(byte)i], (await engine.FindMetaAsync("k", default))!);
            engine.Write([new Asking(new SecretKey(1, [1]), static () => { })], _ => null);
        }
    }

    [Fact]
    public async Task While_the_database_is_away_all_is_503_and_afterwards_nothing_is()
    {
        await using var own = await PostgresServer.OwnAsync();
        var store = await own.NewDatabaseAsync();
        await using var nodes = await Nodes.StartAsync(store, count: 1);
        (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", "before")).IsOk();
        await own.StopAsync();
        Assert.Equal(503, (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", "lost")).Status);
        Assert.Equal(503, (await nodes[0].Find(nodes.Keys.TestSecretKey, "k")).Status);
        await own.StartAgainAsync();
        Assert.Equal("before", (await nodes[0].Find(nodes.Keys.TestSecretKey, "k")).IsOk().Payload);
        (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", "after")).IsOk();
        Assert.Empty((await AuditArchive.VerifyStoreAsync(new(nodes[0].Data, store), null, default)).Problems);
    }

    [Fact]
    public async Task What_was_read_before_the_writer_had_to_connect_anew_is_read_again_before_it_leaves()
    {
        var store = await server.NewDatabaseAsync();
        await using var nodes = await FoundOnceAsync(store);
        await PostgresServer.EndOthersAsync(store);
        // the writer is proven before it is used, and is found broken
        await Task.Delay(PostgresEngine.LongestUnproven * 2);
        await RequireReadTwiceAsync(nodes);
    }

    [Fact]
    public async Task What_was_read_before_the_database_was_on_another_server_is_read_again_before_it_leaves()
    {
        await using var own = await PostgresServer.OwnAsync();
        await using var nodes = await FoundOnceAsync(await own.NewDatabaseAsync());
        await own.StopAsync();
        await own.StartAgainAsync();
        await RequireReadTwiceAsync(nodes);
    }

    private static async Task<Nodes> FoundOnceAsync(string store)
    {
        var nodes = await Nodes.StartAsync(store, count: 1);
        (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", "p")).IsOk();
        (await nodes[0].Find(nodes.Keys.TestSecretKey, "k")).IsOk();
        return nodes;
    }

    private static async Task RequireReadTwiceAsync(Nodes nodes)
    {
        Assert.Equal("p", (await nodes[0].Find(nodes.Keys.TestSecretKey, "k")).IsOk().Payload);
        (await nodes[0].Find(nodes.Keys.TestSecretKey, "k")).IsOk();

        // One find before, the one that was read twice and is recorded twice, and one after.
        var entries = (await nodes[0].Get(nodes.Keys.AdminKey!,
            "/admin/v1/audit?verb=find")).IsOk().Json["data"]!.AsArray();
        Assert.Equal(4, entries.Count);
        Assert.Equal(3, entries.Select(entry => (string?)entry!["request"]).Distinct().Count());
    }

    // What PgBouncer 1.18 in transaction mode makes of statements that were prepared all the same.
    [Theory]
    [InlineData("42P05", "Max Auto Prepare=0")]
    [InlineData("26000", "Max Auto Prepare=0")]
    [InlineData("XX001", "restore it from a back-up")]
    public void A_start_that_fails_for_sessions_that_are_shared_names_the_pooler(string code, string hint) =>
        Assert.Contains(
            hint, PostgresTrouble.HintOn(new PostgresException("said by the server", "ERROR", "ERROR", code)),
            StringComparison.Ordinal);

    [Theory]
    [InlineData("invalid input syntax for type integer: \"{0}\"")]
    [InlineData("ungültige Eingabesyntax für Typ integer: »{0}«")]
    public void The_server_that_a_transaction_is_on_is_read_in_the_servers_language(string message)
    {
        var text = string.Format(null, message, "coffer: other server 1000000 2.");
        Assert.Equal(new PostgresPrimary(DateTime.UnixEpoch.AddSeconds(1), 2),
            PostgresServers.Named(new PostgresException(text, "ERROR", "ERROR", "22P02")));
        Assert.Null(PostgresServers.Named(new PostgresException(text, "ERROR", "ERROR", "22012")));
    }

    [Fact]
    public async Task Of_several_hosts_the_primary_is_used()
    {
        var store = new NpgsqlConnectionStringBuilder(await server.NewDatabaseAsync());
        store.Host = $"127.0.0.1:1,127.0.0.1:{store.Port}";
        var engine = await OpenAsync(store.ConnectionString);
        engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [1]))], _ => null);
        Assert.NotNull(await engine.FindMetaAsync("k", default));
    }

    [Fact]
    public async Task A_commit_is_on_the_disk_whatever_the_role_is_set_to()
    {
        var store = await server.NewDatabaseAsync();
        await PostgresServer.ExecuteAsync(store,
            $"ALTER DATABASE {new NpgsqlConnectionStringBuilder(store).Database} SET synchronous_commit = off");
        var engine = await OpenAsync(store);
        await PostgresServer.ExecuteAsync(store, """
            CREATE TABLE seen (setting TEXT);
            CREATE FUNCTION see() RETURNS TRIGGER LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
            CREATE TRIGGER see BEFORE INSERT ON meta FOR EACH ROW EXECUTE FUNCTION see()
            """);
        engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [1]))], _ => null);
        Assert.Equal("on", await PostgresServer.ScalarAsync(store, "SELECT setting FROM seen"));
    }

    [Fact]
    public async Task A_text_that_PostgreSQL_cannot_hold_finds_nothing()
    {
        var engine = await OpenAsync(await server.NewDatabaseAsync());
        Assert.Null(await engine.FindAppAsync("app_\0", default));
        Assert.Empty(await engine.ListAccountsAsync("\0", "", false, 1, 10, default));
    }

    public void Dispose()
    {
        for (var i = open.Count - 1; i >= 0; i--)
            open[i].Dispose();
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

    private async Task<(Instance Instance, Committer[] Committers)> TwoNodesAsync(string store, TimeProvider time,
        bool join = false)
    {
        var directory = new TemporaryDirectory();
        open.Add(directory);
        KeyFile.Create(directory.File("coffer.key"), time.GetUtcNow());
        var (instance, rows) = await Instance.CreateAsync(
            KeyWrappers.OfFile(directory.File("coffer.key")), 0, default);
        var committers = new List<Committer>();
        for (var i = 0; i < 2; i++)
        {
            var engine = join ? await JoinAsync(store) : await OpenAsync(store);
            var chain = new AuditChain(AuditKeys.Of(instance), engine.Node, null, time);
            open.Add(chain);
            committers.Add(new Committer(engine, 1_000, chain.InLoop(engine)));
            open.Add(committers[i]);
        }

        await committers[0].CommitAsync(new Change.Plain(rows));
        return (instance, [.. committers]);
    }

    // As the committer does: what meets a lock is written again.
    private static void WritePatiently(Engine engine, IReadOnlyList<Change> changes)
    {
        for (var tries = 1; ; tries++)
        {
            try
            {
                engine.Write(changes, _ => null);
                return;
            }
            catch (Engine.LockedException) when (tries < 12)
            {
                // nothing was stored
            }
        }
    }

    private static async Task<long> VerifiedAsync(Engine engine, Instance instance)
    {
        var verification = new Verification(AuditKeys.Of(instance).Proof);
        foreach (var (key, value) in await engine.ListMetaAsync(AuditCut.MetaPrefix, default))
            verification.AddMeta(key, value);
        foreach (var (_, row) in await engine.ListAuditAsync(0, newestFirst: false, long.MaxValue, default))
            verification.Add(row);
        Assert.Empty(verification.Problems);
        return verification.Entries;
    }

    private sealed class Asking(SecretKey key, Action decides) : Change
    {
        public override SecretKey? SecretAt => key;

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            decides();
            return [new RowWrite.PutMeta("asked", Encoding.UTF8.GetBytes("yes"))];
        }
    }
}
