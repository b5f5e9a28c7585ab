using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Globalization;
using Coffer.Http;
using Coffer.Telemetry;

namespace Coffer.Hosting;

/// <summary>Counts requests once they are answered: routes as templates, reasons by the program's own words.</summary>
/// <param name="mostApps">How many apps are counted by their ids; 0 counts none.</param>
internal sealed class RequestMetrics(int mostApps)
{
    private const string NoRoute = "none";

    private static readonly FrozenDictionary<(string Method, string Route), string> Verbs =
        new Dictionary<(string, string), string>
        {
            [("POST", "/v1/apps/secrets")] = "set",
            [("GET", "/v1/apps/secrets/find")] = "find",
            [("GET", "/v1/apps/secrets")] = "list",
            [("POST", "/v1/apps/secrets/delete")] = "delete",
        }.ToFrozenDictionary();

    // All of these are the program's: there are as many as routes times what they answer.
    private readonly ConcurrentDictionary<(string Method, string Route, int Status, bool IsHttps), Kept> known = new();
    private readonly ConcurrentDictionary<string, Counter.Count> apps = new(StringComparer.Ordinal);

    /// <summary>The series of one kind of request.</summary>
    private sealed record Kept(Distribution.Series Times, Counter.Count? Operations);

    public static string SchemeOf(Exchange exchange) => exchange.IsHttps ? Uri.UriSchemeHttps : Uri.UriSchemeHttp;

    public void Count(Exchange exchange)
    {
        var kind = (exchange.Method, exchange.Route ?? NoRoute, exchange.Status, exchange.IsHttps);
        var kept = known.GetOrAdd(kind, static (_, of) => SeriesOf(of), exchange);
        kept.Times.Record(exchange.Duration.TotalSeconds);
        kept.Operations?.Add();
        if (exchange.Reason is { } reason)
            Metrics.Refusals.Of(reason, Text(exchange.Status)).Add();
        if (mostApps > 0 && exchange.Caller is { App.Id: { } app })
            CountOf(app).Add();
    }

    private static Kept SeriesOf(Exchange exchange)
    {
        var route = exchange.Route ?? NoRoute;
        var verb = Verbs.GetValueOrDefault((exchange.Method, route));
        return new Kept(
            Metrics.Requests.Of(exchange.Method, Text(exchange.Status), route, SchemeOf(exchange)),
            verb is null ? null : Metrics.Operations.Of(verb, OutcomeOf(exchange.Status)));
    }

    private static string OutcomeOf(int status) => status switch
    {
        Exchange.ClientGone => "gone",
        StatusCodes.Status404NotFound => "absent",
        < StatusCodes.Status400BadRequest => "ok",
        < StatusCodes.Status500InternalServerError => "refused",
        _ => "failed",
    };

    private Counter.Count CountOf(string app)
    {
        if (apps.TryGetValue(app, out var count))
            return count;
        // Some that come at once may be a few more than that.
        return apps.Count < mostApps
            ? apps.GetOrAdd(app, static id => Metrics.OfApps.Of(id))
            : Metrics.OfApps.Of(Metric.Other);
    }

    private static string Text(int status) => status.ToString(CultureInfo.InvariantCulture);
}
