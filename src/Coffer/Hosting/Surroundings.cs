namespace Coffer.Hosting;

/// <summary>What every room is given: the time, the log, and where to put what has to be disposed of.</summary>
internal sealed record Surroundings(TimeProvider Time, ILoggerFactory Logs, Parts Parts)
{
    public ILogger<T> Log<T>() => Logs.CreateLogger<T>();
}
