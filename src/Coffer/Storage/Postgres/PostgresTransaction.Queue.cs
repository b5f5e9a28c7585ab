using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>How what writes is queued, with the proof that it did what it says, and how it is sent.</summary>
internal sealed partial class PostgresTransaction
{
    private const string SecretsLeft =
        "SELECT 1 FROM secrets s JOIN unnest($1, $2) AS gone (tenant, name) ON s.tenant = gone.tenant AND s.name = "
            + "gone.name";

    // What has no round trip of its own is proven by the server, before it comes to the commit.
    private void Queue(Statement statement)
    {
        Queue(statement.Text.Postgres, statement.Values);
        if (statement.Text.Postgres == TenantRow.AddShared)
            Send(PostgresProof.TenantIsThere, Nothing, statement.Count!.Value.Values);
    }

    private void Queue(string sql, params ReadOnlySpan<SqlValue> values)
    {
        var promise = WriteProof.Of(sql);
        if (promise == WriteProof.Promise.OneRow)
        {
            QueueRows(1, sql, values);
            return;
        }

        Send(sql, sql.StartsWith("SELECT ", StringComparison.Ordinal) ? Nothing : null, values);
        if (promise == WriteProof.Promise.NothingLeft)
            Send(PostgresProof.None(WriteProof.CounterexampleTo(sql)!), Nothing, values);
    }

    private void QueueRows(long rows, string sql, params ReadOnlySpan<SqlValue> values) =>
        Send(PostgresProof.Rows(sql, values.Length + 1), Nothing, [.. values, rows]);

    // Of a statement that gives a row which says nothing: those that give none have no reader.
    private static void Nothing(IRow row)
    {
    }

    private void Delete(IReadOnlyList<SecretKey> secrets, int? stored)
    {
        SqlValue[] keys = [Each(secrets, key => key.Tenant), Each(secrets, key => key.Name)];
        if (stored is { } rows)
        {
            QueueRows(rows, DeleteSecrets, keys);
            return;
        }

        Send(DeleteSecrets, null, keys);
        Send(PostgresProof.None(SecretsLeft), Nothing, keys);
    }

    /// <summary>One round trip for all that waits to be sent.</summary>
    private void Send()
    {
        sent = PostgresPoll.Now();
        using var span = StatementSpan.Begin("postgresql", IsCommitting ? "COMMIT" : "BATCH");
        span?.SetTag("db.operation.batch.size", pending.Count);
        try
        {
            PostgresCall.BoundAsync(SendAsync([.. pending]), patience, connection).GetAwaiter().GetResult();
        }
        catch (NullReferenceException e)
        {
            // Npgsql 10 ends so where PostgreSQL refuses a statement with 0A000 at once, one under a rule for example.
            throw new RefusedException(e);
        }

        pending.Clear();
    }

    private async Task<bool> SendAsync(IReadOnlyList<(NpgsqlBatchCommand Command, Action<IRow>? Read)> asked)
    {
        await using var batch = new NpgsqlBatch(connection);
        foreach (var (command, _) in asked)
            batch.BatchCommands.Add(command);
        await using var reader = await batch.ExecuteReaderAsync();
        var row = new PostgresRow(reader);
        foreach (var read in asked.Select(asked => asked.Read).OfType<Action<IRow>>())
        {
            while (await reader.ReadAsync())
                read(row);
            await reader.NextResultAsync();
        }

        while (await reader.NextResultAsync())
        {
            // Statements without rows: what they have to say is whether they failed.
        }

        return true;
    }
}
