using System.Data.Common;
using System.Text.RegularExpressions;

namespace Coffer;

/// <summary>What an exception says of its cause: the one place that looks for it among those that wrap it.</summary>
internal static class Cause
{
    /// <summary>ENOSPC.</summary>
    public const int NoSpace = 28;

    // EDQUOT; on Windows ERROR_DISK_FULL.
    private const int OverQuota = 122, OverQuotaOnMacOS = 69, DiskFullOnWindows = 0x70;

    /// <summary>The text of what an operator can do something about, without a full stop.</summary>
    /// <remarks>
    /// Of a driver's exception with another in it that one speaks: the outer one says no more than that something
    /// failed. So it is with all that refer to it themselves.
    /// </remarks>
    public static string Of(Exception e)
    {
        while (e.InnerException is { } inner && (IsWrapper(e) || Refers(e)))
            e = inner;
        // Nothing is known but the sort of it.
        return Refers(e) ? e.GetType().Name : e.Message.ReplaceLineEndings(" ").TrimEnd('.', ' ');
    }

    /// <summary>Whether such an exception is this one or stands anywhere in it.</summary>
    public static T? Find<T>(Exception? e) where T : Exception
    {
        for (; e is not null; e = e.InnerException)
        {
            if (e is T found)
                return found;
        }

        return null;
    }

    /// <summary>
    /// Whether it is trouble of what is around: its cause says all, and where in the program it was met says nothing.
    /// </summary>
    public static bool IsForeseen(Exception e) => e is ApiError or ConfigurationException or KeyServiceException
        or DbException or TimeoutException or IOException or UnauthorizedAccessException;

    /// <summary>Logs a failure: of what is foreseen the cause, of a bug all that helps to find it.</summary>
    /// <param name="log">The log.</param>
    /// <param name="level">How grave it is.</param>
    /// <param name="e">What was thrown.</param>
    /// <param name="what">What failed, as a sentence without its full stop.</param>
    public static void LogFailure(this ILogger log, LogLevel level, Exception e, string what)
    {
        if (IsForeseen(e))
            log.Log(level, "{What}: {Cause}", what, Of(e));
        else
            log.Log(level, e, "{What}", what);
    }

    /// <summary>Whether the disk was full.</summary>
    public static bool IsFull(Exception? e) => Find<IOException>(e) is { HResult: var code }
        && (code & 0xFFFF) is NoSpace or OverQuota or OverQuotaOnMacOS or DiskFullOnWindows;

    private static bool IsWrapper(Exception e) =>
        e is AggregateException or DbException or TypeInitializationException or ApiError;

    private static bool Refers(Exception e) =>
        e.Message.Contains("inner exception", StringComparison.OrdinalIgnoreCase);
}

/// <summary>
/// A failure that may last over many tries: the log has one line when it begins, and one for each other cause that it
/// turns to. That each try names another file, as one of a back-up does, is no other cause.
/// </summary>
/// <param name="log">The log.</param>
internal sealed partial class LastingFailure(ILogger log)
{
    private string? last;

    /// <summary>Whether the last try failed.</summary>
    public bool IsOn => Volatile.Read(ref last) is not null;

    /// <summary>A try has failed.</summary>
    /// <inheritdoc cref="Cause.LogFailure"/>
    public void Begin(LogLevel level, Exception e, string what)
    {
        var cause = Cause.Of(e);
        var found = $"{what}: {(e is IOException or UnauthorizedAccessException ? Path().Replace(cause, "…") : cause)}";
        if (Interlocked.Exchange(ref last, found) != found)
            log.LogFailure(level, e, what);
    }

    /// <summary>A try has succeeded.</summary>
    /// <returns>Whether the one before had failed.</returns>
    public bool End() => Interlocked.Exchange(ref last, null) is not null;

    // As the framework quotes it.
    [GeneratedRegex("'.*'", RegexOptions.NonBacktracking)]
    private static partial Regex Path();
}
