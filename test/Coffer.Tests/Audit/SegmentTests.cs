using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Tests.Audit;

/// <summary>
/// After a step back a log continues in a segment of its own, which says what was lost and who accepted it; and keys
/// that sign follow each other, so that an early one proves what a later one has signed.
/// </summary>
[Trait("Keys", "S13 S14")]
public sealed class SegmentTests : ProvenLogTests
{
    [Fact]
    public async Task An_accepted_roll_back_begins_a_segment_that_anybody_sees_and_nobody_can_hide()
    {
        var key = await RollBackAsync();
        var export = await PublicProofs.ExportAsync(Server.Data);
        foreach (var report in (AuditArchive.AuditReport[])[
            await AuditArchive.VerifyStoreAsync(Server.Data, null, default),
            await PublicProofs.VerifyAsync(Server.Data, key),
            await AuditArchive.VerifyExportAsync(export, null, Checkpoints, default, key)])
        {
            Assert.Empty(report.Problems);
            Assert.Matches("^from entry 12 on the log of node_1 is a new segment \\(generation [0-9a-f]{32}: "
                + "accept_rollback, ok, --accept-rollback node_1:11\\)$", Assert.Single(report.Segments));
            Assert.StartsWith("the log of node_1 went back from entry 16 to entry 11: accepted at 20",
                Assert.Single(report.Rollbacks), StringComparison.Ordinal);
            // Bound to what was found, a checkpoint after it proves what was before it too.
            Assert.Equal(["entries 1 to 13 of node_1"], report.Proven);
            Assert.Equal(1, report.Excused);
        }

        // Joined to what was before, by somebody who hashes all of it again.
        PublicProofs.Execute(Server.StoreFile, "UPDATE audit SET public = substr(public, 1, 48) || "
            + "(SELECT substr(b.public, 49) FROM audit b WHERE b.first = 1)");
        PublicProofs.HashAgain(Server.StoreFile);
        Assert.Contains("entry 12 of node_1 is not the one that the checkpoint of",
            string.Join(';', (await PublicProofs.VerifyAsync(Server.Data, key)).Problems), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("DELETE FROM meta WHERE key = 'audit rollbacks node_1'", "is not in the list of accepted roll-backs")]
    [InlineData("UPDATE meta SET value = substr(value, 1, 72) || zeroblob(32) WHERE key = 'audit rollbacks node_1'",
        "the list of accepted roll-backs of node_1 is not signed: only the root key proves it")]
    [InlineData("UPDATE meta SET value = substr(value, 1, 7) || x'02' || substr(value, 9) "
        + "WHERE key = 'audit rollbacks node_1'", "was not written by this store")]
    public async Task With_the_public_key_alone_no_acceptance_is_believed_that_is_not_signed(
        string sql, string expected)
    {
        var key = await RollBackAsync();
        PublicProofs.Execute(Server.StoreFile, sql);
        Assert.Contains((await PublicProofs.VerifyAsync(Server.Data, key)).Problems,
            problem => problem.Contains(expected, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_segment_whose_first_entry_does_not_say_why_is_named()
    {
        await Server.StopAsync();
        PublicProofs.Execute(Server.StoreFile,
            "UPDATE audit SET public = substr(public, 1, 48) || zeroblob(16) WHERE first > 10");
        PublicProofs.HashAgain(Server.StoreFile);
        Assert.Contains("entry 11 of node_1 begins a segment, and does not say why",
            (await AuditArchive.VerifyStoreAsync(Server.Data, null, default)).Problems);
    }

    [Fact]
    public async Task A_store_that_is_filled_by_something_else_goes_on_from_the_row_that_begins_its_segment()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var (rows, generation, durable) = await instance.StepBackAsync(
                engine, anchor: 0, known: 9_000_000_000, Server.Time.Seconds, default);
            Assert.Equal(9_000_000_001, generation!.Number);
            var keys = AuditKeys.Of(instance);
            var head = NodeLog.Read(engine, keys.Proof, "node_1").Place;
            var row = Segments.Row(keys, head, generation,
                new AuditEntry("restore", "ok") { Reason = "of back-up 7" }, Server.Time.GetUtcNow());
            await committer.CommitAsync(new Change.Plain([.. rows, new RowWrite.PutAudit(row)]));
            durable();
            return true;
        });
        await Server.StartAgainAsync();
        await SetAsync(1);
        var key = await StopAsync();
        var report = await PublicProofs.VerifyAsync(Server.Data, key);
        Assert.Empty(report.Problems);
        Assert.EndsWith(": restore, ok, of back-up 7)", Assert.Single(report.Segments), StringComparison.Ordinal);
        Assert.Equal(["entries 1 to 13 of node_1"], report.Proven);
        var last = JsonNode.Parse(File.ReadAllLines(Checkpoints)[^1])!;
        Assert.StartsWith("0000000218711a01", (string)last["generation"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_generation_that_this_node_learns_while_it_runs_begins_a_segment_with_its_next_entry()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var entry = new AuditEntry("find", "ok");
            await committer.CommitAsync(new Change.Noted(entry));
            var (rows, _, durable) = await instance.StepBackAsync(engine, 0, 0, Server.Time.Seconds, default);
            await committer.CommitAsync(new Change.Plain(rows) { Notes = [entry] }); // it is not in force before
            durable();
            await committer.CommitAsync(new Change.Noted(entry));
            await committer.CommitAsync(new Change.Noted(entry));
            return true;
        });
        var report = await AuditArchive.VerifyStoreAsync(Server.Data, null, default);
        Assert.Empty(report.Problems);
        Assert.StartsWith("from entry 14 on the log of node_1 is a new segment", Assert.Single(report.Segments),
            StringComparison.Ordinal);
        Assert.EndsWith(": begin_segment, ok)", report.Segments[0], StringComparison.Ordinal);
        Assert.Equal(11 + 2 + 1 + 2, report.Entries);
    }

    [Fact]
    public async Task Who_holds_the_first_key_proves_what_a_later_one_has_signed()
    {
        var first = await StopAsync();
        await AddSigningKeyAsync();
        await Server.StartAgainAsync();
        await SetAsync(1);
        await Server.StopAsync();
        var both = await PublicProofs.KeepAsync(Server.Data, "both.pem");
        var text = await File.ReadAllTextAsync(both, TestContext.Current.CancellationToken);
        Assert.Contains("signing key 2\n-----BEGIN", text, StringComparison.Ordinal);
        var export = await PublicProofs.ExportAsync(Server.Data);
        foreach (var key in (string[])[first, both])
        {
            var report = await PublicProofs.VerifyAsync(Server.Data, key);
            Assert.Empty(report.Problems);
            Assert.Equal((2, "entries 1 to 12 of node_1"), (report.Checkpoints, Assert.Single(report.Proven)));
            Assert.Empty((await AuditArchive.VerifyExportAsync(export, null, Checkpoints, default, key)).Problems);
        }

        // The store says which keys there are, and so does each checkpoint; without either the second is unknown.
        var lines = File.ReadAllLines(Checkpoints);
        Assert.Equal(2, (int)JsonNode.Parse(lines[^1])!["key"]!);
        PublicProofs.Execute(Server.StoreFile, $"DELETE FROM meta WHERE key = '{PublicKeys.MetaKey}'");
        Assert.Empty((await PublicProofs.VerifyAsync(Server.Data, first)).Problems);
        var without = JsonNode.Parse(lines[^1])!.AsObject();
        Assert.True(without.Remove("keys"));
        await File.WriteAllLinesAsync(Checkpoints, [lines[0], without.ToJsonString()],
            TestContext.Current.CancellationToken);
        Assert.Contains("line 2 of the checkpoints is not a checkpoint that this store signed",
            Assert.Single((await PublicProofs.VerifyAsync(Server.Data, first)).Problems), StringComparison.Ordinal);
        Assert.Empty((await PublicProofs.VerifyAsync(Server.Data, both)).Problems);
    }

    [Fact]
    public void A_key_that_the_one_before_it_has_not_signed_is_not_believed()
    {
        byte[] store = [.. Enumerable.Repeat((byte)7, 16)];
        using var one = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var two = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var keys = SigningKeys.Open(store, [Numbered(1, one), Numbered(2, two)]);
        var known = keys.Public.All;
        var signature = keys.Sign("what"u8);
        Assert.True(Believing(known[1]).Verify(2, "what"u8, signature));
        using var foreign = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var made = SigningKeys.Open(store, [Numbered(1, foreign), Numbered(2, two)]).Public.All[1];
        Assert.False(Believing(made).Verify(2, "what"u8, signature)); // signed by another
        Assert.False(Believing(known[1] with { Number = 3 }).Verify(3, "what"u8, signature));
        var other = known[0] with { Key = two.ExportSubjectPublicKeyInfo() };
        Assert.False(Believing(other).Verify(1, "what"u8, signature));
        store[0]++;
        Assert.False(Believing(known[1]).Verify(2, "what"u8, signature)); // of another store

        PublicKeys Believing(SignedKey learned)
        {
            var pinned = new PublicKeys([known[0]]);
            pinned.Learn(store, [learned]);
            return pinned;
        }

        static Control.Numbered Numbered(uint number, ECDsa key) =>
            new(number, SecretBytes.ForKey(key.ExportPkcs8PrivateKey()));
    }

    private async Task AddSigningKeyAsync()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await Server.OnStoreAsync(async (_, committer, instance) =>
        {
            var change = new ControlChange(instance, control => control with
            {
                SigningKeys =
                [
                    .. control.SigningKeys, new Control.Numbered(2, SecretBytes.ForKey(key.ExportPkcs8PrivateKey())),
                ],
            }, [], []);
            await committer.CommitAsync(change);
            Assert.True(change.HasChanged);
            return true;
        });
    }

    // Yesterday's store, of which five entries are lost, accepted; and one more.
    private async Task<string> RollBackAsync()
    {
        var key = await StopAsync();
        File.Copy(Server.StoreFile, Server.StoreFile + ".yesterday");
        await Server.StartAgainAsync();
        await SetAsync(5);
        await Server.StopAsync();
        File.Copy(Server.StoreFile + ".yesterday", Server.StoreFile, overwrite: true);
        await Server.StartAgainAsync(accepted: new AcceptedRollback("node_1", 11));
        await SetAsync(1);
        await Server.StopAsync();
        return key;
    }
}
