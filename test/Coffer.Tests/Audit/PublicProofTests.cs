using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Audit;

/// <summary>
/// With rows, checkpoints and the public key anybody proves all that was recorded up to the last checkpoint, and finds
/// the first place that was changed; nobody without the root key is believed about the rest.
/// </summary>
[Trait("Keys", "S13")]
public sealed class PublicProofTests : ProvenLogTests
{
    [Fact]
    public async Task All_up_to_the_last_checkpoint_is_proven_to_who_has_the_public_key_alone()
    {
        var key = await StopAsync();
        var report = await PublicProofs.VerifyAsync(Server.Data, key);
        Assert.Empty(report.Problems);
        Assert.Equal((true, 11, 1), (report.IsPublic, report.Entries, report.Checkpoints));
        Assert.Equal(["entries 1 to 11 of node_1"], report.Proven);
        Assert.Empty(report.Unproven);
        Assert.Empty(report.Segments);

        var export = await PublicProofs.ExportAsync(Server.Data);
        var offline = await AuditArchive.VerifyExportAsync(export, null, Checkpoints, default, key);
        Assert.Empty(offline.Problems);
        Assert.Equal(report.Proven, offline.Proven);
        var withoutCheckpoints = await AuditArchive.VerifyExportAsync(export, null, null, default, key);
        Assert.Empty(withoutCheckpoints.Problems);
        Assert.Empty(withoutCheckpoints.Proven);
        Assert.Equal(["entries 1 to 11 of node_1"], withoutCheckpoints.Unproven);
    }

