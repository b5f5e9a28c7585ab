using Coffer.Access;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>What happened, for a secret key of the app that it happened to, and for the management plane.</summary>
internal sealed class EventList(Engine engine, Tenants tenants, Gate gate)
{
    /// <summary>Whose store it is.</summary>
    public Instance Instance { get; } = tenants.Instance;

    /// <summary>Where a page begins, and which way it is read.</summary>
    /// <param name="Bound">A number that is not itself in the page.</param>
    /// <param name="Newer">Whether it is read from there to newer ones.</param>
    public readonly record struct From(long Bound, bool Newer)
    {
        public static readonly From Newest = new(long.MaxValue, Newer: false);
    }

    /// <summary>
    /// A page of the events of the caller's app and mode, and of its account if it named one; nearest to the bound
    /// first, with one more than the limit if there are more.
    /// </summary>
    /// <exception cref="ApiError">403: not a secret key. 400: the cursor is no id of an event.</exception>
    public async Task<IReadOnlyList<Event>> ListAsync(
        Caller caller, (string Id, string Param, bool Newer)? cursor, int limit, CancellationToken ct)
    {
        var (app, tenant) = gate.RequireKind(caller, KeyKind.Secret);
        gate.RequireBudget(caller);
        var known = tenant.Account == app.Account ? null : await tenants.FindAsync(tenant, ct);
        var page = await PageAsync(caller, await FindAsync(cursor, ct), limit, (from, most) => known switch
        {
            not null => OfTenantAsync(known.Number, from, most, ct),
            null when tenant.Account == app.Account => OfAppAsync(app.Id, tenant.Livemode, from, most, ct),
            null => new([]),
        }, ct);
        if (gate.TakesMetadata)
            await gate.PassAsync(caller.Entry("list_events", "ok") with { Count = Math.Min(page.Count, limit) });
        return page;
    }

    /// <summary>An event of the caller's app and mode.</summary>
    /// <exception cref="ApiError">404: there is none of that id, or it is not of this app and mode.</exception>
    public async Task<Event> RequireAsync(Caller caller, string id, CancellationToken ct)
    {
        var (app, tenant) = gate.RequireKind(caller, KeyKind.Secret);
        gate.RequireBudget(caller);
        var row = await engine.FindAsync(EventRow.ById, ct, id);
        if (row is null || row.App != app.Id || row.Livemode != tenant.Livemode
            || (tenant.Account != app.Account && row.Account != tenant.Account))
            row = null;
        if (gate.TakesMetadata)
            await gate.PassAsync(caller.Entry("show_event", row is null ? "absent" : "ok") with { Target = id });
        return await OpenOneAsync(caller, row, id, ct);
    }

    /// <summary>The same for an admin key: of an app, or of all that it reaches.</summary>
    /// <exception cref="ApiError">400: the cursor is no id of an event. 404: the key is held to other apps.</exception>
    public async Task<IReadOnlyList<Event>> ListManagedAsync(
        Caller caller, string? app, (string Id, string Param, bool Newer)? cursor, int limit, CancellationToken ct)
    {
        gate.Require(caller, Acts.ListEvents, app);
        IReadOnlyList<string>? held = app is null ? caller.Apps : [app];
        var page = await PageAsync(caller, await FindAsync(cursor, ct), limit, (from, most) => held is null
            ? engine.ListAsync(from.Newer ? EventRow.Newer : EventRow.Older, ct, from.Bound, most)
            : OfAppsAsync(held, from, most, ct), ct);
        await gate.PassAsync(
            caller.Entry("list_events", "ok") with { App = app, Count = Math.Min(page.Count, limit) });
        return page;
    }

    /// <summary>An event for an admin key.</summary>
    /// <exception cref="ApiError">404: there is none of that id that it reaches.</exception>
    public async Task<Event> RequireManagedAsync(Caller caller, string id, CancellationToken ct)
    {
        gate.Require(caller, Acts.ListEvents);
        var row = await engine.FindAsync(EventRow.ById, ct, id);
        if (row is not null && !caller.Reaches(row.App))
            row = null;
        await gate.PassAsync(
            caller.Entry("show_event", row is null ? "absent" : "ok") with { Target = id, App = row?.App });
        return await OpenOneAsync(caller, row, id, ct);
    }

