using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Coffer.Hosting;

/// <summary>A fact of a line under its two names.</summary>
/// <param name="Name">In JSON: OpenTelemetry's, where it has one.</param>
/// <param name="Short">In text; null where the message says it.</param>
internal sealed record LogFact(string Name, string? Short)
{
    public static readonly LogFact
        Request = new("coffer.request_id", "request"), Key = new("coffer.key_id", "key"),
        Reason = new("error.type", "reason"), Method = new("http.request.method", null),
        Route = new("http.route", null), Status = new("http.response.status_code", null),
        Seconds = new("http.server.request.duration", "seconds"), BytesIn = new("http.request.body.size", "in"),
        BytesOut = new("http.response.body.size", "out"), Client = new("client.address", "client"),
        LeftOut = new("coffer.left_out", "left_out"), Version = new("service.version", "version"),
        Commit = new("vcs.ref.head.revision", "commit"), Runtime = new("process.runtime.version", "runtime"),
        Engine = new("db.system.name", "engine"), Release = new("coffer.engine.version", "engine_version");
}

/// <summary>
/// A line of the log while it is made: its beginning, its facts, its message. Whatever texts say, it is one line, and
/// what would move a cursor, reorder or hide a part of it is written out (<see cref="VisibleText"/>). One at a time.
/// </summary>
internal abstract class LogLine
{
    /// <summary>Characters of a text that are kept; the rest is cut off.</summary>
    public const int LongestText = 16 * 1024;

    private const string Moments = "yyyy-MM-ddTHH:mm:ss.fffZ";

    protected ArrayBufferWriter<byte> Bytes { get; } = new(1024);

    /// <summary>The whole line with its end, once it has one.</summary>
    public ReadOnlySpan<byte> Written => Bytes.WrittenSpan;

    public abstract void Begin(DateTimeOffset at, LogLevel level, string source);

    /// <summary>A null is no fact.</summary>
    public abstract void Add(LogFact fact, string? value);

    public abstract void Add(LogFact fact, long value);

    /// <param name="fact">What it is.</param>
    /// <param name="value">A number of which six digits after the point count.</param>
    public abstract void Add(LogFact fact, double value);

    /// <param name="message">What happened.</param>
    /// <param name="e">What was thrown; null is nothing.</param>
    public abstract void End(string message, Exception? e = null);

    protected static string Moment(DateTimeOffset at) =>
        at.UtcDateTime.ToString(Moments, CultureInfo.InvariantCulture);

    protected static string Shown(string text) =>
        VisibleText.Of(text.Length <= LongestText ? text : $"{text.AsSpan(0, LongestText)}…");

    /// <summary>
    /// All that helps to find a bug: of the exception and of each in it the type, the message and where it was thrown.
    /// Only what ends a line of it itself does.
    /// </summary>
    protected static string Trace(Exception e, string newLine)
    {
        var text = new StringBuilder();
        Append(e, 0);
        return text.ToString();

        void Append(Exception each, int depth)
        {
            const int Deepest = 10;
            text.Append(depth == 0 ? "" : $"{newLine}---> ").Append(each.GetType().FullName).Append(": ")
                .Append(Shown(each.Message));
            foreach (var frame in (each.StackTrace ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                if (text.Length < LongestText)
                    text.Append(newLine).Append(Shown(frame.Trim()));
            }

            IEnumerable<Exception> inner = each switch
            {
                AggregateException all => all.InnerExceptions,
                { InnerException: { } one } => [one],
                _ => [],
            };
            foreach (var next in depth < Deepest && text.Length < LongestText ? inner : [])
                Append(next, depth + 1);
        }
    }
}

/// <summary>
/// For people: <c>2026-11-21T12:00:00.000Z warning SOURCE name=value: message</c>. What is a fact stands before the
/// first colon and space, so that no message can look like one.
/// </summary>
internal sealed class TextLine : LogLine
{
    private readonly StringBuilder text = new(512);

