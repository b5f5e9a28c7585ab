using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>Tries, and undoes, what a set writes.</summary>
internal sealed partial class PostgresEngine
{
    // By statements of a set's kind, for rights are asked of statements: all rows of it, of a tenant of its own. How
    // many were written is proven as it is of requests.
    private static readonly string Trial = $"""
        WITH tenant AS (
            INSERT INTO tenants (app, livemode, account, created, sealed_keys)
            SELECT id, 0, $1, 0, '' FROM apps LIMIT 1 RETURNING id),
        secret AS (
            INSERT INTO secrets ({SecretRow.Table.Names()})
            SELECT id, '', '', $1, 1, 0, NULL, '' FROM tenant {SecretRow.Table.OnConflict} RETURNING 1),
        kept AS (
            INSERT INTO idempotency (tenant, key, fingerprint, created, sealed)
            SELECT id, '', '', 0, '' FROM tenant {IdempotencyRow.Table.OnConflict} RETURNING 1),
        entry AS (
            INSERT INTO audit (node, first, last, mac, entries, public) VALUES ($1, 0, 0, '', '', NULL) RETURNING 1)
        SELECT (SELECT count(*) FROM entry) = 1
            AND (SELECT count(*) FROM secret) = (SELECT count(*) FROM tenant)
            AND (SELECT count(*) FROM kept) = (SELECT count(*) FROM tenant)
        """;

    private const string LockNone = "SELECT id FROM tenants WHERE id = 0 FOR UPDATE",
        DeleteNone = "DELETE FROM secrets WHERE tenant = 0",
        SeeNone = "SELECT app FROM uninstalls WHERE app = ''";

    public override async ValueTask TryWritesAsync(CancellationToken ct)
    {
        // Its own, so that no node waits for another's.
        var name = $"trial {Guid.NewGuid():n}";
        if (!await RepeatedAsync((used, server) => TryAsync(used.Others, server, name, ct), ct))
            throw WriteProof.Broken("audit, secrets or idempotency");
    }

    private async Task<bool> TryAsync(
        NpgsqlDataSource source, PostgresPrimary server, string name, CancellationToken ct)
    {
        await using var connection = await PostgresCall.OpenAsync(source, ct);
        await using var batch = connection.CreateBatch();
        PostgresSettings.Add(batch, PostgresSettings.ToWrite);
        batch.BatchCommands.Add(PostgresSettings.Command(settings.OfWrites, server));
        PostgresSettings.Add(batch, Trial, name);
        PostgresSettings.Add(batch, LockNone);
        PostgresSettings.Add(batch, DeleteNone);
        PostgresSettings.Add(batch, SeeNone);
        PostgresSettings.Add(batch, "ROLLBACK");
        await using var reader = await batch.ExecuteReaderAsync(ct);
        await reader.NextResultAsync(ct); // past the settings
        await reader.ReadAsync(ct);
        var isWhole = reader.GetBoolean(0);
        while (await reader.NextResultAsync(ct))
        {
            // What they have to say is whether they failed.
        }

        return isWhole;
    }
}