    [Theory]
    [InlineData("UPDATE audit SET entries = replace(entries, '\"ok\"', '\"no\"') WHERE first = 6",
        "entries 6 to 6 of node_1 were changed")]
    [InlineData("UPDATE audit SET entries = substr(entries, 1, length(entries) - 2) WHERE first = 6",
        "entries 6 to 6 of node_1 were changed")]
    [InlineData("UPDATE audit SET last = 7 WHERE first = 6", "entries 6 to 7 of node_1 were changed")]
    [InlineData("UPDATE audit SET public = NULL WHERE first = 6", "entries 7 to 7 of node_1 were changed")]
    [InlineData("UPDATE audit SET public = substr(public, 1, 63) WHERE first = 6",
        "entries 6 to 6 of node_1 were changed")]
    [InlineData("UPDATE audit SET public = zeroblob(16) || substr(public, 17) WHERE first = 6",
        "entries 6 to 6 of node_1 were changed")]
    [InlineData("UPDATE audit SET public = NULL WHERE first = 11", "entry 11 of node_1 has lost the public proof")]
    [InlineData("DELETE FROM audit WHERE first = 6", "entries 6 to 6 of node_1 are missing")]
    [InlineData("DELETE FROM audit WHERE first = 1", "entries 1 to 3 of node_1 are missing")]
    [InlineData("INSERT INTO audit (node, first, last, mac, entries, public) SELECT node, first, last, mac, entries, "
        + "public FROM audit WHERE first = 6", "entry 6 of node_1 stands where entry 12 should")]
    [InlineData("UPDATE audit SET row = 1000 - row WHERE first > 3", "entries 4 to 10 of node_1 are missing")]
    [InlineData("DELETE FROM audit WHERE first > 8", "its tail was cut, or an old copy was put back")]
    [InlineData("DELETE FROM audit", "its tail was cut, or an old copy was put back")]
    public async Task What_is_done_to_a_row_is_named_without_the_root_key(string sql, string expected)
    {
        var key = await StopAsync();
        PublicProofs.Execute(Server.StoreFile, sql);
        Assert.Contains(expected, Assert.Single((await PublicProofs.VerifyAsync(Server.Data, key)).Problems),
            StringComparison.Ordinal);
        var export = await PublicProofs.ExportAsync(Server.Data);
        Assert.Contains(expected, Assert.Single((await AuditArchive.VerifyExportAsync(
            export, null, Checkpoints, default, key)).Problems), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("UPDATE audit SET entries = replace(entries, '\"ok\"', '\"no\"') WHERE first = 6")]
    [InlineData("UPDATE audit SET row = -row, first = 17 - first, last = 17 - last WHERE first IN (8, 9); "
        + "UPDATE audit SET row = 13 + row WHERE row < 0")]
    [InlineData("UPDATE audit SET row = row * 10, first = first + (first > 6), last = last + (first > 6); "
        + "INSERT INTO audit (row, node, first, last, mac, entries, public) SELECT row + 1, node, first + 1, "
        + "last + 1, mac, entries, public FROM audit WHERE first = 6")]
    [InlineData("DELETE FROM audit WHERE first = 6; UPDATE audit SET first = first - 1, last = last - 1 "
        + "WHERE first > 6; INSERT INTO audit (node, first, last, mac, entries, public) SELECT node, 11, 11, mac, "
        + "entries, public FROM audit WHERE first = 10")]
    [InlineData("UPDATE audit SET public = substr(public, 1, 48) || zeroblob(16) WHERE first > 6")]
    public async Task Who_hashes_an_edited_log_again_does_not_get_past_a_checkpoint(string sql)
    {
        var key = await StopAsync();
        PublicProofs.Execute(Server.StoreFile, sql);
        PublicProofs.HashAgain(Server.StoreFile);
        var report = await PublicProofs.VerifyAsync(Server.Data, key);
        Assert.Contains(report.Problems, problem =>
            problem.Contains("entry 11 of node_1 is not the one that the checkpoint of", StringComparison.Ordinal));
        Assert.Empty(report.Proven);
        Assert.NotEmpty((await AuditArchive.VerifyStoreAsync(Server.Data, null, default)).Problems);
    }

    [Fact]
    public async Task What_comes_after_the_last_checkpoint_is_said_to_be_unproven_and_needs_the_root_key()
    {
        var key = await StopAsync();
        var known = await File.ReadAllTextAsync(Checkpoints, TestContext.Current.CancellationToken);
        await Server.StartAgainAsync();
        await SetAsync(2);
        await Server.StopAsync();
        await File.WriteAllTextAsync(Checkpoints, known, TestContext.Current.CancellationToken);
        PublicProofs.Execute(Server.StoreFile,
            "UPDATE audit SET entries = replace(entries, '\"ok\"', '\"no\"') WHERE first = 12");
        PublicProofs.HashAgain(Server.StoreFile);
        var report = await PublicProofs.VerifyAsync(Server.Data, key);
        Assert.Empty(report.Problems);
        Assert.Equal(["entries 1 to 11 of node_1"], report.Proven);
        Assert.Equal(["entries 12 to 13 of node_1"], report.Unproven);
        Assert.Contains("entries 12 to 12 of node_1 were changed",
            Assert.Single((await AuditArchive.VerifyStoreAsync(Server.Data, null, default)).Problems),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Where_retention_has_cut_is_signed_and_the_rest_is_proven_from_there()
    {
        Server.Time.Move(TimeSpan.FromDays(31));
        await SetAsync(1);
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            await new Retention(engine, committer, AuditKeys.Of(instance), static () => TimeSpan.FromDays(30),
                Server.Time,
                NullLogger<Retention>.Instance).SweepAsync(default);
            return true;
        });
        await Server.StartAgainAsync();
        await SetAsync(1);
        var key = await StopAsync();
        var report = await PublicProofs.VerifyAsync(Server.Data, key);
        Assert.Empty(report.Problems);
        Assert.Equal(["entries 12 to 14 of node_1"], report.Proven);
        Assert.Empty(report.Segments);
        var export = await PublicProofs.ExportAsync(Server.Data);
        Assert.Empty((await AuditArchive.VerifyExportAsync(export, null, Checkpoints, default, key)).Problems);

        // No byte of it can be another, but those of the MAC, for which it takes the root key.
        foreach (var at in (int[])[7, 8, 40, 72, 80, 91, 92, 155])
        {
            PublicProofs.Edit(Server.StoreFile, "audit cut node_1", at);
            Assert.Contains("was not written by this store",
                (await PublicProofs.VerifyAsync(Server.Data, key)).Problems[0], StringComparison.Ordinal);
            PublicProofs.Edit(Server.StoreFile, "audit cut node_1", at);
        }

        Assert.Empty((await PublicProofs.VerifyAsync(Server.Data, key)).Problems);
    }

    [Fact]
    public async Task A_cut_of_before_is_signed_when_its_log_is_bridged_and_proves_nothing_until_then()
    {
        await Server.StopAsync();
        MakeOld();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            // Of the form that a release before writes: after the third entry, which is the end of the first row.
            var row = (await engine.ListAuditAsync(0, newestFirst: false, 1, default))[0].Row;
            await committer.CommitAsync(new Change.Plain(
                new RowWrite.PutMeta("audit cut node_1", OldCut(instance, [0, 0, 0, 0, 0, 0, 0, 3, .. row.Mac])),
                new RowWrite.PruneAudit(1)));
            return true;
        });
        var key = await PublicProofs.KeepAsync(Server.Data);
        Assert.Empty((await AuditArchive.VerifyStoreAsync(Server.Data, null, default)).Problems);
        Assert.Contains("the note of where the log of node_1 begins is not signed: only the root key proves it",
            (await PublicProofs.VerifyAsync(Server.Data, key)).Problems);
        await Server.StartAgainAsync();
        await SetAsync(1);
        await Server.StopAsync();
        var report = await PublicProofs.VerifyAsync(Server.Data, key);
        Assert.Empty(report.Problems);
        Assert.Equal(("entries 12 to 13 of node_1", "entries 4 to 11 of node_1"),
            (Assert.Single(report.Proven), Assert.Single(report.Unproven)));

