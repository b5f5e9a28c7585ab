using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Secrets;

/// <summary>
/// Ids of events: <c>evt_</c> and 24 base62 characters, which are 11 of time, as in <see cref="SecretId"/>, and 13 of
/// randomness. Those of a process are in the order in which it decided them.
/// </summary>
internal static class EventId
{
    public const string Prefix = "evt_";

    private const int TimeLength = 11, RandomLength = 13;

    // The committer's loop makes them, and in tests several do.
    private static ulong last;

    public static string Next(DateTimeOffset now)
    {
        ulong before, next;
        do
        {
            before = Volatile.Read(ref last);
            next = Math.Max(before + 1, SecretId.TimeOf(now));
        }
        while (Interlocked.CompareExchange(ref last, next, before) != before);

        Span<char> id = stackalloc char[Prefix.Length + TimeLength + RandomLength];
        Prefix.CopyTo(id);
        Base62.Write(next, id.Slice(Prefix.Length, TimeLength));
        RandomNumberGenerator.GetItems(Base62.Alphabet, id[(Prefix.Length + TimeLength)..]);
        return new string(id);
    }

    public static bool IsOne(string text) => text.Length == Prefix.Length + TimeLength + RandomLength
        && text.StartsWith(Prefix, StringComparison.Ordinal)
        && !text.AsSpan(Prefix.Length).ContainsAnyExcept(Base62.Characters);
}
