using System.Globalization;
using System.Security.Cryptography;

namespace Coffer.Tests.Support;

/// <summary>
/// The random choices of a test: the same for the same seed, on every runtime. TEST_SEED in the environment repeats a
/// run; a failure says it.
/// </summary>
internal sealed class Choices
{
    private readonly ulong seed;

    private ulong state;

    /// <param name="usual">The seed, if TEST_SEED gives none; null is another one in each run.</param>
    public Choices(ulong? usual = null) =>
        state = seed = Environment.GetEnvironmentVariable("TEST_SEED") is { Length: > 0 } given
            ? ulong.Parse(given, CultureInfo.InvariantCulture)
            : usual ?? BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8));

    /// <summary>A number from 0, below a bound.</summary>
    public int Next(int below)
    {
        // SplitMix64
        var z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return (int)((z ^ (z >> 31)) % (ulong)below);
    }

    public override string ToString() => $"TEST_SEED={seed}";
}