        // One that is made up, after what a checkpoint has proven, hides nothing.
        PublicProofs.Execute(Server.StoreFile, "DELETE FROM audit; UPDATE meta SET value = x'000000000000000d' || "
            + "zeroblob(64) WHERE key = 'audit cut node_1'");
        Assert.Contains("is not signed: only the root key proves it",
            (await PublicProofs.VerifyAsync(Server.Data, key)).Problems[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_log_of_before_is_verified_once_and_provable_from_then_on()
    {
        await Server.StopAsync();
        MakeOld();
        await Server.StartAgainAsync();
        await SetAsync(1);
        var key = await StopAsync();
        await Server.StartAgainAsync();
        await SetAsync(1);
        await Server.StopAsync();
        foreach (var report in (AuditArchive.AuditReport[])[
            await PublicProofs.VerifyAsync(Server.Data, key),
            await AuditArchive.VerifyStoreAsync(Server.Data, null, default)])
        {
            Assert.Empty(report.Problems);
            Assert.StartsWith("from entry 12 on the log of node_1 is provable without the root key",
                Assert.Single(report.Segments), StringComparison.Ordinal);
            Assert.EndsWith(": begin_segment, ok)", report.Segments[0], StringComparison.Ordinal);
            Assert.Equal(["entries 12 to 14 of node_1"], report.Proven);
            Assert.Equal(["entries 1 to 11 of node_1"], report.Unproven);
        }

        // What is before it is bound as it was found: an edit without the root key is found with the public one.
        PublicProofs.Execute(Server.StoreFile, "UPDATE audit SET mac = zeroblob(32) WHERE first = 11");
        Assert.Contains("entries 12 to 12 of node_1 were changed",
            Assert.Single((await PublicProofs.VerifyAsync(Server.Data, key)).Problems), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_log_of_before_that_was_edited_starts_and_says_so_in_the_entry_that_bridges_it()
    {
        await Server.StopAsync();
        MakeOld();
        PublicProofs.Execute(Server.StoreFile,
            "UPDATE audit SET entries = replace(entries, '\"ok\"', '\"no\"') WHERE first = 6");
        await Server.StartAgainAsync();
        var key = await StopAsync();
        var report = await PublicProofs.VerifyAsync(Server.Data, key);
        Assert.Empty(report.Problems);
        Assert.Contains("begin_segment, damaged, entries 6 to 6 of node_1 were changed",
            Assert.Single(report.Segments), StringComparison.Ordinal);
        Assert.Contains("entries 6 to 6 of node_1 were changed",
            Assert.Single((await AuditArchive.VerifyStoreAsync(Server.Data, null, default)).Problems),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_no_public_key_and_that_of_another_store_are_refused_or_prove_nothing()
    {
        var key = await StopAsync();
        var wrong = Path.Combine(Server.Data, "wrong.pem");
        foreach (var text in (string[])["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            (await File.ReadAllTextAsync(key, TestContext.Current.CancellationToken))
                .Replace("PUBLIC KEY", "PRIVATE KEY", StringComparison.Ordinal)])
        {
            await File.WriteAllTextAsync(wrong, text, TestContext.Current.CancellationToken);
            Assert.Contains("is not a public key as coffer audit public-key shows it",
                (await Assert.ThrowsAsync<ConfigurationException>(
                    () => PublicProofs.VerifyAsync(Server.Data, wrong))).Message, StringComparison.Ordinal);
        }

        await using var other = await TestServer.StartAsync(isOther: true);
        await other.StopAsync();
        var report = await PublicProofs.VerifyAsync(Server.Data, await PublicProofs.KeepAsync(other.Data));
        Assert.Contains("is not a checkpoint that this store signed", Assert.Single(report.Problems),
            StringComparison.Ordinal);
        Assert.Empty(report.Proven);

        // As others write it, without the line that says which it is.
        var plain = (await File.ReadAllTextAsync(key, TestContext.Current.CancellationToken)).Split('\n', 2)[1];
        await File.WriteAllTextAsync(wrong, plain, TestContext.Current.CancellationToken);
        Assert.NotEmpty((await PublicProofs.VerifyAsync(Server.Data, wrong)).Proven);
    }

    [Fact]
    public async Task The_server_shows_the_same_public_key_to_everybody()
    {
        var answer = await Server.SendAsync(new HttpRequestMessage(
            HttpMethod.Get, new Uri("/.well-known/coffer-audit-key", UriKind.Relative)));
        Assert.Equal((200, "application/x-pem-file"), (answer.Status, answer.Header("Content-Type")));
        var key = await StopAsync();
        Assert.Equal(await File.ReadAllTextAsync(key, TestContext.Current.CancellationToken), answer.Text);
        Assert.Matches(@"\ACoffer store [0-9a-f]{32}, signing key 1\n-----BEGIN PUBLIC KEY-----\n", answer.Text);
    }

    private static byte[] OldCut(Instance instance, byte[] stated)
    {
        using var bound = new AssociatedData("coffer v1 audit cut"u8);
        bound.Add(instance.Id);
        bound.Add("node_1");
        bound.Add(stated);
        return [.. stated, .. instance.Peppers.Newest.Audit.Compute(bound.Span)];
    }

    // As a release before has left it: no row has a public chain, and no checkpoint names one.
    private void MakeOld()
    {
        PublicProofs.Execute(Server.StoreFile, "UPDATE audit SET public = NULL; DELETE FROM meta WHERE key IN "
            + $"('{PublicKeys.MetaKey}')");
        File.Delete(Checkpoints);
    }
}
