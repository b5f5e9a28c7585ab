namespace Coffer.Storage;

/// <summary>How what writes is queued: with the proof that it did what it says.</summary>
internal sealed partial class PostgresTransaction
{
    private const string SecretsLeft =
        "SELECT 1 FROM secrets s JOIN unnest($1, $2) AS gone (tenant, name) ON s.tenant = gone.tenant AND s.name = "
            + "gone.name";

    // What has no round trip of its own is proven by the server, before it comes to the commit.
    private void Queue(string sql, params ReadOnlySpan<PostgresValue> values)
    {
        var promise = WriteProof.Of(sql);
        if (promise == WriteProof.Promise.OneRow)
        {
            QueueRows(1, sql, values);
            return;
        }

        Ask(sql, sql.StartsWith("SELECT ", StringComparison.Ordinal) ? Nothing : null, values);
        if (promise == WriteProof.Promise.NothingLeft)
            Ask(PostgresProof.None(WriteProof.CounterexampleTo(sql)!), Nothing, PostgresProof.Again(values));
    }

    private void QueueRows(long rows, string sql, params ReadOnlySpan<PostgresValue> values) =>
        Ask(PostgresProof.Rows(sql, values.Length + 1), Nothing, [.. values, rows]);

    // Of a statement that gives a row which says nothing: those that give none have no reader.
    private static void Nothing(PostgresRow row)
    {
    }

    private void Delete(IReadOnlyList<SecretKey> secrets, int? stored)
    {
        PostgresValue[] keys = [Each(secrets, key => key.Tenant), Each(secrets, key => key.Name)];
        if (stored is { } rows)
        {
            QueueRows(rows, DeleteSecrets, keys);
            return;
        }

        Ask(DeleteSecrets, null, keys);
        Ask(PostgresProof.None(SecretsLeft), Nothing, PostgresProof.Again(keys));
    }
}
