using Coffer.Http;

namespace Coffer.Hosting;

/// <summary>What every room is given: the time, the log, and where to put what has to be disposed of.</summary>
internal sealed record Surroundings(TimeProvider Time, ILoggerFactory Logs, Parts Parts)
{
    /// <summary>What is done beside requests, for readiness to say which of it is behind.</summary>
    public List<Loop> Loops { get; } = [];

    /// <summary>Who is told of requests.</summary>
    public Observers Observers { get; init; } = new();

    public ILogger<T> Log<T>() => Logs.CreateLogger<T>();
}
