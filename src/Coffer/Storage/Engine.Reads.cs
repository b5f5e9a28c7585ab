namespace Coffer.Storage;

/// <summary>What is read, each by the query of its row: engines only run them.</summary>
internal abstract partial class Engine
{
    /// <summary>The most audit rows that are read at once, however small they are.</summary>
    private const int MostAuditRows = 2_000;

    /// <summary>The first row of an answer, or null.</summary>
    public abstract ValueTask<T?> FindAsync<T>(
        Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values)
        where T : class;

    /// <summary>All rows of an answer, in their order.</summary>
    public abstract ValueTask<IReadOnlyList<T>> ListAsync<T>(
        Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values);

    /// <summary>
    /// The first row of an answer, or null, read by what writes, from where it writes: only before the committer runs,
    /// or in its loop while it makes a transaction's audit row.
    /// </summary>
    public abstract T? FindByWriter<T>(Query<T> query, params ReadOnlySpan<SqlValue> values) where T : class;

    /// <summary>
    /// All pages of a list, each after the last row of the one before that leads on. What is of another type than its
    /// column says, or no text, is in no order, and SQLite gives it again and again: such a row may be in two of them.
    /// </summary>
    /// <param name="most">How many rows a page has that is not the last.</param>
    /// <param name="first">What comes before the first row.</param>
    /// <param name="list">A page of at most so many rows after one.</param>
    /// <param name="key">By what the list is in order.</param>
    /// <param name="comparer">That order.</param>
    /// <exception cref="ApiError">503: a page is full of rows that do not lead on, and what is after them is not seen.
    /// </exception>
    public static async IAsyncEnumerable<IReadOnlyList<TRow>> PagesAsync<TRow, TKey>(
        int most, TKey first, Func<TKey, int, ValueTask<IReadOnlyList<TRow>>> list, Func<TRow, TKey> key,
        IComparer<TKey> comparer)
    {
        var (after, isFull) = (first, true);
        while (isFull && await list(after, most) is { Count: > 0 } rows)
        {
            yield return rows;
            isFull = rows.Count >= most;
            var last = rows.Count - 1;
            while (last >= 0 && comparer.Compare(key(rows[last]), after) <= 0)
                last--;
            if (last >= 0)
                after = key(rows[last]);
            else if (isFull)
                throw ApiError.Contradictory("rows with keys that it does not keep in order hide what is after them");
        }
    }

    /// <summary>The same in the order of texts.</summary>
    public static IAsyncEnumerable<IReadOnlyList<TRow>> PagesAsync<TRow>(
        int most, Func<string, int, ValueTask<IReadOnlyList<TRow>>> list, Func<TRow, string> key) =>
        PagesAsync(most, "", list, key, RowOrder.OfTexts);

    /// <summary>All API keys, by their ids.</summary>
    public IAsyncEnumerable<IReadOnlyList<ApiKeyRow>> ApiKeysAsync(int most, CancellationToken ct) => PagesAsync(
        most, (after, limit) => ListAsync(ApiKeyRow.AfterId, ct, after, limit), static row => row.Id);

    /// <summary>All tenants whose keys are not under a root key, given as the 4 bytes of its version.</summary>
    public IAsyncEnumerable<IReadOnlyList<OwnedTenantRow>> TenantsNotUnderAsync(
        byte[] under, int most, CancellationToken ct) => PagesAsync(
        most, long.MinValue, (from, limit) => ListAsync(TenantRow.NotUnder, ct, under, from, limit),
        static row => row.Id < long.MaxValue ? row.Id + 1 : row.Id, Comparer<long>.Default);

    /// <summary>All apps whose settings are not.</summary>
    /// <inheritdoc cref="TenantsNotUnderAsync"/>
    public IAsyncEnumerable<IReadOnlyList<AppRow>> AppsNotUnderAsync(
        byte[] under, int most, CancellationToken ct) => PagesAsync(
        most, (after, limit) => ListAsync(AppRow.NotUnder, ct, under, after, limit), static row => row.Id);

    /// <summary>All events that are under root keys, but not under this one.</summary>
    /// <inheritdoc cref="TenantsNotUnderAsync"/>
    public IAsyncEnumerable<IReadOnlyList<EventRow>> EventsNotUnderAsync(
        byte[] under, int most, CancellationToken ct) => PagesAsync(
        most, -1L, (after, limit) => ListAsync(EventRow.NotUnderRoot, ct, under, after, limit),
        static row => row.Number, Comparer<long>.Default);

