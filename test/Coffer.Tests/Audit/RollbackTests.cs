using System.Text.Json;
using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Settings;
using Coffer.Storage;

namespace Coffer.Tests.Audit;

/// <summary>
/// Yesterday's store beside today's checkpoints: noticed at the start, and served only if its loss is accepted by
/// name.
/// </summary>
[Trait("Firm ground", "12")]
public sealed class RollbackTests : IAsyncLifetime
{
    private TestServer server = null!;

    private string Checkpoints => Path.Combine(server.Data, "audit-checkpoints.jsonl");

    // Eleven entries yesterday, sixteen today.
    public async ValueTask InitializeAsync()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "a file is copied");
        server = await TestServer.StartAsync();
        await SetAsync(8);
        await server.StopAsync();
        File.Copy(server.StoreFile, server.StoreFile + ".yesterday");
        server.Time.Move(TimeSpan.FromDays(1));
        await server.StartAgainAsync();
        await SetAsync(5);
        await server.StopAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (server is not null)
            await server.DisposeAsync();
    }

    [Fact]
    public async Task An_old_copy_is_refused_with_what_was_found_and_left_as_it_is()
    {
        PutBack();
        var before = File.ReadAllBytes(server.StoreFile);
        var refused = await RefusedAsync();
        Assert.Contains("the store is older than its checkpoints: the audit log of node_1 ends at entry 11, but at 20",
            refused.Message, StringComparison.Ordinal);
        Assert.Contains("it had 16", refused.Message, StringComparison.Ordinal);
        Assert.Contains("start once with --accept-rollback node_1:11:", refused.Hint, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(server.StoreFile));

        // The newest copy is what it asks for: that starts.
        File.Copy(server.StoreFile + ".today", server.StoreFile, overwrite: true);
        await server.StartAgainAsync();
    }

    [Theory]
    [InlineData("node_1", 12)]
    [InlineData("node_1", 10)]
    [InlineData("node_1", 16)]
    [InlineData("node_2", 11)]
    public async Task Another_pair_than_what_was_found_accepts_nothing(string node, long sequence)
    {
        PutBack();
        var refused = await RefusedAsync(new AcceptedRollback(node, sequence));
        Assert.Contains($"--accept-rollback {node}:{sequence} is not what was found", refused.Message,
            StringComparison.Ordinal);
        Assert.Contains("start once with --accept-rollback node_1:11:", refused.Hint, StringComparison.Ordinal);
        await RefusedAsync(new AcceptedRollback("node_1", 11), new AcceptedRollback(node, sequence));
    }

    [Fact]
    public async Task What_is_accepted_is_in_the_log_and_the_verification_knows_it_from_then_on()
    {
        PutBack();
        Assert.Contains("ends at entry 11", Assert.Single((await VerifyAsync()).Problems), StringComparison.Ordinal);
        await AcceptAsync();
        await SetAsync(3);

        // Beside the running server, after it, after a crash of which the last checkpoint is all that is left, and
        // exported.
        Assert.Empty((await VerifyAsync()).Problems);
        await server.StopAsync();
        var report = await VerifyAsync();
        Assert.Empty(report.Problems);
        Assert.Equal((11 + 1 + 3, 1), (report.Entries, report.Excused));
        Assert.StartsWith("the log of node_1 went back from entry 16 to entry 11: accepted at 20",
            Assert.Single(report.Rollbacks), StringComparison.Ordinal);
        var entry = JsonElement.Parse((await AuditArchive.ListAsync(server.Data,
            new(null, null, "accept_rollback", null, null, null, null), 2, default)).Single());
        Assert.Equal((12, "ok", "node_1"), (entry.GetProperty("seq").GetInt32(),
            entry.GetProperty("outcome").GetString(), entry.GetProperty("target").GetString()));
        Assert.Equal((1, 16, 11), (entry.GetProperty("rollback").GetInt32(), entry.GetProperty("from").GetInt32(),
            entry.GetProperty("to").GetInt32()));

        var export = Path.Combine(server.Data, "export");
        await using (var file = new StreamWriter(export))
            await AuditArchive.ExportAsync(server.Data, file, default);
        var offline = await Exports.VerifyAsync(export, Path.Combine(server.Data, "coffer.key"), Checkpoints);
        Assert.Empty(offline.Problems);
        Assert.Equal(report.Rollbacks, offline.Rollbacks);
    }

    [Fact]
    public async Task The_flag_is_of_one_start()
    {
        PutBack();
        await AcceptAsync();
        await server.StopAsync();
        var refused = await RefusedAsync(new AcceptedRollback("node_1", 11));
        Assert.Contains("there is no roll-back to accept", refused.Message, StringComparison.Ordinal);
        Assert.Contains("--accept-rollback node_1:11", refused.Message, StringComparison.Ordinal);
        await server.StartAgainAsync();
        await server.StopAsync();
        Assert.Empty((await VerifyAsync()).Problems);
    }

    [Fact]
    public async Task A_crash_right_after_the_acceptance_leaves_it_accepted()
    {
        PutBack();
        var before = File.ReadAllText(Checkpoints);
        await AcceptAsync();
        await server.StopAsync();
        File.WriteAllText(Checkpoints, before); // as if it had died before it could write one
        await server.StartAgainAsync();
        await server.StopAsync();
        Assert.Empty((await VerifyAsync()).Problems);
    }

    [Fact]
    public async Task A_copy_of_before_the_acceptance_is_an_old_one_again_and_may_be_accepted_again()
    {
        PutBack();
        await AcceptAsync();
        await server.StopAsync();
        PutBack();
        var refused = await RefusedAsync();
        Assert.Contains("--accept-rollback node_1:11", refused.Hint, StringComparison.Ordinal);
        await AcceptAsync();
        await SetAsync(1);
        await server.StopAsync();
        var report = await VerifyAsync();
        Assert.Empty(report.Problems);
        // The first acceptance went with what was lost: the second one, which is the second by number, stands for both.
        Assert.Contains("as its roll-back 2", Assert.Single(report.Rollbacks), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_lost_after_an_acceptance_is_not_excused_by_it()
    {
        PutBack();
        await AcceptAsync();
        await SetAsync(2);
        await server.StopAsync();
        File.Copy(server.StoreFile, server.StoreFile + ".accepted");
        await server.StartAgainAsync();
        await SetAsync(4);
        await server.StopAsync();
        Assert.Equal(18, LastOf(Checkpoints));

        // By what was lost the first time, 16, nothing would be missing.
        File.Copy(server.StoreFile + ".accepted", server.StoreFile, overwrite: true);
        Assert.Contains("ends at entry 14, but", (await RefusedAsync()).Message, StringComparison.Ordinal);
        Assert.Contains("ends at entry 14, but", Assert.Single((await VerifyAsync()).Problems),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_old_copy_that_was_used_elsewhere_is_refused_however_far_it_has_come()
    {
        PutBack();
        await server.StartAgainAsync(checkpoints: Checkpoints + ".elsewhere");
        await SetAsync(9);
        await server.StopAsync();
        var refused = await RefusedAsync();
        Assert.Contains("entry 16 of node_1 is not the one that at 20", refused.Message, StringComparison.Ordinal);
        Assert.Contains("--accept-rollback node_1:20", refused.Hint, StringComparison.Ordinal);
        await server.StartAgainAsync(accepted: new AcceptedRollback("node_1", 20));
        await server.StopAsync();
        var report = await VerifyAsync();
        Assert.Empty(report.Problems);
        Assert.Equal(1, report.Excused);
    }

    [Theory]
    [InlineData("DELETE FROM meta WHERE key = 'audit rollbacks node_1'", "has no roll-back 1", "ends at entry 12, but",
        "accepts roll-back 1 of node_1, which is not in the list")]
    [InlineData("UPDATE meta SET value = zeroblob(104) WHERE key = 'audit rollbacks node_1'",
        "was not written by this store", "was not written by this store")]
    [InlineData("UPDATE meta SET value = substr(value, 73) WHERE key = 'audit rollbacks node_1'",
        "was not written by this store", "was not written by this store")]
    public async Task An_acceptance_that_was_edited_or_taken_away_is_found(string sql, string atStart,
        params string[] byVerification)
    {
        PutBack();
        await AcceptAsync();
        await server.StopAsync();
        Execute(sql);
        Assert.Contains(atStart, (await RefusedAsync()).Message, StringComparison.Ordinal);
        var problems = (await VerifyAsync()).Problems;
        Assert.All(byVerification, expected => Assert.Contains(problems, problem =>
            problem.Contains(expected, StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Who_writes_the_database_cannot_make_an_acceptance()
    {
        // All that an attacker may have: copies of every day, and the one acceptance that an operator made.
        PutBack();
        await AcceptAsync();
        await server.StopAsync();
        var accepted = Value("SELECT hex(value) FROM meta WHERE key = 'audit rollbacks node_1'");
        var entry = Value("SELECT hex(entries) || ',' || hex(mac) FROM audit WHERE first = 12").Split(',');

        // Yesterday's copy with it, and with its entry: the log still ends before the checkpoint of after the
        // acceptance does.
        PutBack();
        File.AppendAllText(Checkpoints, File.ReadAllText(Checkpoints));
        Execute($"INSERT INTO meta (key, value) VALUES ('audit rollbacks node_1', x'{accepted}')");
        Assert.Contains("ends at entry 11", (await RefusedAsync()).Message, StringComparison.Ordinal);

        // Today's copy, of which nothing was lost, with it: what was accepted is of another log.
        File.Copy(server.StoreFile + ".today", server.StoreFile, overwrite: true);
        Execute($"INSERT INTO meta (key, value) VALUES ('audit rollbacks node_1', x'{accepted}')");
        await RefusedAsync();

        // Made up, and another node's.
        PutBack();
        Execute("INSERT INTO meta (key, value) VALUES ('audit rollbacks node_1', zeroblob(104))");
        Assert.Contains("was not written by this store", (await RefusedAsync()).Message, StringComparison.Ordinal);
        PutBack();
        Execute($"INSERT INTO meta (key, value) VALUES ('audit rollbacks node_2', x'{accepted}')");
        Assert.Contains("ends at entry 11", (await RefusedAsync()).Message, StringComparison.Ordinal);
        Assert.Contains((await VerifyAsync()).Problems, problem =>
            problem.Contains("roll-backs of node_2 was not written by this store", StringComparison.Ordinal));
        Assert.NotEmpty(entry);
    }

    [Fact]
    public async Task A_store_that_is_gone_is_not_made_anew_beside_its_checkpoints()
    {
        File.Delete(server.StoreFile);
        var refused = await RefusedAsync();
        Assert.Contains("there is no store, but", refused.Message, StringComparison.Ordinal);
        Assert.Contains("move that file away", refused.Hint, StringComparison.Ordinal);
        await RefusedAsync(new AcceptedRollback("node_1", 0));
        File.Move(Checkpoints, Checkpoints + ".old");
        var anchor = Path.Combine(server.Data, "coffer.anchor");
        Assert.Contains($"{anchor} says that there was one", (await RefusedAsync()).Message, StringComparison.Ordinal);
        File.Move(anchor, anchor + ".old");
        await server.StartAgainAsync();
    }

    [Fact]
    public async Task A_missing_a_torn_and_an_empty_file_start_as_ever_and_a_long_one_is_read_from_its_end()
    {
        var line = File.ReadAllLines(Checkpoints)[^1];
        PutBack();
        foreach (var content in (string?[])[null, "", "\n\n", line[..60], line[..60] + "\n"])
        {
            File.Delete(Checkpoints);
            if (content is not null)
                File.WriteAllText(Checkpoints, content);
            await server.StartAgainAsync(checkpoints: Checkpoints);
            await server.StopAsync();
            Assert.Equal(content ?? "", File.Exists(Checkpoints) ? File.ReadAllText(Checkpoints) : "");
        }

        // Of a hundred megabytes the last lines count, and what is torn behind them does not.
        await using (var file = new StreamWriter(Checkpoints))
        {
            for (var i = 0; i < 100; i++)
                await file.WriteLineAsync(new string('x', 1_000_000));
            await file.WriteLineAsync(line);
            await file.WriteAsync(line[..60]);
        }

        var before = GC.GetTotalAllocatedBytes();
        Assert.Contains("it had 16", (await RefusedAsync()).Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetTotalAllocatedBytes() - before, 0, 50_000_000);
    }

    [Fact]
    public async Task A_line_that_this_store_did_not_sign_is_named_and_counts_for_nothing()
    {
        var line = File.ReadAllLines(Checkpoints)[^1];
        File.WriteAllText(Checkpoints, line.Replace("\"seq\":16", "\"seq\":99", StringComparison.Ordinal) + "\n");
        var log = new KeptLog<OldStore>();
        await server.OnStoreAsync((engine, _, instance) =>
        {
            var keys = AuditKeys.Of(instance);
            return Task.FromResult(new OldStore(engine, keys, Checkpoints, server.Time, log).Check([]) is null);
        });
        Assert.Contains("a checkpoint that this store did not sign: node_1, entry 99", Assert.Single(log.Texts),
            StringComparison.Ordinal);
        await server.StartAgainAsync();
    }

    [Fact]
    public async Task A_store_of_before_is_held_against_its_checkpoints_of_before()
    {
        var fixture = Repository.File("test/fixtures/sqlite-2");
        Directory.CreateDirectory(Path.Combine(server.Data, "before"));
        var options = new CofferOptions { Data = Path.Combine(server.Data, "before"), Listen = "http://127.0.0.1:0" };
        var (store, key, checkpoints) = DataDirectory.FilesOf(options.Data);
        File.Copy(Path.Combine(fixture, "store.db"), store);
        File.Copy(Path.Combine(fixture, "coffer.key"), key);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(key, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.Copy(Path.Combine(fixture, "audit-checkpoints.jsonl"), checkpoints);
        await using (await Server.StartAsync(options, TimeProvider.System, default))
            Assert.Empty((await AuditArchive.VerifyStoreAsync(options.Data, null, default)).Problems);

        using (var connection = StoreEdits.Connect(store))
        {
            using var command = connection.CreateCommand();
            command.CommandText = "DELETE FROM audit WHERE last >= 30";
            Assert.NotEqual(0, command.ExecuteNonQuery());
        }

        var checkpoint = File.ReadLines(Path.Combine(fixture, "audit-checkpoints.jsonl")).Last();
        Assert.Contains("\"checkpoint\":1", checkpoint, StringComparison.Ordinal);
        File.WriteAllText(checkpoints, checkpoint + "\n");
        var refused = await Assert.ThrowsAsync<ConfigurationException>(
            () => Server.StartAsync(options, TimeProvider.System, default));
        Assert.Contains("it had 30", refused.Message, StringComparison.Ordinal);
    }

    private async Task SetAsync(int count)
    {
        for (var i = 0; i < count; i++)
            (await server.Client().Set($"k{i}", "payload")).IsOk();
    }

    private void PutBack()
    {
        if (!File.Exists(server.StoreFile + ".today"))
            File.Copy(server.StoreFile, server.StoreFile + ".today");
        File.Copy(server.StoreFile + ".yesterday", server.StoreFile, overwrite: true);
    }

    private Task AcceptAsync() => server.StartAgainAsync(accepted: new AcceptedRollback("node_1", 11));

    private Task<ConfigurationException> RefusedAsync(params AcceptedRollback[] accepted) =>
        Assert.ThrowsAsync<ConfigurationException>(() => server.StartAgainAsync(accepted: accepted));

    private Task<AuditArchive.AuditReport> VerifyAsync() => AuditArchive.VerifyStoreAsync(server.Data, null, default);

    private static long LastOf(string checkpoints) => JsonElement.Parse(File.ReadAllLines(checkpoints)[^1])
        .GetProperty("seq").GetInt64();

    private void Execute(string sql) => Assert.NotEqual("0", Value(sql + " RETURNING 1"));

    private string Value(string sql)
    {
        using var connection = StoreEdits.Connect(server.StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar()?.ToString() ?? "0";
    }
}