    /// <summary>An event opened; null if its tenant is gone, or it does not open.</summary>
    public async ValueTask<Event?> OpenAsync(EventRow row, CancellationToken ct)
    {
        if (row.Tenant is null)
            return Event.Open(Instance, null, row);
        if (row is not { App: { } app, Account: { } account })
            return null;
        var id = new TenantId(app, row.Livemode, account);
        if (await tenants.FindAsync(id, ct) is not { } tenant)
            return null;
        if (Event.Open(Instance, tenant, row) is { } opened)
            return opened;
        // Its keys may be others by now.
        return await tenants.RereadAsync(id, ct) is { } now ? Event.Open(Instance, now, row) : null;
    }

    /// <summary>The same; one that does not open and was not forgotten is reported.</summary>
    public async ValueTask<Event?> OpenOrReportAsync(EventRow row, CancellationToken ct) =>
        await OpenAsync([row], "", ct) is [var opened] ? opened : null;

    private async Task<Event> OpenOneAsync(Caller caller, EventRow? row, string id, CancellationToken ct)
    {
        if (row is null)
            throw ApiError.NoSuch("event", id);
        return await OpenAsync([row], caller.Origin.RequestId, ct) is [var opened]
            ? opened
            : throw ApiError.RecordDamaged("event", Event.Damage(row));
    }

    // What does not open is left out, and reported.
    private async Task<IReadOnlyList<Event>> OpenAsync(
        IReadOnlyList<EventRow> rows, string request, CancellationToken ct)
    {
        var (opened, damaged) = (new List<Event>(rows.Count), new List<DamagedRow>());
        foreach (var row in rows)
        {
            if (await OpenAsync(row, ct) is { } each)
                opened.Add(each);
            else if (await engine.FindAsync(EventRow.ById, ct, row.Id) is not null) // not forgotten meanwhile
                damaged.Add(Event.Damage(row));
        }

        await gate.ReportAsync(damaged, request);
        return opened;
    }

    // What does not open is left out, and what is after it takes its place.
    private async Task<IReadOnlyList<Event>> PageAsync(Caller caller, From place, int limit,
        Func<From, int, ValueTask<IReadOnlyList<EventRow>>> read, CancellationToken ct)
    {
        var page = new List<Event>();
        for (var isEnd = false; !isEnd && page.Count <= limit;)
        {
            var wanted = limit + 1 - page.Count;
            var rows = await read(place, wanted);
            page.AddRange(await OpenAsync(rows, caller.Origin.RequestId, ct));
            isEnd = rows.Count < wanted;
            if (rows.Count > 0)
                place = place with { Bound = rows[^1].Number };
        }

        return page;
    }

    private async ValueTask<IReadOnlyList<EventRow>> OfAppsAsync(
        IReadOnlyList<string> apps, From from, int limit, CancellationToken ct)
    {
        var merged = new List<EventRow>();
        foreach (var app in apps)
        {
            merged.AddRange(await OfAppAsync(app, livemode: false, from, limit, ct));
            merged.AddRange(await OfAppAsync(app, livemode: true, from, limit, ct));
        }

        merged.Sort((one, other) => from.Newer
            ? one.Number.CompareTo(other.Number)
            : other.Number.CompareTo(one.Number));
        return [.. merged.Take(limit)];
    }

    private ValueTask<IReadOnlyList<EventRow>> OfAppAsync(
        string app, bool livemode, From from, int limit, CancellationToken ct) => engine.ListAsync(
        from.Newer ? EventRow.OfAppNewer : EventRow.OfAppOlder, ct, app, livemode, from.Bound, limit);

    private ValueTask<IReadOnlyList<EventRow>> OfTenantAsync(
        long tenant, From from, int limit, CancellationToken ct) => engine.ListAsync(
        from.Newer ? EventRow.OfTenantNewer : EventRow.OfTenantOlder, ct, tenant, from.Bound, limit);

    // The id of an event that is gone, or is another app's, stands where it stood in time.
    private async ValueTask<From> FindAsync((string Id, string Param, bool Newer)? cursor, CancellationToken ct)
    {
        if (cursor is not { } at)
            return From.Newest;
        if (!EventId.IsOne(at.Id))
            throw ApiError.UnknownPosition("event", at.Id, at.Param);
        if (await engine.FindAsync(EventRow.ById, ct, at.Id) is { } row)
            return new From(row.Number, at.Newer);
        var before = await engine.ListAsync(EventRow.NumberUpTo, ct, at.Id);
        var last = before.Count > 0 ? before[0] : 0;
        return new From(at.Newer ? last : last + 1, at.Newer);
    }
}
