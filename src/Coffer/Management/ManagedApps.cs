using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>The apps of a store, for those who have an admin key.</summary>
internal sealed class ManagedApps(
    Engine engine, Instance instance, Gate gate, ManagementWriter management, TimeProvider time)
{
    /// <summary>What changes an app; null leaves a setting as it is.</summary>
    /// <param name="Name">The new name.</param>
    /// <param name="SecretsPerScope">The quota of each scope; 0 takes it back to the server's own.</param>
    /// <param name="Origins">The web origins, as browsers send them; empty is any.</param>
    /// <param name="IsDisabled">Whether its keys are refused.</param>
    /// <param name="AccountPattern">What accounts that requests name look like; empty is any.</param>
    /// <param name="IsAccountRequired">Whether requests have to name an account.</param>
    /// <param name="HasEvents">Whether events of it are kept; those that are there stay for their time.</param>
    public sealed record Edit(string? Name, int? SecretsPerScope, IReadOnlyList<string>? Origins, bool? IsDisabled,
        string? AccountPattern, bool? IsAccountRequired, bool? HasEvents = null)
    {
        /// <summary>Whether an account has to be installed first.</summary>
        public bool? AreInstallsExplicit { get; init; }

        /// <summary>Whether its keys may not uninstall it.</summary>
        public bool? IsUninstallDisabled { get; init; }

        public App ApplyTo(App app) => app with
        {
            Name = Name ?? app.Name,
            SecretsPerScope = SecretsPerScope switch
            {
                null => app.SecretsPerScope,
                0 => null,
                var quota => quota,
            },
            Origins = Origins ?? app.Origins,
            IsDisabled = IsDisabled ?? app.IsDisabled,
            AccountPattern = AccountPattern switch
            {
                null => app.AccountPattern,
                "" => null,
                var pattern => pattern,
            },
            IsAccountRequired = IsAccountRequired ?? app.IsAccountRequired,
            AreInstallsExplicit = AreInstallsExplicit ?? app.AreInstallsExplicit,
            IsUninstallDisabled = IsUninstallDisabled ?? app.IsUninstallDisabled,
            HasEvents = HasEvents ?? app.HasEvents,
        };
    }

    /// <summary>An app as it is shown; with its new signing secrets if there are any, and once.</summary>
    public sealed record AppAnswer(App App, long Now, NewSigningSecrets? New = null, bool IsDeleted = false)
    {
        public override string ToString() => $"{App.Id} [redacted]";
    }

    /// <summary>An app, for the management plane.</summary>
    /// <exception cref="ApiError">403: not an admin key. 404: there is no such app.</exception>
    public async Task<AppAnswer> RequireAsync(Caller caller, string id, CancellationToken ct)
    {
        gate.Require(caller, Acts.ShowApp, id);
        var app = await engine.FindAppAsync(id, ct) is { } row ? App.Inspect(row, instance) : null;
        await gate.PassAsync(caller.Entry("show_app", app is null ? "absent" : "ok") with { App = id });
        await ReportAsync(caller, [app ?? throw ApiError.NoSuch("app", id)]);
        return new AppAnswer(app, Now());
    }

    /// <summary>A page of all apps, newest first; and one more, not recorded, if there are more.</summary>
    /// <exception cref="ApiError">400: the cursor is no id of an app of this store.</exception>
    public async Task<IReadOnlyList<AppAnswer>> ListAsync(
        Caller caller, Cursor? cursor, int limit, CancellationToken ct)
    {
        gate.Require(caller, Acts.ListApps);
        var (place, newer) = await cursor.FindAsync(instance, App.IdPrefix, "app", async id =>
            caller.Reaches(id) && await engine.FindAppAsync(id, ct) is { } row ? new Place(row.Created, id) : null);
        var rows = caller.Apps is { } held
            ? await ListAsync(held, place, newer, limit + 1, ct)
            : await engine.ListAppsAsync(place, newer, limit + 1, ct);
        await gate.PassAsync(caller.Entry("list_apps", "ok") with { Count = Math.Min(rows.Count, limit) });
        List<App> apps = [.. rows.Select(row => App.Inspect(row, instance))];
        await ReportAsync(caller, apps);
        return [.. apps.Select(app => new AppAnswer(app, Now()))];
    }

    public Task<Reply> CreateAsync(ManagementWriter.Request<AppAnswer> request, Edit edit)
    {
        gate.Require(request.Caller, Acts.CreateApp);
        var entry = request.Caller.Entry("create_app", "ok");
        return management.WriteAsync(request, new Change.ManagementKey(), entry, (_, now) =>
        {
            var (app, secrets) = App.Create(instance, edit.Name!, management.CreatedAt(now));
            app = edit.ApplyTo(app);
            return new(new AppAnswer(app, now, secrets), [new RowWrite.PutApp(app.ToRow(instance))],
                entry with { App = app.Id, Changed = App.Changed(null, app) });
        });
    }

    /// <summary>
    /// Changes edit. What the app's keys minted ends when it is disabled, and does not come back when it is
    /// enabled.
    /// </summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public Task<Reply> ChangeAsync(ManagementWriter.Request<AppAnswer> request, string id, Edit edit)
    {
        gate.Require(request.Caller, Acts.ChangeApp, id);
        var verb = edit.IsDisabled switch { true => "disable_app", false => "enable_app", null => "change_app" };
        var entry = request.Caller.Entry(verb, "ok") with { App = id };
        var at = new Change.ManagementKey { App = id, NeedsNumber = edit.IsDisabled is not null };
        return management.WriteAsync(request, at, entry, (found, now) =>
        {
            var before = Require(found, id);
            var app = edit.ApplyTo(before);
            var changed = entry with { Changed = App.Changed(before, app) };
            if (!at.NeedsNumber)
                return new(new AppAnswer(app, now), [new RowWrite.PutApp(app.ToRow(instance))], changed);
            app = app with { Generation = found.Number };
            RowWrite[] rows = [new RowWrite.PutApp(app.ToRow(instance)), Endings.EndsFormatOne(id, id, now)];
            return new(new AppAnswer(app, now), rows, changed);
        });
    }

    /// <summary>Makes a new signing secret of a mode; the last one still signs for a while.</summary>
    /// <param name="request">Who asks.</param>
    /// <param name="id">The app.</param>
    /// <param name="livemode">The mode that it signs in; the other's is not touched.</param>
    /// <param name="grace">How much longer, in seconds.</param>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public Task<Reply> RollSigningSecretAsync(ManagementWriter.Request<AppAnswer> request, string id, bool livemode,
        long grace)
    {
        gate.Require(request.Caller, Acts.RollSigningSecret, id);
        var entry = request.Caller.Entry("roll_signing_secret", "ok") with { App = id };
        return management.WriteAsync(request, new Change.ManagementKey { App = id }, entry, (found, now) =>
        {
            var (app, secrets) = Require(found, id).RollSigningSecret(livemode, grace > 0 ? now + grace : null);
            return new(new AppAnswer(app, now, secrets), [new RowWrite.PutApp(app.ToRow(instance))],
                entry with
                {
                    Tenant = new TenantId(id, livemode, app.Account),
                    Changed = new Changes().Number("last_ends", null, now + grace).Json,
                });
        });
    }

    /// <summary>Removes an app and all its keys.</summary>
    /// <exception cref="ApiError">404: there is no such app. 400: something is stored for it.</exception>
    public Task<Reply> DeleteAsync(ManagementWriter.Request<AppAnswer> request, string id)
    {
        gate.Require(request.Caller, Acts.DeleteApp, id);
        var entry = request.Caller.Entry("delete_app", "ok") with { App = id };
        return management.WriteAsync(request, new Change.ManagementKey { App = id }, entry, (found, now) =>
        {
            var app = App.Inspect(found.App ?? throw ApiError.NoSuch("app", id), instance);
            return found.AppHasTenants
                ? throw ApiError.AppNotEmpty()
                : new(new AppAnswer(app, now, IsDeleted: true), [new RowWrite.DeleteApp(id)], entry);
        });
    }

    // A page of a few apps, as the storage gives one of all.
    private async Task<IReadOnlyList<AppRow>> ListAsync(
        IReadOnlyList<string> ids, Place? bound, bool newer, int limit, CancellationToken ct)
    {
        var found = new List<AppRow>();
        foreach (var id in ids)
        {
            if (await engine.FindAppAsync(id, ct) is { } row)
                found.Add(row);
        }

        return found.Page(static row => new Place(row.Created, row.Id), bound, newer, limit);
    }

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();

    private ValueTask ReportAsync(Caller caller, IEnumerable<App> seen) =>
        gate.ReportAsync([.. seen.Select(app => app.Damage).OfType<DamagedRow>()], caller.Origin.RequestId);

    private App Require(Change.ManagementFound found, string id) =>
        App.From(found.App ?? throw ApiError.NoSuch("app", id), instance);
}
