using System.Diagnostics;

namespace Coffer.Telemetry;

/// <summary>
/// Spans: one a request, and below it one for each commit and each call to the database. Whether a request has one is
/// decided by <see cref="Sampling"/> before anything is made, so that those without cost nothing.
/// </summary>
internal static class Traces
{
    /// <summary>Where spans come from.</summary>
    public static readonly ActivitySource Source = new(Metric.Source);

    /// <summary>Whether anybody exports spans.</summary>
    public static bool AreOn => Source.HasListeners();

    /// <summary>The span that is under way here, for what continues elsewhere; default is none.</summary>
    public static ActivityContext Here =>
        AreOn && Activity.Current is { Recorded: true } current ? current.Context : default;

    /// <summary>Begins a span below the one that is under way here; null if none is.</summary>
    public static Activity? Begin(string name, ActivityKind kind = ActivityKind.Internal) =>
        Here == default ? null : Source.StartActivity(name, kind);

    /// <summary>
    /// Begins a span of work for several requests at once: below the first that has a span, and linked to all; null if
    /// none has.
    /// </summary>
    public static Activity? BeginFor(string name, IEnumerable<ActivityContext> requests)
    {
        if (!AreOn)
            return null;
        var links = requests.Where(each => each != default).Distinct().Select(each => new ActivityLink(each)).ToList();
        return links.Count == 0
            ? null
            : Source.StartActivity(name, ActivityKind.Internal, links[0].Context, tags: null, links);
    }
}