    /// <summary>All webhook endpoints whose settings are not.</summary>
    /// <inheritdoc cref="TenantsNotUnderAsync"/>
    public IAsyncEnumerable<IReadOnlyList<EndpointRow>> EndpointsNotUnderAsync(
        byte[] under, int most, CancellationToken ct) => PagesAsync(
        most, (after, limit) => ListAsync(EndpointRow.NotUnder, ct, under, after, limit), static row => row.Id);

    /// <summary>What <c>meta</c> holds under a key, or null.</summary>
    public ValueTask<byte[]?> FindMetaAsync(string key, CancellationToken ct) => FindAsync(MetaRow.ByKey, ct, key);

    /// <summary>What <c>meta</c> holds under all keys that begin with a prefix.</summary>
    public ValueTask<IReadOnlyList<(string Key, byte[] Value)>> ListMetaAsync(string prefix, CancellationToken ct) =>
        ListAsync(MetaRow.ByPrefix, ct, prefix);

    /// <summary>All root keys, oldest first.</summary>
    public ValueTask<IReadOnlyList<RootKeyRow>> ListRootKeysAsync(CancellationToken ct) =>
        ListAsync(RootKeyRow.All, ct);

    /// <summary>All that wrappers have made of root keys.</summary>
    public ValueTask<IReadOnlyList<WrappingRow>> ListWrappingsAsync(CancellationToken ct) =>
        ListAsync(WrappingRow.All, ct);

    /// <summary>What is noted of an account that an app was uninstalled from; null if it is not closed.</summary>
    public ValueTask<UninstallRow?> FindUninstallAsync(UninstallKey of, CancellationToken ct) =>
        FindAsync(UninstallRow.Of, ct, of.App, of.Livemode, of.Account);

    public ValueTask<AppRow?> FindAppAsync(string id, CancellationToken ct) => FindAsync(AppRow.ById, ct, id);

