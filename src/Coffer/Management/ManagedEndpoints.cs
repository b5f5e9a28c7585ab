using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>Where events are sent, for someone with an admin key (docs/events.md, "Endpoints").</summary>
internal sealed class ManagedEndpoints(
    Engine engine, Instance instance, Gate gate, ManagementWriter management, Destinations destinations)
{
    private const string Noun = "webhook endpoint";

    /// <summary>What changes an endpoint; null leaves a setting as it is.</summary>
    public sealed record Edit(string? Url, IReadOnlyList<string>? Kinds, bool? HasNames, string? ApiVersion,
        string? Description, bool? IsDisabled)
    {
        public WebhookEndpoint ApplyTo(WebhookEndpoint endpoint, long now) => endpoint with
        {
            Url = Url ?? endpoint.Url,
            Kinds = Kinds ?? endpoint.Kinds,
            HasNames = HasNames ?? endpoint.HasNames,
            ApiVersion = ApiVersion ?? endpoint.ApiVersion,
            Description = Description ?? endpoint.Description,
            IsDisabled = IsDisabled ?? endpoint.IsDisabled,
            HasFailed = IsDisabled is null && endpoint.HasFailed,
            EnabledAt = IsDisabled == false ? now : endpoint.EnabledAt,
        };
    }

    /// <summary>An endpoint as it is shown; with its new secret if there is one, and once.</summary>
    public sealed record EndpointAnswer(WebhookEndpoint Endpoint, long Now, (long Waiting, long Failed) Deliveries,
        string? Secret = null, bool IsDeleted = false)
    {
        public override string ToString() => $"{Endpoint.Id} [redacted]";
    }

    /// <summary>A delivery as it is shown.</summary>
    public sealed record Delivery(string Event, string Kind, string? Account, long Created)
    {
        public long Attempts { get; init; }

        public long? Failed { get; init; }

        public long? Due { get; init; }

        public long? Status { get; init; }

        public bool IsOutOfOrder { get; init; }
    }

    /// <summary>A page of endpoints, of an app or of all, newest first; and one more if there are more.</summary>
    /// <exception cref="ApiError">400: the cursor is no id of an endpoint. 404: the key is held to others.</exception>
    public async Task<IReadOnlyList<EndpointAnswer>> ListAsync(
        Caller caller, string? app, Cursor? cursor, int limit, CancellationToken ct)
    {
        gate.Require(caller, Acts.ListEndpoints, app);
        var (place, newer) = await cursor.FindAsync(instance, WebhookEndpoint.IdPrefix, Noun, async id =>
            await engine.FindAsync(EndpointRow.ById, ct, id) is { } row && caller.Reaches(row.App)
                ? new Place(row.Created, id)
                : null);
        var rows = await PageAsync(app is null ? caller.Apps : [app], place, newer, limit + 1, ct);
        await gate.PassAsync(
            caller.Entry("list_webhook_endpoints", "ok") with { App = app, Count = Math.Min(rows.Count, limit) });
        var found = new List<EndpointAnswer>();
        foreach (var row in rows)
            found.Add(await AnswerAsync(WebhookEndpoint.Inspect(instance, row), ct));
        await ReportAsync(caller, found);
        return found;
    }

    /// <exception cref="ApiError">404: there is no such endpoint.</exception>
    public async Task<EndpointAnswer> RequireAsync(Caller caller, string id, CancellationToken ct)
    {
        gate.Require(caller, Acts.ShowEndpoint);
        var row = await FindAsync(caller, id, ct);
        await gate.PassAsync(caller.Entry("show_webhook_endpoint", row is null ? "absent" : "ok") with
        {
            Target = id,
            App = row?.App,
        });
        var answer = await AnswerAsync(WebhookEndpoint.Inspect(instance, row ?? throw ApiError.NoSuch(Noun, id)), ct);
        await ReportAsync(caller, [answer]);
        return answer;
    }

    /// <summary>A page of what an endpoint has not accepted, oldest event first, after an event.</summary>
    /// <exception cref="ApiError">404: there is no such endpoint. 400: there is no such event.</exception>
    public async Task<(IReadOnlyList<Delivery> Page, bool HasMore)> ListDeliveriesAsync(
        Caller caller, string id, string? after, int limit, CancellationToken ct)
    {
        gate.Require(caller, Acts.ListDeliveries);
        if (await FindAsync(caller, id, ct) is not { } row)
            throw ApiError.NoSuch(Noun, id);
        var from = after is null ? 0 : (await engine.FindAsync(EventRow.ById, ct, after))?.Number
            ?? throw ApiError.UnknownPosition("event", after);
        await gate.PassAsync(caller.Entry("list_deliveries", "ok") with { Target = id, App = row.App });
        var found = await engine.ListAsync(DeliveryRow.After, ct, id, from, limit + 1);
        var page = new List<Delivery>();
        foreach (var delivery in found.Take(limit))
        {
            // What was forgotten is gone from the list with the next turn of sending.
            if (await engine.FindAsync(EventRow.ByNumber, ct, delivery.Event) is { } happened)
            {
                page.Add(new Delivery(happened.Id, happened.Kind, happened.Account, happened.Created)
                {
                    Attempts = delivery.Attempts,
                    Failed = delivery.Failed,
                    Due = delivery.Failed is null ? delivery.Due : null,
                    Status = delivery.Status > 0 ? delivery.Status : null,
                    IsOutOfOrder = delivery.IsOvertaken,
                });
            }
        }

        return (page, found.Count > limit);
    }

    /// <summary>Makes an endpoint, which is sent what happens from then on.</summary>
    /// <param name="request">Who asks.</param>
    /// <param name="app">Whose it is; null is the store's, for an owner.</param>
    /// <param name="livemode">The mode of what it is sent.</param>
    /// <param name="edit">What it is set to.</param>
    /// <param name="ct">Ends reading.</param>
    /// <exception cref="ApiError">
    /// 400: the URL may not be called, the app keeps no events, there are too many endpoints, or names are wanted of
    /// what is no app's.
    /// </exception>
    public async Task<Reply> CreateAsync(ManagementWriter.Request<EndpointAnswer> request, string? app, bool livemode,
        Edit edit, CancellationToken ct)
    {
        Require(request.Caller, Acts.CreateEndpoint, app);
        RequireSound(edit, app);
        const int Most = WebhookEndpoint.MostOfApp;
        if ((await engine.ListAsync(EndpointRow.OfApp, ct, app ?? "", Most)).Count == Most)
            throw ApiError.Unusable("app", $"it has {Most} webhook endpoints; delete one first");
        var entry = request.Caller.Entry("create_webhook_endpoint", "ok") with { App = app };
        return await management.WriteAsync(request, new Change.ManagementKey { App = app }, entry, (found, now) =>
        {
            if (app is not null && found.App is null)
                throw ApiError.Unusable("app", "there is no such app");
            if (app is not null && !App.From(found.App!, instance).HasEvents)
                throw ApiError.Unusable("app", "it keeps no events; switch them on first (coffer apps set --events)");
            var created = management.CreatedAt(now);
            var id = ManagedId.New(instance, WebhookEndpoint.IdPrefix, created);
            var (endpoint, secret) = edit.ApplyTo(new WebhookEndpoint(id, app, livemode, created)
            {
                ApiVersion = Event.ApiVersion,
            }, now).WithSecret(instance, lastUntil: null);
            return new(new EndpointAnswer(endpoint, now, default, secret),
                [new RowWrite.PutEndpoint(endpoint.ToRow(instance))],
                entry with { Target = id, Changed = WebhookEndpoint.Changed(null, endpoint) });
        });
    }

    /// <exception cref="ApiError">404: there is no such endpoint. 400: as for a new one.</exception>
    public Task<Reply> ChangeAsync(
        ManagementWriter.Request<EndpointAnswer> request, string id, Edit edit, CancellationToken ct) =>
        WriteAsync(request, Acts.ChangeEndpoint, id, (before, now) =>
        {
            RequireSound(edit, before.App);
            var endpoint = edit.ApplyTo(before, now);
            return (endpoint, null, [new RowWrite.PutEndpoint(endpoint.ToRow(instance))],
                WebhookEndpoint.Changed(before, endpoint));
        }, ct);

    /// <summary>Makes a new secret; the last one still signs for a while.</summary>
    /// <param name="request">Who asks.</param>
    /// <param name="id">The endpoint.</param>
    /// <param name="grace">How much longer, in seconds.</param>
    /// <param name="ct">Ends reading.</param>
    /// <exception cref="ApiError">404: there is no such endpoint.</exception>
    public Task<Reply> RollSecretAsync(
        ManagementWriter.Request<EndpointAnswer> request, string id, long grace, CancellationToken ct) =>
        WriteAsync(request, Acts.RollEndpointSecret, id, (before, now) =>
        {
            var (endpoint, secret) = before.WithSecret(instance, grace > 0 ? now + grace : null);
            return (endpoint, secret, [new RowWrite.PutEndpoint(endpoint.ToRow(instance))],
                new Changes().Number("last_ends", null, now + grace).Json);
        }, ct);

    /// <summary>Removes an endpoint with what it was to be sent, damaged or not.</summary>
    /// <exception cref="ApiError">404: there is no such endpoint.</exception>
    public Task<Reply> DeleteAsync(
        ManagementWriter.Request<EndpointAnswer> request, string id, CancellationToken ct) =>
        WriteAsync(request, Acts.DeleteEndpoint, id,
            (before, _) => (before, null, [new RowWrite.DeleteEndpoint(id)], null), ct, isDeleted: true);

    /// <summary>Sends an event again now, whether it was accepted, given up or waits.</summary>
    /// <exception cref="ApiError">404: there is no such endpoint. 400: there is no such event of its app and mode.
    /// </exception>
    public async Task<Reply> RetryAsync(
        ManagementWriter.Request<EndpointAnswer> request, string id, string eventId, CancellationToken ct)
    {
        var happened = await engine.FindAsync(EventRow.ById, ct, eventId);
        var known = happened is null ? null : await engine.FindAsync(DeliveryRow.Of, ct, id, happened.Number);
        return await WriteAsync(request, Acts.RetryDelivery, id, (endpoint, now) =>
        {
            if (happened is null || !endpoint.IsFor(happened))
                throw ApiError.Unusable("event", "there is no such event of the endpoint's app and mode");
            var row = known
                ?? new DeliveryRow(id, happened.Number, happened.Account ?? "", now, 0, now, 0) { IsOvertaken = true };
            return (endpoint, null,
                [new RowWrite.PutDelivery(row with { Created = now, Due = now, Failed = null })], null);
        }, ct);
    }

    private async Task<Reply> WriteAsync(ManagementWriter.Request<EndpointAnswer> request, Act act, string id,
        Func<WebhookEndpoint, long, (WebhookEndpoint Endpoint, string? Secret, RowWrite[] Rows, string? Changed)>
            decide,
        CancellationToken ct, bool isDeleted = false)
    {
        gate.Require(request.Caller, act);
        var counts = await CountAsync(id, ct);
        var entry = request.Caller.Entry(act.Name, "ok") with { Target = id };
        return await management.WriteAsync(request, new Change.ManagementKey { Endpoint = id }, entry, (found, now) =>
        {
            if (found.Endpoint is not { } row || !request.Caller.Reaches(row.App))
                throw ApiError.NoSuch(Noun, id);
            Require(request.Caller, act, row.App);
            var before = isDeleted ? WebhookEndpoint.Inspect(instance, row) : WebhookEndpoint.From(instance, row);
            var (endpoint, secret, rows, changed) = decide(before, now);
            return new(new EndpointAnswer(endpoint, now, counts, secret, isDeleted), rows,
                entry with { App = row.App, Changed = changed });
        });
    }

    // Of one that is no app's, an owner decides alone.
    private void Require(Caller caller, Act act, string? app)
    {
        gate.Require(caller, act, app);
        if (app is null)
            gate.Require(caller, Acts.ManageStoreEndpoints);
    }

    private void RequireSound(Edit edit, string? app)
    {
        if (edit.Url is { } url && destinations.ProblemOf(url) is { } problem)
            throw ApiError.Unusable("url", problem);
        if (edit.HasNames == true && app is null)
            throw ApiError.Unusable("names", "names of secrets and users are sent only to an endpoint of their app");
    }

    private async Task<EndpointRow?> FindAsync(Caller caller, string id, CancellationToken ct) =>
        await engine.FindAsync(EndpointRow.ById, ct, id) is { } row && caller.Reaches(row.App) ? row : null;

    private async Task<EndpointAnswer> AnswerAsync(WebhookEndpoint endpoint, CancellationToken ct) =>
        new(endpoint, management.Now, await CountAsync(endpoint.Id, ct));

    private async Task<(long Waiting, long Failed)> CountAsync(string id, CancellationToken ct) =>
        (await engine.ListAsync(DeliveryRow.Count, ct, id))[0];

    private async Task<IReadOnlyList<EndpointRow>> PageAsync(
        IReadOnlyList<string>? apps, Place? bound, bool newer, int limit, CancellationToken ct)
    {
        if (apps is null)
        {
            var (created, id) = bound is { } at ? (at.Created, at.Id) : (long.MaxValue, "");
            return await engine.ListAsync(newer ? EndpointRow.Newer : EndpointRow.Older, ct, created, id, limit);
        }

        var found = new List<EndpointRow>();
        foreach (var app in apps)
            found.AddRange(await engine.ListAsync(EndpointRow.OfApp, ct, app, WebhookEndpoint.MostOfApp));
        return found.Page(static row => new Place(row.Created, row.Id), bound, newer, limit);
    }

    private ValueTask ReportAsync(Caller caller, IEnumerable<EndpointAnswer> shown) => gate.ReportAsync(
        [.. shown.Select(answer => answer.Endpoint.Damage).OfType<DamagedRow>()], caller.Origin.RequestId);
}
