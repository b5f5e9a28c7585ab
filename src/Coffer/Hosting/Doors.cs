using Coffer.Access;
using Coffer.Api;
using Coffer.Api.Admin;
using Coffer.Http;
using Coffer.Settings;

namespace Coffer.Hosting;

/// <summary>What answers a request, by the address it came in at and its path.</summary>
internal sealed class Doors(
    Pipeline api, Pipeline management, HealthApi health, AuditKeyApi auditKey, CofferOptions options,
    Surroundings around)
{
    /// <summary>What answers at /metrics, at an address of its own or of the management plane; or null.</summary>
    public MetricsApi? Metrics { get; init; }

    /// <summary>What an address answers.</summary>
    private enum Planes
    {
        /// <summary>The API.</summary>
        Public,

        /// <summary>The management plane, with health.</summary>
        Admin,

        /// <summary>All of it, where there is one address only.</summary>
        Both,
    }

    public static Doors Open(
        SecretsParts secrets, ManagementParts management, AccessParts access, HealthApi health,
        AuditKeyApi auditKey, MetricsApi? metrics, Uri url, CofferOptions options, Surroundings around)
    {
        var limits = around.Parts.Add(new RateLimits(options.RatePerKey, options.RatePerAddress, around.Time));
        var authentication = new Authentication(access.Callers, limits);
        var docs = new Uri(options.PublicUrl ?? url, DocsApi.Errors);
        var signatures = new Signatures(access.Gate, around.Time);
        IEnumerable<ApiRoute> routes =
        [
            .. new SecretsApi(secrets.Store, teaches: options.Dev is not null).Routes,
            .. new EphemeralKeysApi(management.Minting, signatures).Routes,
            .. new InstallsApi(management.Installs).Routes,
            .. new EventsApi(management.Events).Routes,
        ];
        var faults = around.Parts.Add(new Faults(health.HasStorageAsync, around.Time, around.Log<Faults>()));
        if (options.Dev is { SeedFixtures: true })
            routes = around.Parts.Add(new Fixtures(secrets.Store, FirstStart.DevCaller)).Keep(routes);
        return new Doors(
            new Pipeline(routes, authentication, access.Gate, isAdmin: false, docs, faults),
            new Pipeline(management.AdminRoutes, authentication, access.Gate, isAdmin: true, docs, faults),
            health, auditKey, options, around)
        {
            Metrics = metrics,
        };
    }

    public Task AnswerAsync(HttpContext context)
    {
        if (options.MetricsListen is not null && Listeners.IsOfMetrics(context))
            return Metrics!.AnswerAsync(context);
        return around.Observers.AreThere ? ObserveAsync(context) : AnswerAsync(context, null);
    }

    private async Task ObserveAsync(HttpContext context)
    {
        var (exchange, isAnswered) = (new Exchange(context, around.Time.GetTimestamp()), false);
        try
        {
            await AnswerAsync(context, exchange);
            isAnswered = true;
        }
        finally
        {
            exchange.End(around.Time, isAnswered);
            around.Observers.Tell(exchange);
        }
    }

    private Task AnswerAsync(HttpContext context, Exchange? exchange) => PlaceOf(context) switch
    {
        (DocsApi.Errors or DocsApi.Pages or DocsApi.Document, _) => DocsApi.WriteAsync(context),
        (DocsApi.AdminPages or DocsApi.AdminDocument, not Planes.Public) => DocsApi.WriteAsync(context),
        (AuditKeyApi.Path, _) => auditKey.WriteAsync(context),
        (HealthApi.Check, _) => HealthApi.WriteCheckAsync(context),
        (MetricsApi.Path, Planes.Admin) when options.MetricsListen is null => Metrics!.AnswerAsync(context),
        (HealthApi.Alive, not Planes.Public) => HealthApi.WriteAliveAsync(context),
        (HealthApi.Ready, not Planes.Public) => health.WriteReadyAsync(context),
        ("/", not Planes.Admin) when options.Dev is not null => Fixtures.WriteMockVersionAsync(context),
        (_, Planes.Admin) => management.RunAsync(context, exchange),
        ({ } path, Planes.Both) when path.StartsWith(ManagementWire.Root + "/", StringComparison.Ordinal) =>
            management.RunAsync(context, exchange),
        _ => api.RunAsync(context, exchange),
    };

    private (string? Path, Planes Planes) PlaceOf(HttpContext context) =>
        (context.Request.Path.Value, PlanesOf(context));

    private Planes PlanesOf(HttpContext context)
    {
        if (options.AdminListen is null)
            return Planes.Both;
        return Listeners.IsAdmin(context) ? Planes.Admin : Planes.Public;
    }
}