    /// <summary>A page of all apps, nearest to the bound first.</summary>
    /// <param name="bound">A place that is not itself in the page, or null to begin at the newest.</param>
    /// <param name="newer">True walks from the bound to newer ones, false to older ones.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<AppRow>> ListAppsAsync(
        Place? bound, bool newer, int limit, CancellationToken ct) =>
        bound is { } place
            ? ListAsync(newer ? AppRow.Newer : AppRow.Older, ct, place.Created, place.Id, limit)
            : ListAsync(AppRow.Newest, ct, limit);

    /// <summary>Apps whose settings are not sealed, in the order of their ids.</summary>
    /// <param name="bound">The id that they begin after; empty for the first.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<AppRow>> ListUnsealedAsync(string bound, int limit, CancellationToken ct) =>
        ListAsync(AppRow.Unsealed, ct, bound, limit);

    public ValueTask<ApiKeyRow?> FindApiKeyAsync(byte[] mac, CancellationToken ct) =>
        FindAsync(ApiKeyRow.ByMac, ct, mac);

    public ValueTask<ApiKeyRow?> FindApiKeyAsync(string id, CancellationToken ct) => FindAsync(ApiKeyRow.ById, ct, id);

    /// <summary>That a key has ended, by what it was found by; null if nothing is noted.</summary>
    public ValueTask<EndedKeyRow?> FindEndedKeyAsync(byte[] mac, CancellationToken ct) =>
        FindAsync(EndedKeyRow.ByMac, ct, mac);

    /// <summary>By what keys are found that expired at or before a Unix second, the longest first.</summary>
    public ValueTask<IReadOnlyList<byte[]>> ListLongExpiredKeysAsync(long until, int limit, CancellationToken ct) =>
        ListAsync(EndedKeyRow.LongExpired, ct, until, Array.Empty<byte>(), limit);

    /// <summary>A page of the ids of keys that are over and still there, in the order of their ids.</summary>
    /// <param name="now">Unix seconds.</param>
    /// <param name="offlineUntil">What was made beside the server later than this is left out.</param>
    /// <param name="bound">An id that the page begins after; empty begins with the first.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<string>> ListKeysOverAsync(
        long now, long offlineUntil, string bound, int limit, CancellationToken ct) =>
        ListAsync(ApiKeyRow.Over, ct, now, offlineUntil, bound, limit);

    /// <summary>The keys that were made beside the server after a Unix second, oldest first.</summary>
    public ValueTask<IReadOnlyList<ApiKeyRow>> ListOfflineKeysAsync(long after, CancellationToken ct) =>
        ListAsync(ApiKeyRow.MadeOffline, ct, after);

    /// <summary>A page of the keys of an app, or of all keys, nearest to the bound first.</summary>
    /// <param name="app">The app, or null for all keys.</param>
    /// <param name="bound">A place that is not itself in the page, or null to begin at the newest.</param>
    /// <param name="newer">True walks from the bound to newer ones, false to older ones.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<ApiKeyRow>> ListApiKeysAsync(
        string? app, Place? bound, bool newer, int limit, CancellationToken ct) =>
        bound is { } place
            ? ListAsync(newer ? ApiKeyRow.Newer : ApiKeyRow.Older, ct, app, place.Created, place.Id, limit)
            : ListAsync(ApiKeyRow.Newest, ct, app, limit);

    /// <summary>By what all keys are found.</summary>
    public ValueTask<IReadOnlyList<byte[]>> ListApiKeyMacsAsync(CancellationToken ct) => ListAsync(ApiKeyRow.Macs, ct);

    /// <summary>
    /// A page of revocations in the order of the commits that wrote them last, and within one by subject; also those
    /// that are over.
    /// </summary>
    /// <param name="number">The number that it begins in; -1 begins at the first.</param>
    /// <param name="subject">
    /// The subject of that number that it begins after; empty begins with all of that number.
    /// </param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<RevocationRow>> ListRevocationsAsync(
        long number, string subject, int limit, CancellationToken ct) =>
        ListAsync(RevocationRow.Page, ct, number, subject, limit);

    /// <summary>The subjects of revocations that need not be kept at a Unix second, longest ended first.</summary>
    public ValueTask<IReadOnlyList<string>> ListEndedRevocationsAsync(long now, int limit, CancellationToken ct) =>
        ListAsync(RevocationRow.Ended, ct, now, limit);

    /// <summary>The generations that are greater than a number, least first; -1 gives all.</summary>
    public ValueTask<IReadOnlyList<GenerationRow>> ListGenerationsAsync(long number, CancellationToken ct) =>
        ListAsync(GenerationRow.After, ct, number);

    /// <summary>
    /// A page of the accounts of an app, with their unexpired secrets counted, nearest to the bound first.
    /// </summary>
    /// <param name="app">The app.</param>
    /// <param name="bound">An id that is not itself in the page; empty begins with the first of all.</param>
    /// <param name="backwards">False walks in the order of the ids, true against it.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<AccountRow>> ListAccountsAsync(
        string app, string bound, bool backwards, long now, int limit, CancellationToken ct) =>
        ListAsync(backwards ? AccountRow.Before : AccountRow.After, ct, now, app, bound, limit);

    public virtual ValueTask<TenantRow?> FindTenantAsync(TenantId tenant, CancellationToken ct) =>
        FindAsync(TenantRow.ByOwner, ct, tenant.App, tenant.Livemode, tenant.Account);

    /// <summary>
    /// The row, expired or not: whether it counts as there is for the caller to decide. Null if the tenant is gone.
    /// </summary>
    public virtual ValueTask<SecretLookup?> LookUpSecretAsync(SecretKey key, CancellationToken ct) =>
        FindAsync(SecretRow.WithCounter, ct, key.Tenant, key.Name);

    /// <summary>A page of the scope's unexpired secrets, nearest to the bound first.</summary>
    /// <param name="tenant">The tenant's number.</param>
    /// <param name="scope">Blind index of the scope.</param>
    /// <param name="bound">An id that is not itself in the page, or null to begin at the newest.</param>
    /// <param name="newer">True walks from the bound to newer ids, false to older ones.</param>
    /// <param name="now">Unix seconds; a row with <c>expires_at</c> at or before it is absent.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>
    /// The rows, and the counter of the tenant's keys as of the same moment; null if the tenant is gone.
    /// </returns>
    public async ValueTask<(long? Counter, IReadOnlyList<SecretRow> Rows)> ListSecretsAsync(
        long tenant, byte[] scope, string? bound, bool newer, long now, int limit, CancellationToken ct)
    {
        var found = await ListScopeAsync((SecretRow.Newest, SecretRow.Older, SecretRow.Newer),
            tenant, scope, bound, newer, now, limit, ct);
        return (found.Count > 0 ? found[0].Counter : null, [.. found.Select(each => each.Row).OfType<SecretRow>()]);
    }

    /// <summary>How many bytes are sealed in the rows that <see cref="ListSecretsAsync"/> would give.</summary>
    public async ValueTask<long> SizeOfListAsync(
        long tenant, byte[] scope, string? bound, bool newer, long now, int limit, CancellationToken ct) =>
        (await ListScopeAsync((SecretRow.SizesOfNewest, SecretRow.SizesOfOlder, SecretRow.SizesOfNewer),
            tenant, scope, bound, newer, now, limit, ct)).Sum();

    /// <summary>How many bytes are sealed in the rows that <see cref="ListTenantSecretsAsync"/> would give.</summary>
    public async ValueTask<long> SizeOfTenantListAsync(
        long tenant, string? bound, long now, int limit, CancellationToken ct) =>
        (await ListAsync(SecretRow.SizesOfTenant, ct, tenant, now, bound, limit)).Sum();

    /// <summary>A page of all unexpired secrets of a tenant, newest first.</summary>
    /// <param name="tenant">The tenant's number.</param>
    /// <param name="bound">An id that the page begins after, or null.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<SecretRow>> ListTenantSecretsAsync(
        long tenant, string? bound, long now, int limit, CancellationToken ct) =>
        ListAsync(SecretRow.OfTenant, ct, tenant, now, bound, limit);

    /// <summary>An unexpired secret of a tenant by its id.</summary>
    public ValueTask<SecretRow?> FindSecretAsync(long tenant, string id, long now, CancellationToken ct) =>
        FindAsync(SecretRow.ById, ct, tenant, id, now);

    /// <summary>
    /// A page of unexpired secrets across tenants: by expiry if the filter has one, or else by tenant; then by tenant
    /// and blind name.
    /// </summary>
    /// <param name="filter">Which secrets.</param>
    /// <param name="after">The last one of the page before, or null.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<FoundSecretRow>> SearchSecretsAsync(
        SecretFilter filter, (long? ExpiresAt, SecretKey Key)? after, long now, int limit, CancellationToken ct)
    {
        var (tenant, name, from) = filter.Begin(after, now);
        var (app, account, livemode, held) = (filter.App, filter.Account, filter.Livemode, filter.HeldTo);
        return filter.ExpiringBefore is { } before
            ? ListAsync(
                FoundSecretRow.SearchByExpiry, ct, tenant, name, from, app, account, livemode, held, before, limit)
            : ListAsync(FoundSecretRow.Search, ct, tenant, name, from, app, account, livemode, held, limit);
    }

    /// <summary>
    /// Where secrets stand that have expired at <paramref name="now"/> (Unix seconds), longest first.
    /// </summary>
    public ValueTask<IReadOnlyList<SecretKey>> ListExpiredAsync(long now, int limit, CancellationToken ct) =>
        ListAsync(SecretRow.Expired, ct, now, limit);

    /// <summary>What is kept under an idempotency key, however old, or null.</summary>
    public ValueTask<IdempotencyRow?> FindIdempotencyAsync(IdempotencyKey key, CancellationToken ct) =>
        FindAsync(IdempotencyRow.ByKey, ct, key.Tenant, key.Key);

    /// <summary>When the oldest idempotency record was made (Unix seconds), or null if there is none.</summary>
    public ValueTask<long?> FindOldestIdempotencyAsync(CancellationToken ct) =>
        FindNumberAsync(IdempotencyRow.Oldest, ct);

    /// <summary>When the oldest kept reply was made (Unix seconds), or null if there is none.</summary>
    public ValueTask<long?> FindOldestReplyAsync(CancellationToken ct) => FindNumberAsync(ReplyRow.Oldest, ct);

    /// <summary>When the oldest event was made (Unix seconds), or null if there is none.</summary>
    public ValueTask<long?> FindOldestEventAsync(CancellationToken ct) => FindNumberAsync(EventRow.Oldest, ct);

    /// <summary>The number of the newest event, or null if there is none.</summary>
    public ValueTask<long?> FindNewestEventAsync(CancellationToken ct) => FindNumberAsync(EventRow.Newest, ct);

    /// <summary>All webhook endpoints, by their ids.</summary>
    public IAsyncEnumerable<IReadOnlyList<EndpointRow>> EndpointsAsync(int most, CancellationToken ct) => PagesAsync(
        most, (after, limit) => ListAsync(EndpointRow.AfterId, ct, after, limit), static row => row.Id);

    public ValueTask<ReceiptRow?> FindReceiptAsync(string id, CancellationToken ct) =>
        FindAsync(ReceiptRow.ById, ct, id);

    /// <summary>A page of the receipts that are not signed, oldest first.</summary>
    /// <param name="after">When the last of the page before was made, and its id; null begins with the oldest.</param>
    /// <param name="limit">The most rows to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public ValueTask<IReadOnlyList<ReceiptRow>> ListPendingReceiptsAsync(
        (long Created, string Id)? after, int limit, CancellationToken ct) =>
        ListAsync(ReceiptRow.Pending, ct, after?.Created ?? long.MinValue, after?.Id ?? "", limit);

    /// <summary>A page of the receipts that are signed, in the order of their ids.</summary>
    public ValueTask<IReadOnlyList<ReceiptRow>> ListSignedReceiptsAsync(
        string after, int limit, CancellationToken ct) =>
        ListAsync(ReceiptRow.SignedAfter, ct, after, limit);

    /// <summary>
    /// Audit rows in the order in which they were written, or the other way round, with their numbers: at least one if
    /// there is one, and otherwise as many as are within a size.
    /// </summary>
    /// <param name="bound">
    /// A number that is not itself given; 0 begins at the first, <see cref="long.MaxValue"/> backwards at the last.
    /// </param>
    /// <param name="newestFirst">Which way.</param>
    /// <param name="size">Bytes of entries.</param>
    /// <param name="ct">Ends the wait.</param>
    public async ValueTask<IReadOnlyList<(long Number, AuditRow Row)>> ListAuditAsync(
        long bound, bool newestFirst, long size, CancellationToken ct)
    {
        // Sizes of few rows first, and of twice as many each time: it is not known how many are within the size.
        var (count, end) = (0, bound);
        for (var (page, isEnd) = (16, false); !isEnd && count < MostAuditRows; page *= 2)
        {
            var sizes = await ListAsync(
                newestFirst ? AuditRow.SizesBackwards : AuditRow.SizesForwards, ct, end, page);
            isEnd = sizes.Count < page;
            foreach (var (number, bytes) in sizes)
            {
                isEnd |= (size -= bytes) < 0;
                if (size < 0 && count > 0)
                    break;
                (count, end) = (count + 1, number);
            }
        }

        return count == 0
            ? []
            : await ListAsync(newestFirst ? AuditRow.Backwards : AuditRow.Forwards, ct, bound, end, count);
    }

    /// <summary>The last audit row of a node, or null.</summary>
    public ValueTask<AuditRow?> FindLastAuditAsync(string node, CancellationToken ct) =>
        FindAsync(AuditRow.LastOfNode, ct, node);

    /// <summary>
    /// The audit row of a node that holds an entry, or the newest before it; null if there is none. Read by what writes
    /// (<see cref="FindByWriter"/>).
    /// </summary>
    public AuditRow? FindAudit(string node, long atMost) => FindByWriter(AuditRow.OfNodeUpTo, node, atMost);

    /// <summary>What <c>meta</c> holds under a key, read in the same way.</summary>
    public byte[]? FindMeta(string key) => FindByWriter(MetaRow.ByKey, key);

    private ValueTask<IReadOnlyList<T>> ListScopeAsync<T>(
        (Query<T> Newest, Query<T> Older, Query<T> Newer) queries,
        long tenant, byte[] scope, string? bound, bool newer, long now, int limit, CancellationToken ct) =>
        bound is null
            ? ListAsync(queries.Newest, ct, tenant, scope, now, limit)
            : ListAsync(newer ? queries.Newer : queries.Older, ct, tenant, scope, now, bound, limit);

    private async ValueTask<long?> FindNumberAsync(Query<long> query, CancellationToken ct)
    {
        var numbers = await ListAsync(query, ct);
        return numbers.Count > 0 ? numbers[0] : null;
    }
}
