using System.Buffers.Text;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Coffer.Shared;
using Microsoft.Data.Sqlite;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api.Management;

/// <summary>
/// A receipt is signed when all that it states is true (docs/management.md, "Receipts"), here of the files of SQLite.
/// </summary>
[Trait("Engine", "SQLite")]
[Trait("Firm ground", "10")]
public sealed class ReceiptTests : ServerTests
{
    private static readonly TimeSpan AtOnce = TimeSpan.FromSeconds(2);

    private TestServer.Caller Client => Server.Client(account: "acct_1");

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        (await Client.Set("k")).IsOk();
    }

    [Fact]
    public async Task While_somebody_reads_an_old_state_the_account_is_forgotten_at_once_and_the_receipt_waits()
    {
        var keys = SealedKeys();
        using var reader = StoreEdits.BeginToRead(Server.StoreFile);
        var asked = Stopwatch.GetTimestamp();
        var forgotten = (await Server.ForgetAsync("acct_1")).IsOk().Json;
        Assert.InRange(Stopwatch.GetElapsedTime(asked), TimeSpan.Zero, AtOnce);
        Assert.Equal((null, "pending"), ((string?)forgotten["receipt"], (string?)forgotten["receipt_status"]));
        Assert.Equal(["rows_deleted", "ephemeral_keys_ended"], Words(forgotten["done"]));
        Assert.Equal(["write_ahead_log_emptied", "keys_overwritten"], Words(forgotten["pending"]));
        (await Client.Find("k")).IsError(404, "resource_missing", "name");

        // Nobody who writes waits for it, however often it is tried.
        for (var i = 0; i < 40; i++)
        {
            asked = Stopwatch.GetTimestamp();
            (await Server.Client(account: "acct_2").Set($"k{i % 5}")).IsOk();
            Assert.InRange(Stopwatch.GetElapsedTime(asked), TimeSpan.Zero, AtOnce);
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }

        var waiting = await ReceiptAsync(forgotten);
        Assert.Equal(("pending", null, null),
            ((string?)waiting["status"], (string?)waiting["receipt"], (long?)waiting["signed_at"]));
        Assert.True(Server.IsInFiles(keys)); // so it would not be true
        reader.Dispose();

        var signed = await SignedAsync(forgotten);
        Assert.False(Server.IsInFiles(keys));
        Assert.Equal(["rows_deleted", "ephemeral_keys_ended", "write_ahead_log_emptied", "keys_overwritten"],
            Words(signed["done"]));
        Assert.Empty(Words(signed["pending"]));
        Assert.Equal(["audit_log", "back_ups", "storage_medium", "unused_page_space"], Words(signed["not_reached"]));
        var statement = signed.Statement();
        foreach (var field in (string[])["id", "account", "app", "done", "not_reached", "forgotten_at", "secrets",
            "signed_at"])
            Assert.True(JsonNode.DeepEquals(signed[field], statement[field]), field);
    }

    [Fact]
    public async Task A_receipt_that_waits_when_the_server_stops_is_signed_after_the_next_start()
    {
        JsonNode forgotten;
        using (StoreEdits.BeginToRead(Server.StoreFile))
        {
            forgotten = (await Server.ForgetAsync("acct_1")).IsOk().Json;
            Assert.Null((string?)forgotten["receipt"]);
            await Server.StopAsync();
        }

        await Server.StartAgainAsync();
        Assert.Equal((string?)forgotten["receipt_id"], (string?)(await SignedAsync(forgotten)).Statement()["id"]);
    }

    [Fact]
    public async Task A_repetition_with_the_idempotency_key_has_the_receipt_as_it_is_by_then()
    {
        JsonNode first;
        using (StoreEdits.BeginToRead(Server.StoreFile))
            first = (await Server.ForgetAsync("acct_1", "key")).IsOk().Json;
        var signed = await SignedAsync(first);
        (await Client.Set("k")).IsOk();
        var again = (await Server.ForgetAsync("acct_1", "key")).IsOk();
        Assert.Equal("true", again.Header("Idempotent-Replayed"));
        Assert.Equal((string?)first["receipt_id"], (string?)again.Json["receipt_id"]);
        Assert.Equal((string?)signed["receipt"], (string?)again.Json["receipt"]);
        (await Client.Find("k")).IsOk(); // what was set since is not forgotten again
    }

    [Fact]
    public async Task Who_can_write_the_database_only_has_nothing_signed()
    {
        JsonNode forgotten;
        using (StoreEdits.BeginToRead(Server.StoreFile))
        {
            forgotten = (await Server.ForgetAsync("acct_1")).IsOk().Json;
            await Server.StopAsync();
        }

        var id = (string)forgotten["receipt_id"]!;
        Execute($"INSERT INTO receipts SELECT 'rcpt_copy', created, signed, sealed FROM receipts WHERE id = '{id}'");
        Execute($"INSERT INTO receipts SELECT 'rcpt_made', created, signed, x'01' FROM receipts WHERE id = '{id}'");
        Execute($"UPDATE receipts SET created = created - 1 WHERE id = '{id}'");
        await Server.StartAgainAsync();
        var other = await SignedAsync((await Server.ForgetAsync("acct_2")).IsOk().Json);
        Assert.Equal("acct_2", (string?)other.Statement()["account"]);
        foreach (var edited in (string[])[id, "rcpt_copy", "rcpt_made"])
            (await Server.Admin.Get($"/admin/v1/receipts/{edited}")).IsError(500, null, null, type: "api_error");
        Assert.Equal(3L, Scalar("SELECT count(*) FROM receipts WHERE signed IS NULL"));
    }

    [Fact]
    public async Task Receipts_are_kept_for_90_days_after_they_were_signed()
    {
        var first = (await Server.ForgetAsync("acct_1")).IsOk().Json;
        Server.Time.Move(TimeSpan.FromDays(90) - TimeSpan.FromSeconds(1));
        await Server.ForgetAsync("acct_2");
        Assert.Equal((string?)first["receipt"], (string?)(await ReceiptAsync(first))["receipt"]);
        Server.Time.Move(TimeSpan.FromHours(1));
        await Server.ForgetAsync("acct_3");
        await Until.SoAsync("the first is removed", () => Scalar("SELECT count(*) FROM receipts") < 3);
        (await Server.Admin.Get($"/admin/v1/receipts/{first["receipt_id"]}")).IsError(404, "resource_missing", "id");
        Assert.Equal(2L, Scalar("SELECT count(*) FROM receipts"));
    }

    [Fact]
    public async Task Showing_and_signing_are_recorded_in_the_audit_log()
    {
        var forgotten = (await Server.ForgetAsync("acct_1")).IsOk().Json;
        await ReceiptAsync(forgotten);
        foreach (var verb in (string[])["sign_receipt", "show_receipt"])
        {
            var entry = (await Server.Admin.Get("/admin/v1/audit", ("verb", verb))).IsOk().Json["data"]!.AsArray()
                .Single()!;
            Assert.Equal(("ok", "acct_1", (string?)forgotten["receipt_id"]),
                ((string?)entry["outcome"], (string?)entry["account"], (string?)entry["target"]));
        }

        (await Server.Admin.Get("/admin/v1/receipts/rcpt_none")).IsError(404, "resource_missing", "id");
        (await Server.Admin.Get("/admin/v1/receipts/rcpt_none", ("x", "y"))).IsError(400, "parameter_unknown", "x");
        (await Client.Get($"/admin/v1/receipts/{forgotten["receipt_id"]}")).IsError(403, null, null);
    }

    private async Task<JsonNode> ReceiptAsync(JsonNode forgotten) =>
        (await Server.Admin.Get($"/admin/v1/receipts/{forgotten["receipt_id"]}")).IsOk().Json;

    private async Task<JsonNode> SignedAsync(JsonNode forgotten)
    {
        JsonNode receipt = null!;
        await Until.SoAsync("the receipt is signed",
            async () => (string?)(receipt = await ReceiptAsync(forgotten))["status"] == "signed");
        return receipt;
    }

    private static IEnumerable<string> Words(JsonNode? words) => words!.AsArray().Select(word => (string)word!);

    private byte[] SealedKeys()
    {
        using var connection = Open();
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT sealed_keys FROM tenants WHERE account = 'acct_1'";
        return (byte[])command.ExecuteScalar()!;
    }

    private long? Scalar(string sql)
    {
        using var connection = Open();
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar() as long?;
    }

    private void Execute(string sql) => Scalar(sql);

    private SqliteConnection Open() => StoreEdits.Connect(Server.StoreFile);
}
