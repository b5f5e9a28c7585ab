using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Audit;

/// <summary>Whatever is done to the log by hand is found, with the place where it begins.</summary>
public sealed class VerificationTests : ServerTests
{
    private string Export => Path.Combine(Server.Data, "export.jsonl");

    private string KeyFile => Path.Combine(Server.Data, "coffer.key");

    private string Checkpoints => Path.Combine(Server.Data, "audit-checkpoints.jsonl");

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        for (var i = 0; i < 8; i++)
            (await Server.Client().Set($"k{i}")).IsOk();
    }

    [Fact]
    public async Task An_untouched_log_verifies_beside_the_running_server_after_it_and_offline()
    {
        Assert.Empty((await VerifyAsync()).Problems);
        await Server.StopAsync();
        var report = await VerifyAsync();
        Assert.Empty(report.Problems);
        Assert.Equal((3 + 8, 1), (report.Entries, report.Checkpoints));

        await ExportAsync();
        var offline = await Exports.VerifyAsync(Export, KeyFile, Checkpoints);
        Assert.Empty(offline.Problems);
        Assert.Equal((report.Entries, 1), (offline.Entries, offline.Checkpoints));
    }

    [Fact]
    public async Task The_chain_goes_on_over_restarts()
    {
        await Server.StopAsync();
        await Server.StartAgainAsync();
        await Server.Client().Delete("k0");
        await Server.StopAsync();
        var report = await VerifyAsync();
        Assert.Empty(report.Problems);
        Assert.Equal((3 + 8 + 1, 2), (report.Entries, report.Checkpoints));
    }

    [Theory]
    [InlineData(
        "UPDATE audit SET entries = replace(entries, '\"outcome\":\"ok\"', '\"outcome\":\"no\"') WHERE first = 6",
        "entries 6 to 6 of node_1 were changed")]
    [InlineData("UPDATE audit SET entries = substr(entries, 1, length(entries) - 2) WHERE first = 6",
        "entries 6 to 6 of node_1 were changed")]
    [InlineData("UPDATE audit SET mac = zeroblob(32) WHERE first = 6", "entries 6 to 6 of node_1 were changed")]
    [InlineData("UPDATE audit SET last = 7 WHERE first = 6", "entries 6 to 7 of node_1 were changed")]
    [InlineData("DELETE FROM audit WHERE first = 6", "entries 6 to 6 of node_1 are missing")]
    [InlineData("DELETE FROM audit WHERE first BETWEEN 5 AND 7", "entries 5 to 7 of node_1 are missing")]
    [InlineData("DELETE FROM audit WHERE first = 1", "entries 1 to 3 of node_1 are missing")]
    [InlineData(
        "INSERT INTO audit (node, first, last, mac, entries) SELECT node, first, last, mac, entries FROM audit WHERE "
            + "first = 6",
        "entry 6 of node_1 stands where entry 12 should")]
    [InlineData("UPDATE audit SET row = 1000 - row WHERE first > 3", "entries 4 to 10 of node_1 are missing")]
    [InlineData("UPDATE audit SET entries = (SELECT a.entries FROM audit a WHERE a.first = 7) WHERE first = 6",
        "entries 6 to 6 of node_1 were changed")]
    [InlineData("DELETE FROM audit WHERE first > 8", "its tail was cut, or an old copy was put back")]
    [InlineData("DELETE FROM audit", "its tail was cut, or an old copy was put back")]
    public async Task Tampering_is_found_with_its_place(string sql, string expected)
    {
        await Server.StopAsync();
        Execute(sql);
        Assert.Contains(expected, Assert.Single((await VerifyAsync()).Problems), StringComparison.Ordinal);
        await ExportAsync();
        Assert.Contains(expected, Assert.Single((await Exports.VerifyAsync(Export, KeyFile, Checkpoints)).Problems),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Yesterdays_database_put_back_is_found_even_after_it_was_used_again()
    {
        await Server.StopAsync();
        File.Copy(Server.StoreFile, Server.StoreFile + ".yesterday");
        await Server.StartAgainAsync();
        for (var i = 0; i < 5; i++)
            (await Server.Client().Set($"k{i}", "today")).IsOk();
        await Server.StopAsync();

        File.Move(Server.StoreFile + ".yesterday", Server.StoreFile, overwrite: true);
        Assert.Contains("its tail was cut, or an old copy was put back", Assert.Single((await VerifyAsync()).Problems),
            StringComparison.Ordinal);

        // It does not start beside them: it is used again where they are not.
        await Server.StartAgainAsync(checkpoints: Checkpoints + ".elsewhere");
        for (var i = 0; i < 9; i++)
            (await Server.Client().Set($"k{i}", "the day after")).IsOk();
        await Server.StopAsync();
        Assert.Contains("the log was written again", Assert.Single((await VerifyAsync()).Problems),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_left_after_retention_verifies_and_a_cut_by_hand_does_not()
    {
        Server.Time.Move(TimeSpan.FromDays(31));
        (await Server.Client().Set("k1", "a month later")).IsOk();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            await NewRetention(engine, committer, instance).SweepAsync(default);
            return true;
        });

        // Of 12 entries the 11 old ones are gone; the young one and the one about the removal are left.
        var report = await VerifyAsync();
        Assert.Empty(report.Problems);
        Assert.Equal((2, 1), (report.Entries, report.Checkpoints));
        var newest = (await AuditArchive.ListAsync(Server.Data, new(null, null, null, null, null, null, null), 1,
            default))[0];
        Assert.Contains("\"verb\":\"prune_audit\",\"outcome\":\"ok\",\"count\":11", newest, StringComparison.Ordinal);
        await ExportAsync();
        Assert.Empty((await Exports.VerifyAsync(Export, KeyFile, Checkpoints)).Problems);

        Execute("DELETE FROM audit WHERE first = 12");
        Assert.Contains("entries 12 to 12 of node_1 are missing", Assert.Single((await VerifyAsync()).Problems),
            StringComparison.Ordinal);
        Execute("UPDATE meta SET value = zeroblob(72) WHERE key = 'audit cut node_1'");
        Assert.Contains("was not written by this store", Assert.Single((await VerifyAsync()).Problems),
            StringComparison.Ordinal);
        Execute("DELETE FROM meta WHERE key = 'audit cut node_1'");
        Assert.Contains("are missing", Assert.Single((await VerifyAsync()).Problems), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_made_up_or_edited_checkpoint_is_found()
    {
        await Server.StopAsync();
        var line = File.ReadAllText(Checkpoints);
        File.AppendAllText(Checkpoints, line.Replace("\"seq\":11", "\"seq\":10", StringComparison.Ordinal));
        Assert.Contains("line 2 of the checkpoints", Assert.Single((await VerifyAsync()).Problems),
            StringComparison.Ordinal);

        // A line that a crash tore is skipped, and the next checkpoint is whole.
        File.WriteAllText(Checkpoints, line[..40]);
        await Server.StartAgainAsync();
        await Server.Client().Delete("k0");
        await Server.StopAsync();
        var healed = await VerifyAsync();
        Assert.Empty(healed.Problems);
        Assert.Equal(1, healed.Checkpoints);
    }

    [Fact]
    public async Task An_export_that_was_edited_or_cut_is_found()
    {
        await Server.StopAsync();
        await ExportAsync();
        var lines = File.ReadAllLines(Export);
        foreach (var (edit, expected) in ((Func<string[]>, string)[])[
            (() => [
                .. lines.Select(
                    (line, i) =>
                        i == 5 ? line.Replace("set", "get", StringComparison.Ordinal) : line)], "were changed"),
            (() => [.. lines[..^1]], "does not end as it was written"),
            (() => [.. lines, lines[^1]], "does not end as it was written"),
            (() => [.. lines[..^1], lines[^1].Replace("\"entries\":1", "\"entries\":2", StringComparison.Ordinal)],
                "does not end as it was written"),
            (() => [.. lines[..^3], lines[^1]], "or commits were taken out"),
            (() => [.. lines[..^2]], "entries without their seal: its end was cut off"),
            (() => [.. lines[..^3]], "its tail was cut"),
            (() => [.. lines[..5], .. lines[7..]], "are missing"),
            (() => [.. lines[..^2],
                lines[^2].Replace("{\"seal\":\"", "{\"seal\":\"zz", StringComparison.Ordinal)], "is no longer a seal"),
            (() => [.. lines[..^2], """{"seal":"00"}"""], "is no longer a seal"),
            (() => [.. lines[..^2], """{"seal":null,"node":null,"first":1,"last":1}"""], "is no longer a seal")])
        {
            File.WriteAllLines(Export, edit());
            Assert.Contains((await Exports.VerifyAsync(Export, KeyFile, Checkpoints)).Problems,
                problem => problem.Contains(expected, StringComparison.Ordinal));
        }

        File.WriteAllLines(Export, lines[1..]);
        Assert.Contains(
            "is not an exported audit log",
            (await Assert.ThrowsAsync<ConfigurationException>(
                () => Exports.VerifyAsync(Export, KeyFile, null))).Message,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("""{"coffer_audit_export":2}""")]
    [InlineData("""{"coffer_audit_export":1}""")]
    [InlineData("""{"coffer_audit_export":1,"root_keys":[],"meta":[]}""")]
    [InlineData("""{"coffer_audit_export":1,"root_keys":[null],"meta":{}}""")]
    [InlineData("""{"coffer_audit_export":1,"root_keys":[{"version":-1,"wrapped":"AA=="}],"meta":{}}""")]
    [InlineData("""{"coffer_audit_export":1,"root_keys":[{"version":1}],"meta":{}}""")]
    [InlineData("""{"coffer_audit_export":1,"root_keys":[],"meta":{"instance_id":null}}""")]
    public async Task A_file_whose_first_line_is_not_an_exports_is_refused(string first)
    {
        await Server.StopAsync();
        await ExportAsync();
        File.WriteAllLines(Export, [first, .. File.ReadAllLines(Export)[1..]]);
        Assert.Contains(
            "is not an exported audit log",
            (await Assert.ThrowsAsync<ConfigurationException>(
                () => Exports.VerifyAsync(Export, KeyFile, null))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_stores_key_file_verifies_nothing()
    {
        await Server.StopAsync();
        await ExportAsync();
        await using var other = await TestServer.StartAsync(isOther: true);
        await Assert.ThrowsAsync<ConfigurationException>(
            () => Exports.VerifyAsync(Export, Path.Combine(other.Data, "coffer.key"), null));
    }

    [Fact]
    public async Task Retention_removes_nothing_that_was_made_to_look_old()
    {
        await Server.StopAsync();
        Execute("UPDATE audit SET entries = replace(entries, '2026-', '2016-')");
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            await NewRetention(engine, committer, instance).SweepAsync(default);
            Assert.Equal(
                11,
                (await engine.ListAuditAsync(0, newestFirst: false, long.MaxValue, default)).Sum(
                    row => row.Row.Last - row.Row.First + 1));
            return true;
        });
    }

    [Fact]
    public async Task A_log_is_of_the_store_that_an_anchor_names_or_nothing_is_said_of_which_it_is()
    {
        await Server.StopAsync();
        await ExportAsync();
        await using var other = await TestServer.StartAsync(isOther: true);
        var (own, kept) = (Path.Combine(Server.Data, DataDirectory.Anchor), Path.Combine(Server.Data, "kept"));
        var foreign = Path.Combine(other.Data, DataDirectory.Anchor);
        Assert.True((await VerifyAsync()).IsAnchored);
        File.Move(own, kept);
        Assert.False((await VerifyAsync()).IsAnchored);
        Assert.False((await OfExportAsync(null)).IsAnchored);
        Assert.True((await OfStoreAsync(kept)).IsAnchored);
        Assert.True((await OfExportAsync(kept)).IsAnchored);
        foreach (var (anchor, why) in ((string, string)[])
        [
            (foreign, $"the store is not the one that {foreign} names"), (own, $"there is no anchor at {own}"),
        ])
        {
            foreach (var verify in (Func<string?, Task<AuditArchive.AuditReport>>[])[OfStoreAsync, OfExportAsync])
                Assert.Equal(why, (await Assert.ThrowsAsync<ConfigurationException>(() => verify(anchor))).Message);
        }

        Task<AuditArchive.AuditReport> OfStoreAsync(string? anchor) =>
            AuditArchive.VerifyStoreAsync(Server.Data, null, default, anchor: anchor);

        Task<AuditArchive.AuditReport> OfExportAsync(string? anchor) => AuditArchive.VerifyExportAsync(Export,
            new KeySettings([WrapperUrl.Of(Path.Combine(Server.Data, "coffer.key"))]), null, default, anchor: anchor);
    }

    private Retention NewRetention(Engine engine, Committer committer, Instance instance) => new(
        engine, committer, AuditKeys.Of(instance),
        static () => TimeSpan.FromDays(30), Server.Time, NullLogger<Retention>.Instance);

    private Task<AuditArchive.AuditReport> VerifyAsync() => AuditArchive.VerifyStoreAsync(Server.Data, null, default);

    private async Task ExportAsync()
    {
        await using var file = new StreamWriter(Export);
        await AuditArchive.ExportAsync(Server.Data, file, default);
    }

    private void Execute(string sql)
    {
        using var connection = StoreEdits.Connect(Server.StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        Assert.NotEqual(0, command.ExecuteNonQuery());
    }
}
