namespace Coffer.Storage;

/// <summary>The reads of the management plane.</summary>
internal sealed partial class SqliteEngine
{
    public override ValueTask<AppRow?> FindAppAsync(string id, CancellationToken ct) => Find(Sql.AppById, Columns.ToApp, id);

    public override ValueTask<IReadOnlyList<AppRow>> ListAppsAsync(string? bound, int limit, CancellationToken ct) =>
        List(Sql.Apps, Columns.ToApp, ct, bound, limit);

    public override ValueTask<IReadOnlyList<AppRow>> ListUnsealedAsync(string bound, int limit, CancellationToken ct) =>
        List(Sql.UnsealedApps, Columns.ToApp, ct, bound, limit);

    public override ValueTask<ApiKeyRow?> FindApiKeyAsync(byte[] mac, CancellationToken ct) => Find(Sql.ApiKeyByMac, Columns.ToApiKey, mac);

    public override ValueTask<ApiKeyRow?> FindApiKeyAsync(string id, CancellationToken ct) => Find(Sql.ApiKeyById, Columns.ToApiKey, id);

    public override ValueTask<IReadOnlyList<ApiKeyRow>> ListApiKeysAsync(string? app, string? bound, int limit, CancellationToken ct) =>
        List(Sql.ApiKeys, Columns.ToApiKey, ct, app, bound, limit);

    public override ValueTask<IReadOnlyList<byte[]>> ListApiKeyMacsAsync(CancellationToken ct) =>
        List(Sql.ApiKeyMacs, static row => row.Bytes(0), ct);

    public override ValueTask<IReadOnlyList<RevocationRow>> ListRevocationsAsync(
        long number, string subject, int limit, CancellationToken ct) =>
        List(Sql.Revocations, Columns.ToRevocation, ct, number, subject, limit);

    public override ValueTask<IReadOnlyList<string>> ListEndedRevocationsAsync(long now, int limit,
        CancellationToken ct)
    {
        const string Ended = "SELECT subject FROM revocations WHERE kept_until <= $1 ORDER BY kept_until LIMIT $2";
        return List(Ended, static row => row.Text(0), ct, now, limit);
    }

    public override ValueTask<IReadOnlyList<GenerationRow>> ListGenerationsAsync(long number, CancellationToken ct) =>
        List(Sql.Generations, Columns.ToGeneration, ct, number);

    public override ValueTask<IReadOnlyList<AccountRow>> ListAccountsAsync(string app, string? bound, long now, int limit, CancellationToken ct) =>
        List(Sql.Accounts, Columns.ToAccount, ct, now, app, bound ?? "", limit);

    public override ValueTask<ReceiptRow?> FindReceiptAsync(string id, CancellationToken ct) =>
        Find(Sql.ReceiptById, Columns.ToReceipt, id);

    public override ValueTask<IReadOnlyList<ReceiptRow>> ListPendingReceiptsAsync(
        (long Created, string Id)? after, int limit, CancellationToken ct) =>
        List(Sql.PendingReceipts, Columns.ToReceipt, ct, after?.Created ?? long.MinValue, after?.Id ?? "", limit);

    public override ValueTask<IReadOnlyList<SecretRow>> ListTenantSecretsAsync(long tenant, string? bound, long now, int limit, CancellationToken ct) =>
        List(Sql.TenantSecrets, Columns.ToSecret, ct, tenant, now, bound, limit);

    public override ValueTask<SecretRow?> FindSecretAsync(long tenant, string id, long now, CancellationToken ct) =>
        Find(Sql.SecretById, Columns.ToSecret, tenant, id, now);

    public override ValueTask<IReadOnlyList<FoundSecretRow>> SearchSecretsAsync(
        SecretFilter filter, (long? ExpiresAt, SecretKey Key)? after, long now, int limit, CancellationToken ct)
    {
        var (tenant, name, from) = filter.Begin(after, now);
        var (app, account, livemode) = (filter.App, filter.Account, filter.Livemode);
        return filter.ExpiringBefore is { } before
            ? List(Sql.SearchByExpiry, Columns.ToFound, ct, tenant, name, from, app, account, livemode, before, limit)
            : List(Sql.Search, Columns.ToFound, ct, tenant, name, from, app, account, livemode, limit);
    }
}
