using System.Globalization;
using System.Net;
using Coffer.Http;
using Coffer.Settings;

namespace Coffer.Hosting;

/// <summary>
/// A line for each request, or for each that did not succeed: what an <see cref="Exchange"/> has, and so never a query,
/// a name, a user, a payload, or a path that is no route. Whoever has no good key cannot fill a disk with them: of what
/// such requests come to, and of every refusal, there are a few lines a second for each kind, and then one that says
/// how many were left out.
/// </summary>
internal sealed class AccessLog : IDisposable
{
    /// <summary>Lines a second of one kind; kinds are words of the program, and their number is bounded.</summary>
    public const int MostOfKind = 10;

    /// <summary>What a line says that it is from.</summary>
    public const string Source = "access";

    private const string NoRoute = "-";

    private static readonly TimeSpan Window = TimeSpan.FromSeconds(1);

    private readonly ServerLog log;
    private readonly bool isAll;
    private readonly TimeProvider time;
    private readonly ITimer end;
    private readonly Lock counting = new();
    private readonly Dictionary<string, long> seen = [];
    private long began;
    private bool isEndSet;

    private AccessLog(ServerLog log, bool isAll, TimeProvider time)
    {
        (this.log, this.isAll, this.time, began) = (log, isAll, time, time.GetTimestamp());
        end = time.CreateTimer(static state => ((AccessLog)state!).CloseWindow(), this,
            Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Writes what is to be observed; null if nothing is.</summary>
    public static AccessLog? Begin(AccessLogged logged, ServerLog log, Observers observers, TimeProvider time)
    {
        if (logged == AccessLogged.Off)
            return null;
        var access = new AccessLog(log, logged == AccessLogged.All, time);
        observers.Add(access.Write);
        observers.Add(access.WriteRefusal);
        return access;
    }

    /// <summary>What was left out is still said.</summary>
    public void Dispose()
    {
        end.Dispose();
        CloseWindow();
    }

    private void Write(Exchange exchange)
    {
        if (exchange.IsSuccess && !isAll)
            return;
        var isOfGoodKey = exchange is { IsSuccess: true, Caller: not null };
        if (!isOfGoodKey && !TryTake(exchange.Reason ?? exchange.Route ?? exchange.Method))
            return;
        var isFault = exchange.Status >= StatusCodes.Status500InternalServerError;
        var line = log.Begin(isFault ? LogLevel.Warning : LogLevel.Information, Source);
        line.Add(LogFact.Request, exchange.RequestId);
        line.Add(LogFact.Key, exchange.KeyId);
        line.Add(LogFact.Reason, exchange.Reason);
        line.Add(LogFact.Seconds, exchange.Duration.TotalSeconds);
        line.Add(LogFact.BytesIn, exchange.BytesIn);
        line.Add(LogFact.BytesOut, exchange.BytesOut);
        line.Add(LogFact.Client, exchange.Address?.ToString());
        line.Add(LogFact.Method, exchange.Method);
        line.Add(LogFact.Route, exchange.Route);
        line.Add(LogFact.Status, exchange.Status);
        line.End(string.Create(CultureInfo.InvariantCulture,
            $"{exchange.Method} {exchange.Route ?? NoRoute} {exchange.Status}"));
        log.Send(line, isOfRequest: true);
    }

    private void WriteRefusal(EarlyRefusal kind, IPAddress? address)
    {
        if (!TryTake(kind.Word()))
            return;
        var line = log.Begin(LogLevel.Information, Source);
        line.Add(LogFact.Reason, kind.Word());
        line.Add(LogFact.Client, address?.ToString());
        line.End("refused before there was a request");
        log.Send(line, isOfRequest: true);
    }

    private bool TryTake(string kind)
    {
        if (time.GetElapsedTime(Volatile.Read(ref began)) >= Window)
            CloseWindow();
        lock (counting)
        {
            var count = seen[kind] = seen.GetValueOrDefault(kind) + 1;
            if (count <= MostOfKind)
                return true;
            if (!isEndSet)
                isEndSet = end.Change(Window, Timeout.InfiniteTimeSpan);
            return false;
        }
    }

    private void CloseWindow()
    {
        (string Kind, long Count)[] leftOut;
        lock (counting)
        {
            leftOut = [.. seen.Where(each => each.Value > MostOfKind)
                .Select(each => (each.Key, each.Value - MostOfKind))];
            seen.Clear();
            (began, isEndSet) = (time.GetTimestamp(), false);
        }

        foreach (var (kind, count) in leftOut)
        {
            var line = log.Begin(LogLevel.Information, Source);
            line.Add(LogFact.Reason, kind);
            line.Add(LogFact.LeftOut, count);
            line.End($"{count} more of these were left out");
            log.Send(line);
        }
    }
}
