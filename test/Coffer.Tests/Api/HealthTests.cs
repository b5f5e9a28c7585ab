using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Api;

/// <summary>Readiness tells the truth: storage and key are proven, not assumed.</summary>
public sealed class HealthTests
{
    [Fact]
    public async Task A_server_that_works_says_so_without_a_key()
    {
        await using var server = await TestServer.StartAsync();
        var alive = await server.SendAsync(
            new HttpRequestMessage(HttpMethod.Get, new Uri("/healthz", UriKind.Relative)));
        Assert.Equal((200, """{"status":"ok"}"""), (alive.Status, alive.Text));
        var ready = await server.SendAsync(
            new HttpRequestMessage(HttpMethod.Get, new Uri("/readyz", UriKind.Relative)));
        Assert.Equal((200, """{"status":"ok","storage":"ok","key":"ok","audit":"ok"}"""), (ready.Status, ready.Text));
        Assert.Equal("application/json", ready.Header("Content-Type"));
    }

    [Fact]
    public async Task Storage_that_cannot_be_written_is_found_out_within_a_second_and_so_is_its_return()
    {
        using var directory = new TemporaryDirectory();
        var time = new ManualTime();
        using var engine = SqliteEngine.Open(directory.File("coffer.db"));
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        var instance = await CreateAsync(directory, committer, time);
        var chain = new AuditChain(AuditKeys.Of(instance), "node_1", null, time);
        var keys = AuditKeys.Of(instance);
        using var checkpoints = new Checkpoints(chain, engine, keys, directory.File("checkpoints"), time,
            NullLogger<Checkpoints>.Instance);
        using var readiness = new Readiness(
            committer, instance, static () => (null, null), () => checkpoints.Trouble, time);
        Assert.All(await readiness.ProveAsync(default), check => Assert.Null(check.Trouble));

        // Another connection makes every write of this one fail.
        using (var session = new SqliteSession(directory.File("coffer.db")))
        {
            session.Execute(
                "CREATE TRIGGER broken BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END");
            Assert.All(await readiness.ProveAsync(default), check => Assert.Null(check.Trouble)); // still believed
            time.Move(Readiness.Believed);
            var checks = await readiness.ProveAsync(default);
            Assert.Contains("the disk is gone", Assert.Single(checks, check => check.Part == "storage").Trouble,
                StringComparison.Ordinal);
            Assert.Null(Assert.Single(checks, check => check.Part == "key").Trouble);
            session.Execute("DROP TRIGGER broken");
        }

        time.Move(Readiness.Believed);
        Assert.All(await readiness.ProveAsync(default), check => Assert.Null(check.Trouble));
    }

    [Fact]
    [Trait("Firm edges", "14")]
    public async Task Whether_the_storage_is_back_is_no_matter_of_what_else_is_wrong()
    {
        using var directory = new TemporaryDirectory();
        var time = new ManualTime();
        using var engine = SqliteEngine.Open(directory.File("coffer.db"));
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        var instance = await CreateAsync(directory, committer, time);
        var isBroken = false;
        using var readiness = new Readiness(
            committer, instance, static () => ("a root key is away", null), static () => "no checkpoint", time)
        {
            TryWrites = _ => isBroken
                ? throw ApiError.StorageUnavailable(new IOException("gone"))
                : ValueTask.CompletedTask,
        };
        var health = new HealthApi(readiness, new Draining());
        Assert.True(await health.HasStorageAsync(default));
        isBroken = true;
        time.Move(Readiness.Believed);
        Assert.False(await health.HasStorageAsync(default));
    }

    [Theory]
    [Trait("Firm ground", "17")]
    [InlineData("Could not find a part of the path '/var/lib/coffer/a 1'.", "Could not find a part of the path '…'.")]
    [InlineData("Access to the path \"/srv/a\" is denied.", "Access to the path \"…\" is denied.")]
    [InlineData("Failed to connect to /run/postgresql/.s.PGSQL.5432", "Failed to connect to …")]
    [InlineData("No such file: ../x/y, ./z and ~/w", "No such file: … … and …")]
    [InlineData("cannot open C:\\Coffer\\coffer.db", "cannot open …")]
    [InlineData("/a", "…")]
    [InlineData("SQLite Error 10: 'disk I/O error'.", "SQLite Error 10: 'disk I/O error'.")]
    [InlineData("a write was not durable within 5 seconds", "a write was not durable within 5 seconds")]
    public void No_path_is_shown_to_who_has_no_key(string message, string shown) =>
        Assert.Equal(shown, HealthApi.WithoutPaths(message));

