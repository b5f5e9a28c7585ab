using System.Net;
using Coffer.Http;
using Coffer.Settings;

namespace Coffer.Hosting;

/// <summary>
/// The log of a server: every line of it comes through here, the framework's too, and none can forge another. What is
/// said while a request is served has the request's id.
/// </summary>
internal sealed class ServerLog : ILoggerProvider
{
    private readonly TimeProvider time;
    private readonly Observers observers;
    private readonly ThreadLocal<LogLine> line;
    private readonly LogOutput output;

    /// <param name="options">How a line looks.</param>
    /// <param name="to">Where lines go.</param>
    /// <param name="time">When.</param>
    /// <param name="observers">Who is told of what the framework refuses.</param>
    public ServerLog(LogOptions options, Stream to, TimeProvider time, Observers? observers = null)
    {
        (this.time, this.observers) = (time, observers ?? new Observers());
        Func<LogLine> make = options.IsJson ? static () => new JsonLine() : static () => new TextLine();
        line = new ThreadLocal<LogLine>(make);
        output = new LogOutput(to, LeftOut);

        byte[] LeftOut(long count)
        {
            var notice = make();
            notice.Begin(time.GetUtcNow(), LogLevel.Warning, Source<ServerLog>());
            notice.Add(LogFact.LeftOut, count);
            notice.End($"{count} lines of the log were left out: they came faster than they are read");
            return notice.Written.ToArray();
        }
    }

    /// <summary>What a line says that it is from.</summary>
    public static string Source<T>() => typeof(T).FullName!;

    /// <summary>A line of this thread, to be given facts and an end, and then to be sent.</summary>
    public LogLine Begin(LogLevel level, string source)
    {
        var begun = line.Value!;
        begun.Begin(time.GetUtcNow(), level, source);
        return begun;
    }

    /// <param name="ended">A line that has its end.</param>
    /// <param name="isOfRequest">Whether it is about a request, of which there may be many.</param>
    public void Send(LogLine ended, bool isOfRequest = false) => output.Write(ended.Written, isOfRequest);

    /// <summary>What a server says of itself when it starts: never a value that could be a password or a key.</summary>
    /// <param name="options">Its settings.</param>
    /// <param name="engine">The kind of its database.</param>
    /// <param name="release">The release of that.</param>
    public void Start(CofferOptions options, string engine, string release)
    {
        var start = Begin(LogLevel.Information, Source<Server>());
        start.Add(LogFact.Version, Product.Version);
        start.Add(LogFact.Commit, Product.Commit);
        start.Add(LogFact.Runtime, Product.Runtime);
        start.Add(LogFact.Engine, engine);
        start.Add(LogFact.Release, release);
        foreach (var set in options.InForce.Where(setting => !setting.IsDefault))
        {
            var isLogged = SettingsTable.All.Any(
                setting => setting.Name == set.Name && setting.IsLogged && !setting.IsPrivate);
            start.Add(new LogFact($"coffer.setting.{set.Name}", set.Name),
                isLogged ? set.Value : SettingsTable.Redacted);
        }

        start.End("Coffer starts");
        Send(start);
    }

    public ILogger CreateLogger(string categoryName) => new Lines(this, categoryName);

    /// <summary>Once nothing is said any more.</summary>
    public void Dispose() => output.Dispose();

    /// <summary>Whether lines of a category say, at the level of debugging, what the framework refuses.</summary>
    public static bool IsOfRefusals(string category) => category is Refusal.BadRequests or Refusal.Http2;

    private void Write<TState>(
        LogLevel level, string source, TState state, Exception? e, Func<TState, Exception?, string> formatter)
    {
        var message = formatter(state, e);
        var written = Begin(level, source);
        written.Add(LogFact.Request, CurrentRequest.Id ?? Fact(state, "TraceIdentifier"));
        written.End(message, e);
        Send(written);
    }

    private static string? Fact<TState>(TState state, string name)
    {
        if (state is not IReadOnlyList<KeyValuePair<string, object?>> facts)
            return null;
        foreach (var (key, value) in facts)
        {
            if (key == name)
                return value as string;
        }

        return null;
    }

    /// <summary>What the web server refuses by itself, told by the names that it has for it in its log.</summary>
    private static class Refusal
    {
        public const string BadRequests = "Microsoft.AspNetCore.Server.Kestrel.BadRequests";
        public const string Http2 = "Microsoft.AspNetCore.Server.Kestrel.Http2";

        public static EarlyRefusal? Of(string? eventName, Exception? e) => eventName switch
        {
            "ConnectionBadRequest" => (e as BadHttpRequestException)?.StatusCode switch
            {
                StatusCodes.Status431RequestHeaderFieldsTooLarge or StatusCodes.Status414UriTooLong =>
                    EarlyRefusal.HeadTooLarge,
                StatusCodes.Status408RequestTimeout => EarlyRefusal.TooSlow,
                StatusCodes.Status413PayloadTooLarge => null, // of a request that the pipeline knows
                _ => EarlyRefusal.Malformed,
            },
            "RequestBodyMinimumDataRateNotSatisfied" or "ResponseMinimumDataRateNotSatisfied" => EarlyRefusal.TooSlow,
            "Http2ConnectionError" or "Http2StreamError" or "HPackDecodingError" or "Http2QueueOperationsExceeded" =>
                EarlyRefusal.Http2Error,
            _ => null,
        };
    }

    private sealed class Lines(ServerLog log, string category) : ILogger
    {
        private readonly bool isOfRefusals = IsOfRefusals(category);

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true; // the filter decides

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            if (isOfRefusals && Refusal.Of(eventId.Name, exception) is { } kind)
                log.observers.Tell(kind, log.observers.AddressOf(Fact(state, "ConnectionId")));
            if (logLevel > LogLevel.Debug)
                log.Write(logLevel, category, state, exception, formatter);
        }
    }
}
