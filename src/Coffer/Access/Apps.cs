using Coffer.Storage;
using Microsoft.Extensions.Caching.Memory;

namespace Coffer.Access;

/// <summary>The apps of a store: found for every request, and managed by who has an admin key.</summary>
internal sealed class Apps(Engine engine, Instance instance, Gate gate, Management management, Epoch epoch, TimeProvider time) : IDisposable
{
    private const int Kept = 10_000;

    private readonly MemoryCache opened = new(new MemoryCacheOptions { SizeLimit = Kept });

    /// <summary>What changes an app; null leaves a setting as it is.</summary>
    /// <param name="Name">The new name.</param>
    /// <param name="SecretsPerScope">The quota of each scope; 0 takes it back to the server's own.</param>
    /// <param name="Origins">The web origins, as browsers send them; empty is any.</param>
    /// <param name="IsDisabled">Whether its keys are refused.</param>
    public sealed record Settings(string? Name, int? SecretsPerScope, IReadOnlyList<string>? Origins, bool? IsDisabled)
    {
        public App ApplyTo(App app) => app with
        {
            Name = Name ?? app.Name,
            SecretsPerScope = SecretsPerScope is { } quota ? quota == 0 ? null : quota : app.SecretsPerScope,
            Origins = Origins ?? app.Origins,
            IsDisabled = IsDisabled ?? app.IsDisabled,
        };
    }

    /// <summary>An app as it is shown; with its new signing secret if there is one, and once.</summary>
    public sealed record Shown(App App, long Now, string? SigningSecret = null, bool IsDeleted = false)
    {
        public override string ToString() => $"{App.Id} [redacted]";
    }

    /// <summary>Knows what has changed of what is cached about apps and keys.</summary>
    public Epoch Epoch => epoch;

    /// <summary>The app, or null; at most <see cref="Epoch.Bound"/> old.</summary>
    public async ValueTask<App?> FindAsync(string id, CancellationToken ct)
    {
        var current = epoch.Current;
        if (opened.TryGetValue(id, out (App App, long Epoch) known) && epoch.IsUnchanged(known.Epoch, id))
            return known.App;
        if (await engine.FindAppAsync(id, ct) is not { } row)
            return null;
        var app = App.From(row, instance);
        opened.Set(id, (app, current), new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = Epoch.Bound });
        return app;
    }

    /// <summary>An app, for the management plane.</summary>
    /// <exception cref="ApiError">403: not an admin key. 404: there is no such app.</exception>
    public async Task<Shown> RequireAsync(Caller caller, string id, CancellationToken ct)
    {
        gate.RequireAdmin(caller);
        var app = await engine.FindAppAsync(id, ct) is { } row ? App.Seen(row, instance) : null;
        await gate.PassAsync(caller.Entry("show_app", app is null ? "absent" : "ok") with { App = id });
        return new Shown(app ?? throw ApiError.NoSuch("app", id), Now());
    }

    /// <summary>A page of all apps, newest first; and one more, not on record, if there are more.</summary>
    /// <exception cref="ApiError">400: there is no app <paramref name="after"/>.</exception>
    public async Task<IReadOnlyList<Shown>> ListAsync(Caller caller, string? after, int limit, CancellationToken ct)
    {
        gate.RequireAdmin(caller);
        if (after is not null && await engine.FindAppAsync(after, ct) is null)
            throw ApiError.UnknownPosition("app", after);
        var rows = await engine.ListAppsAsync(after, limit + 1, ct);
        await gate.PassAsync(caller.Entry("list_apps", "ok") with { Count = Math.Min(rows.Count, limit) });
        return [.. rows.Select(row => new Shown(App.Seen(row, instance), Now()))];
    }

    public Task<Reply> CreateAsync(Management.Request<Shown> request, Settings settings)
    {
        gate.RequireAdmin(request.Caller);
        var entry = request.Caller.Entry("create_app", "ok");
        return management.WriteAsync(request, new Change.ManagementKey(0), entry, (_, now) =>
        {
            var (app, secret) = App.Create(settings.Name!, now);
            app = settings.ApplyTo(app);
            return new(new Shown(app, now, secret), [new RowWrite.PutApp(app.ToRow(instance))], entry with { App = app.Id });
        });
    }

    /// <summary>Changes settings. What the app's keys minted ends when it is disabled, and does not come back when it is enabled.</summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public Task<Reply> ChangeAsync(Management.Request<Shown> request, string id, Settings settings)
    {
        var verb = settings.IsDisabled switch { true => "disable_app", false => "enable_app", null => "change_app" };
        return ChangeAsync(request, id, verb, (app, _) => (settings.ApplyTo(app), null), endsMinted: settings.IsDisabled is not null);
    }

    /// <summary>Makes a new signing secret; the last one still signs for a while.</summary>
    /// <param name="request">Who asks.</param>
    /// <param name="id">The app.</param>
    /// <param name="grace">How much longer, in seconds.</param>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public Task<Reply> RollSigningSecretAsync(Management.Request<Shown> request, string id, long grace) =>
        ChangeAsync(request, id, "roll_signing_secret", (app, now) =>
        {
            var (secret, text) = SigningSecret.Generate();
            var last = app.SigningSecrets.Take(grace > 0 ? 1 : 0).Select(old => old.Until(now + grace));
            return (app with { SigningSecrets = [secret, .. last] }, text);
        });

    /// <summary>Removes an app and all its keys.</summary>
    /// <exception cref="ApiError">404: there is no such app. 400: something is stored for it.</exception>
    public Task<Reply> DeleteAsync(Management.Request<Shown> request, string id)
    {
        gate.RequireAdmin(request.Caller);
        var entry = request.Caller.Entry("delete_app", "ok") with { App = id };
        return management.WriteAsync(request, new Change.ManagementKey(0) { App = id }, entry, (found, now) =>
        {
            var app = App.Seen(found.App ?? throw ApiError.NoSuch("app", id), instance);
            return found.AppHasTenants
                ? throw ApiError.AppNotEmpty()
                : new(new Shown(app, now, IsDeleted: true), [new RowWrite.DeleteApp(id)], entry);
        });
    }

    public void Dispose() => opened.Dispose();

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();

    private Task<Reply> ChangeAsync(Management.Request<Shown> request, string id, string verb, Func<App, long, (App App, string? Secret)> change,
        bool endsMinted = false)
    {
        gate.RequireAdmin(request.Caller);
        var entry = request.Caller.Entry(verb, "ok") with { App = id };
        return management.WriteAsync(request, new Change.ManagementKey(0) { App = id, NeedsNumber = endsMinted }, entry, (found, now) =>
        {
            var (app, secret) = change(App.From(found.App ?? throw ApiError.NoSuch("app", id), instance), now);
            if (!endsMinted)
                return new(new Shown(app, now, secret), [new RowWrite.PutApp(app.ToRow(instance))], entry);
            app = app with { Generation = found.Number };
            return new(new Shown(app, now, secret), [new RowWrite.PutApp(app.ToRow(instance)), Endings.EndsFormatOne(id, id, now)], entry);
        });
    }
}
