using System.Numerics;

namespace Coffer.Telemetry;

/// <summary>
/// Numbers that any thread adds to all the time, and that are read now and then: each processor has places of its own,
/// in cache lines of its own, so that none waits for another's. Read while others add, it may be behind them.
/// </summary>
internal sealed class Stripes
{
    // Numbers in a cache line of most processors, which is what they hand to each other.
    private const int Line = 8;

    // On machines with more processors some share.
    private static readonly int Many =
        (int)BitOperations.RoundUpToPowerOf2((uint)Math.Min(Environment.ProcessorCount, 8));

    private readonly int width;
    private readonly long[] places;

    /// <param name="numbers">How many there are.</param>
    public Stripes(int numbers)
    {
        // A line is left free after each, since the array begins anywhere in one.
        width = ((numbers + Line - 1) / Line * Line) + Line;
        places = new long[Many * width];
    }

    public void Add(int number, long more) => Interlocked.Add(ref places[Here + number], more);

    /// <summary>The same to a number that is a fraction.</summary>
    public void Add(int number, double more)
    {
        ref var place = ref places[Here + number];
        long seen;
        do
            seen = Volatile.Read(ref place);
        while (Interlocked.CompareExchange(
            ref place, BitConverter.DoubleToInt64Bits(BitConverter.Int64BitsToDouble(seen) + more), seen) != seen);
    }

    public long Sum(int number)
    {
        var sum = 0L;
        for (var at = number; at < places.Length; at += width)
            sum += Interlocked.Read(ref places[at]);
        return sum;
    }

    /// <summary>The same of a number that is a fraction.</summary>
    public double FractionalSum(int number)
    {
        var sum = 0d;
        for (var at = number; at < places.Length; at += width)
            sum += BitConverter.Int64BitsToDouble(Interlocked.Read(ref places[at]));
        return sum;
    }

    private int Here => (Thread.GetCurrentProcessorId() & (Many - 1)) * width;
}
