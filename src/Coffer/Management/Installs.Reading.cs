using Coffer.Access;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>How installs are found: tenants that are there, and those whose removal is under way.</summary>
internal sealed partial class Installs
{
    private static readonly IComparer<long> Newest =
        Comparer<long>.Create(static (one, other) => other.CompareTo(one));

    /// <summary>
    /// A page of the installs that the app's backend reaches; and one more, not recorded, if there are more.
    /// </summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="app">What the request says of the app; null is the own account alone.</param>
    /// <param name="filter">What it asks for.</param>
    /// <param name="cursors">What the page is next to: both are looked at, and only one may be sent.</param>
    /// <param name="limit">The most to give.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ApiError">
    /// 400: it is another app, or a cursor is no install. 403: the app is not installed in the account that it acts in.
    /// </exception>
    public async Task<IReadOnlyList<Install>> ListAsync(Caller caller, string? app, InstallFilter filter,
        IReadOnlyList<Cursor> cursors, int limit, CancellationToken ct)
    {
        var (own, tenant) = gate.RequireInstalls(caller, Permissions.AppInstallRead);
        if (app is not null)
            RequireOwn(own, app);
        var reach = ReachOf(caller, own, tenant);
        if (app is null)
            reach = reach with { Account = tenant.Account };
        var bound = await BoundAsync(caller, reach, cursors, ct);
        var installs = await ListAsync(caller, reach, filter, bound, limit, ct);
        if (gate.TakesMetadata)
            await gate.PassAsync(caller.Entry("list_installs", "ok") with { Count = Math.Min(installs.Count, limit) });
        return installs;
    }

    /// <summary>The same of an app and a mode, for someone with an admin key.</summary>
    /// <exception cref="ApiError">404: there is no such app. 400: a cursor is no install.</exception>
    public async Task<IReadOnlyList<Install>> ListAsync(Caller caller, string app, bool livemode, InstallFilter filter,
        Cursor? cursor, int limit, CancellationToken ct)
    {
        var reach = new Reach(await RequireAppAsync(caller, Acts.ListInstalls, app, ct), livemode, Account: null);
        var bound = await BoundAsync(caller, reach, cursor is null ? [] : [cursor], ct);
        var installs = await ListAsync(caller, reach, filter, bound, limit, ct);
        await gate.PassAsync(
            caller.Entry("list_installs", "ok") with { App = app, Count = Math.Min(installs.Count, limit) });
        return installs;
    }

    private async Task<(long Number, bool Newer)> BoundAsync(
        Caller caller, Reach reach, IReadOnlyList<Cursor> cursors, CancellationToken ct)
    {
        var bound = (Number: long.MaxValue, Newer: false);
        foreach (var cursor in cursors)
        {
            var install = await FindAsync(reach, cursor.Id, caller.Origin.RequestId, ct);
            var number = install?.Number ?? await FindGoneAsync(reach, cursor.Id, ct);
            bound = (number ?? throw ApiError.UnknownPosition("install", cursor.Id, cursor.Param), cursor.IsBefore);
        }

        return cursors.Count > 1 ? throw ApiError.BothCursors() : bound;
    }

    // One that is no more marks its place as long as its account is closed: a walk over a changing list does not end.
    private async Task<long?> FindGoneAsync(Reach reach, string id, CancellationToken ct) =>
        reach.Account is null && InstallId.Parse(reach.Livemode, id) is { } stored
            ? (await engine.FindAsync(UninstallRow.ByInstall, ct, reach.App.Id, reach.Livemode, stored))?.Number
            : null;

    private async Task<IReadOnlyList<Install>> ListAsync(Caller caller, Reach reach, InstallFilter filter,
        (long Number, bool Newer) bound, int limit, CancellationToken ct)
    {
        var own = Install.PrivateChannel(reach.Livemode);
        var account = reach.Account ?? filter.Account ?? (filter.Channel == own ? reach.App.Account : null);
        if (account is not null)
        {
            var id = new TenantId(reach.App.Id, reach.Livemode, account);
            var one = await FindAsync(reach.App, id, caller.Origin.RequestId, ct);
            // Who acts in an account that is closed learns it, as on all routes.
            if (one is null && account == caller.Account && account != reach.App.Account
                && await tenants.IsClosedAsync(id, reach.App, ct))
                throw gate.NotInstalled(caller);
            return one is not null && filter.Takes(one) && IsBeyond(one.Number) ? [one] : [];
        }

        // Another account than the app's own has no other channel.
        if (filter.IsEmpty || filter.Channel is not (null or Install.Public))
            return [];
        var found = new List<Install>();
        if (filter.IsGoing != true)
            found.AddRange(await StayingAsync(caller, reach, filter, bound, limit + 1, ct));
        if (filter.IsGoing != false)
            found.AddRange(await GoingAsync(caller, reach, filter, bound, limit + 1, ct));
        var sorted = bound.Newer
            ? found.OrderBy(static install => install.Number)
            : found.OrderByDescending(static install => install.Number);
        return [.. sorted.Take(limit + 1)];

        bool IsBeyond(long number) => bound.Newer ? number > bound.Number : number < bound.Number;
    }