    [Fact]
    [Trait("Firm ground", "17")]
    public async Task Trouble_with_checkpoints_is_reported_without_their_place()
    {
        using var directory = new TemporaryDirectory();
        var time = new ManualTime();
        using var engine = SqliteEngine.Open(directory.File("coffer.db"));
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        var instance = await CreateAsync(directory, committer, time);
        var last = new AuditRow("node_1", 1, 1, new byte[32], []);
        var chain = new AuditChain(AuditKeys.Of(instance), "node_1", last, time);
        var keys = AuditKeys.Of(instance);
        var file = Path.Combine(directory.Path, "gone", "c");
        using var checkpoints = new Checkpoints(chain, engine, keys, file, time, NullLogger<Checkpoints>.Instance);
        checkpoints.Write();
        Assert.NotNull(checkpoints.Trouble);
        Assert.DoesNotContain(directory.Path, checkpoints.Trouble, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm edges", "14")]
    public async Task Trouble_with_checkpoints_has_a_line_for_each_cause_and_one_when_it_is_over()
    {
        using var directory = new TemporaryDirectory();
        var (time, log) = (new ManualTime(), new KeptLog<Checkpoints>());
        using var engine = SqliteEngine.Open(directory.File("coffer.db"));
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        var instance = await CreateAsync(directory, committer, time);
        var keys = AuditKeys.Of(instance);
        using var chain = new AuditChain(keys, "node_1", new AuditRow("node_1", 1, 1, new byte[32], []), time);
        var file = Path.Combine(directory.Path, "gone", "c");
        using var checkpoints = new Checkpoints(chain, engine, keys, file, time, log);
        Write(times: 2);
        Directory.CreateDirectory(file); // another one is in its place
        Write(times: 2);
        Directory.Delete(file);
        Write(times: 1);
        Assert.Collection(log.Texts,
            line => Assert.Contains("cannot be written: Could not find a part", line, StringComparison.Ordinal),
            line => Assert.Contains("cannot be written: Access to the path", line, StringComparison.Ordinal),
            line => Assert.Equal("Checkpoints of the audit log are written again", line));
        Assert.Null(checkpoints.Trouble);

        void Write(int times)
        {
            for (var i = 0; i < times; i++)
                checkpoints.Write();
        }
    }

    [Fact]
    public async Task A_proof_that_took_long_is_believed_by_those_who_waited_for_it()
    {
        using var directory = new TemporaryDirectory();
        var time = new ManualTime();
        using var engine = SqliteEngine.Open(directory.File("coffer.db"));
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        var instance = await CreateAsync(directory, committer, time);
        var proofs = 0;
        using var readiness = new Readiness(committer, instance, static () => (null, null), () =>
        {
            proofs++;
            time.Move(TimeSpan.FromSeconds(5));
            return null;
        }, time);
        await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => readiness.ProveAsync(default).AsTask()));
        Assert.Equal(1, proofs);
    }

    [Fact]
    public async Task A_part_is_named_once_with_all_that_is_to_be_looked_at_and_without_a_path()
    {
        using var directory = new TemporaryDirectory();
        var time = new ManualTime();
        using var engine = SqliteEngine.Open(directory.File("coffer.db"));
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        var instance = await CreateAsync(directory, committer, time);
        var hasFailed = new TaskCompletionSource();
        using var loop = new Loop("receipts", _ => hasFailed.TrySetResult()
            ? throw new TimeoutException("no answer from /var/lib/key") : Task.FromResult(TimeSpan.FromDays(1)),
            TimeProvider.System, NullLogger.Instance)
        { Pauses = (TimeSpan.FromDays(1), TimeSpan.FromDays(1)) };
        loop.Start();
        using var readiness = new Readiness(committer, instance, static () => (null, null), () => null, time)
        {
            Loops = [loop],
            ReceiptTrouble = static () => "cannot be written to '/srv/receipts'",
        };
        for (var waited = Stopwatch.StartNew(); loop.Trouble is null; await Task.Delay(10))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(10), "the loop did not say that it is behind");
        var context = new DefaultHttpContext { Response = { Body = new MemoryStream() } };
        await new HealthApi(readiness, new Draining()).WriteReadyAsync(context);
        await context.Response.BodyWriter.FlushAsync();
        var text = Encoding.UTF8.GetString(((MemoryStream)context.Response.Body).ToArray());
        Assert.Equal(["status", "storage", "key", "audit", "receipts"],
            JsonElement.Parse(text).EnumerateObject().Select(part => part.Name));
        Assert.Equal("behind: no answer from … and cannot be written to '…'",
            JsonElement.Parse(text).GetProperty("receipts").GetString());
    }

    [Fact]
    public void What_is_over_is_in_the_log_and_what_the_framework_does_is_not()
    {
        var options = new CofferOptions { Data = "", Listen = "http://127.0.0.1:0" };
        using var log = new ServerLog(options.Log, Stream.Null, TimeProvider.System);
        using var app = Listeners.Build(options, TimeProvider.System, log: log);
        var logs = app.Services.GetRequiredService<ILoggerFactory>();
        Assert.True(logs.CreateLogger<Engine>().IsEnabled(LogLevel.Information)); // a loop is no longer behind
        Assert.False(logs.CreateLogger("Microsoft.AspNetCore.Server.Kestrel").IsEnabled(LogLevel.Information));
    }

    private static async Task<Instance> CreateAsync(TemporaryDirectory directory, Committer committer, ManualTime time)
    {
        KeyFile.Create(directory.File("coffer.key"), time.Now);
        var (instance, rows) = await Instance.CreateAsync(
            KeyWrappers.OfFile(directory.File("coffer.key")), time.Seconds, default);
        await committer.CommitAsync(new Change.Plain(rows));
        return instance;
    }
}
