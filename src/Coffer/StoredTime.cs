namespace Coffer;

/// <summary>Which Unix seconds a stored row may hold; every room may use it.</summary>
internal static class StoredTime
{
    private const long Last = 253_402_300_799; // 9999-12-31T23:59:59Z, the last that .NET and ISO 8601 can say

    public static bool IsSound(long seconds) => seconds is >= 0 and <= Last;

    public static bool IsSound(long? seconds) => seconds is not { } at || IsSound(at);
}
