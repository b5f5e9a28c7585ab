using System.Globalization;

namespace Coffer;

/// <summary>
/// A moment as Coffer knows it: whole seconds since 1970-01-01 UTC. There is one range for all of them, and each door
/// asks here: what a client sends, what an operator types, what is read from the store, and what is shown.
/// </summary>
internal static class UnixTime
{
    /// <summary>The first moment that may be stored: 1970-01-01T00:00:00Z.</summary>
    public const long Earliest = 0;

    /// <summary>The last moment that may be stored, and the last that is a date: 9999-12-31T23:59:59Z.</summary>
    public const long Latest = 253_402_300_799;

    /// <summary>How far ahead an expiry may lie.</summary>
    public const int FarthestYears = 100;

    /// <summary>
    /// 1973-03-03: nothing in a store is older, and numbers below it have at most eight digits. Those are dates that
    /// somebody wrote without their hyphens, such as 2031 and 20310228.
    /// </summary>
    public const long EarliestWritten = 100_000_000;

    /// <summary>
    /// Whether a stored number is a moment. One that is not was put there by something else than Coffer.
    /// </summary>
    public static bool IsStorable(long seconds) => seconds is >= Earliest and <= Latest;

    /// <summary>Whether a stored number is a moment, or there is none.</summary>
    public static bool IsStorable(long? seconds) => seconds is null || IsStorable(seconds.Value);

    /// <summary>
    /// Whether a number that a person or a program wrote can be meant as Unix seconds: 0 is the beginning of time.
    /// </summary>
    public static bool IsWritten(long seconds) => seconds is Earliest or (>= EarliestWritten and <= Latest);

    /// <summary>
    /// Checks when something is to expire: after now, and at most 100 years ahead. Milliseconds are too far ahead.
    /// </summary>
    /// <param name="at">Unix seconds, or null for never.</param>
    /// <param name="now">The present.</param>
    /// <returns>The same.</returns>
    /// <exception cref="ApiError">It is not in the future, or too far in it.</exception>
    public static long? RequireExpiry(long? at, DateTimeOffset now)
    {
        if (at <= now.ToUnixTimeSeconds())
            throw ApiError.ExpiryPast();
        return at > FarthestFrom(now) ? throw ApiError.ExpiryTooFar(FarthestYears) : at;
    }

    /// <summary>Checks a moment that narrows a list or a search. It may be past, and must be in the range.</summary>
    /// <param name="param">The parameter that it came in.</param>
    /// <param name="at">Unix seconds, or null if it was not sent.</param>
    /// <returns>The same.</returns>
    /// <exception cref="ApiError">It is no Unix second.</exception>
    public static long? RequireBound(string param, long? at) =>
        at is { } seconds && !IsWritten(seconds) ? throw ApiError.NotATime(param) : at;

    /// <summary>As a date, <c>2030-01-31 12:00:00Z</c>; as the number where there is no such date.</summary>
    public static string Shown(long seconds) => IsStorable(seconds)
        ? Date(seconds).UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture)
        : seconds.ToString(CultureInfo.InvariantCulture);

    /// <summary>A moment of the range as a date.</summary>
    public static DateTimeOffset Date(long seconds) => DateTimeOffset.FromUnixTimeSeconds(seconds);

    private static long FarthestFrom(DateTimeOffset now) =>
        now.Year + FarthestYears > DateTimeOffset.MaxValue.Year
            ? Latest
            : now.AddYears(FarthestYears).ToUnixTimeSeconds();
}