    public override void Begin(DateTimeOffset at, LogLevel level, string source)
    {
        Bytes.ResetWrittenCount();
        text.Clear().Append(Moment(at)).Append(' ').Append(Word(level)).Append(' ')
            .Append(Shown(source).Replace(' ', '_').Replace('=', '_'));
    }

    public override void Add(LogFact fact, string? value)
    {
        if (value is null || fact.Short is null)
            return;
        var shown = Shown(value);
        // A colon within a word, as of an address, ends nothing; one with a space after it would.
        var isPlain = shown.Length > 0 && !shown.AsSpan().ContainsAny(" \"=");
        Name(fact).Append(isPlain ? shown : $"\"{shown.Replace("\"", "\\u0022", StringComparison.Ordinal)
            .Replace(": ", ":\\u0020", StringComparison.Ordinal)}\"");
    }

    public override void Add(LogFact fact, long value)
    {
        if (fact.Short is not null)
            Name(fact).Append(value);
    }

    public override void Add(LogFact fact, double value)
    {
        if (fact.Short is not null)
            Name(fact).Append(CultureInfo.InvariantCulture, $"{value:0.000000}");
    }

    public override void End(string message, Exception? e = null)
    {
        text.Append(": ").Append(Shown(message));
        if (e is not null)
            text.Append(' ').Append(Trace(e, " "));
        text.Append('\n');
        Encoding.UTF8.GetBytes(text.ToString(), Bytes);
    }

    private StringBuilder Name(LogFact fact) => text.Append(' ').Append(fact.Short).Append('=');

    private static string Word(LogLevel level) => level switch
    {
        LogLevel.Information => "info",
        LogLevel.Warning => "warning",
        LogLevel.Error => "error",
        LogLevel.Critical => "critical",
        _ => "debug",
    };
}

/// <summary>
/// For programs: an object of JSON with the fields of OpenTelemetry's log data model in lower case, and attributes by
/// its semantic conventions.
/// </summary>
internal sealed class JsonLine : LogLine, IDisposable
{
    private readonly Utf8JsonWriter json;

    // Texts are visible ones already: of them only quotes and backslashes are left to escape.
    public JsonLine() => json = new Utf8JsonWriter(Bytes, new JsonWriterOptions
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    public override void Begin(DateTimeOffset at, LogLevel level, string source)
    {
        Bytes.ResetWrittenCount();
        json.Reset();
        var (word, number) = Severity(level);
        json.WriteStartObject();
        json.WriteString("timestamp"u8, Moment(at));
        json.WriteString("severity_text"u8, word);
        json.WriteNumber("severity_number"u8, number);
        json.WriteString("scope"u8, Shown(source));
        if (Activity.Current is { IdFormat: ActivityIdFormat.W3C } activity)
        {
            json.WriteString("trace_id"u8, activity.TraceId.ToHexString());
            json.WriteString("span_id"u8, activity.SpanId.ToHexString());
        }

        json.WriteStartObject("attributes"u8);
    }

    public override void Add(LogFact fact, string? value)
    {
        if (value is not null)
            json.WriteString(fact.Name, Shown(value));
    }

    public override void Add(LogFact fact, long value) => json.WriteNumber(fact.Name, value);

    public override void Add(LogFact fact, double value) => json.WriteNumber(fact.Name, Math.Round(value, 6));

    public override void End(string message, Exception? e = null)
    {
        if (e is not null)
        {
            json.WriteString("exception.type"u8, e.GetType().FullName);
            json.WriteString("exception.message"u8, Shown(e.Message));
            json.WriteString("exception.stacktrace"u8, Trace(e, "\n"));
        }

        json.WriteEndObject();
        json.WriteString("body"u8, Shown(message));
        json.WriteEndObject();
        json.Flush();
        Bytes.Write("\n"u8);
    }

    public void Dispose() => json.Dispose();

    private static (string Word, int Number) Severity(LogLevel level) => level switch
    {
        LogLevel.Information => ("INFO", 9),
        LogLevel.Warning => ("WARN", 13),
        LogLevel.Error => ("ERROR", 17),
        LogLevel.Critical => ("FATAL", 21),
        _ => ("DEBUG", 5),
    };
}
