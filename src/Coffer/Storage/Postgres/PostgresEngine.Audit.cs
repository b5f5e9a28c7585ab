using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// What the audit asks of the database beside its rows in their order: what stands of a node's log, by its name.
/// </summary>
internal sealed partial class PostgresEngine
{
    // From name to name over the same index, however many rows each has; the recursion ends with the page.
    private static readonly Query<LiveNode> LiveNodes = new(
        PostgresNames.Live, static row => new LiveNode(
            $"node_{row.Number(0)}", row.Number(1), row.Number(2), row.Number(3) != 0));

    private static readonly Query<AuditHeadRow> AuditHeads = new("""
        WITH RECURSIVE names AS (
            (SELECT node FROM audit WHERE node > $1 ORDER BY node LIMIT 1)
            UNION ALL
            SELECT (SELECT a.node FROM audit a WHERE a.node > names.node ORDER BY a.node LIMIT 1)
            FROM names WHERE names.node IS NOT NULL
        ), page AS (SELECT node FROM names WHERE node IS NOT NULL LIMIT $2)
        SELECT head.node, head.last, head.mac, (SELECT value FROM meta WHERE key = $3 || head.node), head.public
        FROM page CROSS JOIN LATERAL (
            SELECT node, last, mac, public FROM audit WHERE node = page.node ORDER BY first DESC LIMIT 1) AS head
        ORDER BY head.node
        """, HeadFrom);

    private bool isInTransaction;

    private static AuditHeadRow HeadFrom(IRow row) =>
        new(row.Text(0), row.Number(1), row.Bytes(2), row.BytesOrNull(3)) { Public = row.BytesOrNull(4) };

    public override ValueTask<IReadOnlyList<AuditHeadRow>> ListAuditHeadsAsync(
        string after, int limit, string metaPrefix, CancellationToken ct) =>
        ListAsync(AuditHeads, ct, after, limit, metaPrefix);

    public override ValueTask<IReadOnlyList<LiveNode>> ListNodesAsync(CancellationToken ct) => ListAsync(LiveNodes, ct);

    // Within a transaction a failure is the transaction's, which knows whether it may be tried again.
    public override T? FindByWriter<T>(Query<T> query, params ReadOnlySpan<SqlValue> values) where T : class
    {
        for (var tries = 1; ; tries++)
        {
            try
            {
                var connection = isInTransaction && writer is not null ? writer : Writer();
                var first = isInTransaction ? null : settings.OfWrites;
                var batch = Batch(connection.CreateBatch(), first, servers.Current, query.Text, values);
                var rows = Wait(RowsAsync(batch, query.Map, CancellationToken.None), connection);
                return rows.Count > 0 ? rows[0] : null;
            }
            catch (NpgsqlException e) when (!isInTransaction)
            {
                var mayRepeat = Follows(e) || (tries == 1 && PostgresFailures.IsBroken(e));
                if (!mayRepeat || tries == MostTries)
                    throw Translated(e);
                if (PostgresFailures.IsBroken(e))
                    Disconnect();
            }
            catch (TimeoutException e) when (!isInTransaction)
            {
                writer = null; // it is closed when the call that hangs on it ends
                throw ApiError.StorageUnavailable(e);
            }
        }
    }
}
