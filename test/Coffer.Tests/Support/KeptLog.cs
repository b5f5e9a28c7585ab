using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Coffer.Tests.Support;

/// <summary>A log that keeps what is written to it, whoever writes.</summary>
internal sealed class KeptLog<T> : ILogger<T>
{
    private readonly ConcurrentQueue<(LogLevel Level, string Text, Exception? Exception)> lines = [];

    public IReadOnlyList<(LogLevel Level, string Text, Exception? Exception)> Lines => [.. lines];

    public IReadOnlyList<string> Texts => [.. lines.Select(line => line.Text)];

    public IReadOnlyList<string> TextsOf(LogLevel level) =>
        [.. lines.Where(line => line.Level == level).Select(line => line.Text)];

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
        Func<TState, Exception?, string> formatter) =>
        lines.Enqueue((logLevel, formatter(state, exception), exception));
}