    // Damaged rows are left out and reported, and those after them take their place.
    private async Task<List<Install>> StayingAsync(Caller caller, Reach reach, InstallFilter filter,
        (long Number, bool Newer) bound, int wanted, CancellationToken ct)
    {
        var (found, damaged, unknown) = (new List<Install>(), new List<DamagedRow>(), new List<InstallRow>());
        await foreach (var rows in PagesAsync(bound.Newer ? InstallRow.Above : InstallRow.Below,
            static row => row.Number, reach, filter, bound, wanted, ct))
        {
            damaged.AddRange(rows.Where(static row => !row.IsSound).Select(Damage));
            foreach (var row in rows.Where(static row => row.IsSound))
            {
                var install = Of(reach.App, row);
                if (!filter.Takes(install))
                    continue;
                found.Add(install);
                if (row.Install != install.Stored)
                    unknown.Add(row);
            }

            if (found.Count >= wanted)
                break;
        }

        await gate.ReportAsync(damaged, caller.Origin.RequestId);
        await GiveAsync(unknown);
        return found;
    }

    private async Task<IEnumerable<Install>> GoingAsync(Caller caller, Reach reach, InstallFilter filter,
        (long Number, bool Newer) bound, int wanted, CancellationToken ct)
    {
        var found = new List<Install>();
        await foreach (var rows in PagesAsync(bound.Newer ? UninstallRow.GoingAbove : UninstallRow.GoingBelow,
            static row => row.Row.Number, reach, filter, bound, wanted, ct))
        {
            foreach (var row in rows)
            {
                if (await OpenAsync(reach.App, row, caller.Origin.RequestId) is { } install && filter.Takes(install))
                    found.Add(install);
            }

            if (found.Count >= wanted)
                break;
        }

        return found;
    }

    private IAsyncEnumerable<IReadOnlyList<TRow>> PagesAsync<TRow>(Query<TRow> query, Func<TRow, long> number,
        Reach reach, InstallFilter filter, (long Number, bool Newer) bound, int wanted, CancellationToken ct) =>
        Engine.PagesAsync(wanted, bound.Number,
            (at, most) => engine.ListAsync(query, ct,
                reach.App.Id, reach.Livemode, filter.Created.From, filter.Created.Until, at, most),
            number, bound.Newer ? Comparer<long>.Default : Newest);

    // What a caller was shown is found by its id from then on. A row of before, or of a node of before, has none yet.
    private Task GiveAsync(List<InstallRow> rows) => rows.Count == 0
        ? Task.CompletedTask
        : management.GiveAsync(rows.Select(Given));

    private RowWrite Given(InstallRow row) =>
        new RowWrite.GiveInstall(row.Number, InstallId.Of(instance, row.Tenant, row.Created));

    // The one of an account, there or being removed.
    private async Task<Install?> FindAsync(App app, TenantId id, string requestId, CancellationToken ct)
    {
        if (await FindRowAsync(id, ct) is { } row)
        {
            var install = Of(app, row);
            if (row.Install != install.Stored)
                await GiveAsync([row]);
            return install;
        }

        var closed = InstallId.Closed(instance, id);
        return await engine.FindAsync(UninstallRow.GoingOf, ct, closed.App, closed.Livemode, closed.Account)
            is { } going ? await OpenAsync(app, going, requestId) : null;
    }

    // By its id, which is proven: what the database says of ids is not believed.
    private async Task<Install?> FindAsync(Reach reach, string id, string requestId, CancellationToken ct)
    {
        if (InstallId.Parse(reach.Livemode, id) is not { } stored)
            return null;
        var rows = await engine.ListAsync(InstallRow.ById, ct, stored);
        var install = rows.Where(row => row.IsSound && row.Tenant.App == reach.App.Id)
            .Select(row => Of(reach.App, row)).FirstOrDefault(each => each.Id == id);
        if (install is null && await engine.FindAsync(UninstallRow.Going, ct, reach.App.Id, reach.Livemode, stored)
            is { } going)
            install = await OpenAsync(reach.App, going, requestId);
        return install is not null && (reach.Account is null || reach.Account == install.Tenant.Account)
            ? install
            : null;
    }

    private async Task<InstallRow?> FindRowAsync(TenantId id, CancellationToken ct)
    {
        var row = await engine.FindAsync(InstallRow.ByOwner, ct, id.App, id.Livemode, id.Account);
        return row is { IsSound: false } ? throw ApiError.RecordDamaged("install", Damage(row)) : row;
    }

    private Install Of(App app, InstallRow row) => Of(app, row.Tenant, row.Created) with { Number = row.Number };

    // Who it was, the receipt says.
    private async Task<Install?> OpenAsync(App app, GoingRow going, string requestId)
    {
        var (row, receipt) = (going.Row, Receipt.From(going.Receipt, instance));
        if (receipt is null)
        {
            await gate.ReportAsync([Receipt.Damaged(going.Receipt)], requestId);
            return null;
        }

        var install = Of(app, new TenantId(app.Id, row.Key.Livemode, receipt.Account), row.Created);
        return install.Stored == row.Install ? install with { Number = row.Number, Receipt = row.Receipt } : null;
    }

    private static DamagedRow Damage(InstallRow row) =>
        new("tenants", $"{row.Number}", DamagedRow.Columns) { App = row.Tenant.App, Account = row.Tenant.Account };
}
