using System.Runtime.InteropServices;
using Coffer.Transfer;

namespace Coffer.Storage;

/// <summary>
/// Changes that wait, a line for each app and one for the server itself and its operators. Lines take turns, so that a
/// long one delays the others by one change each time; inside a line the first to come is the first to go. Not safe for
/// several threads.
/// </summary>
internal sealed class Turns(Turns.Bounds bounds)
{
    /// <summary>What one turn is worth, in bytes: a change that is larger gives up turns for the rest.</summary>
    public const int TurnSize = 4 * 1024;

    /// <summary>The most turns that a large change gives up.</summary>
    private const int MostDebt = 64;

    private const int EmptyLines = 1_000;

    // An eighth is kept for the server itself and its operators.
    private readonly int forApps = bounds.Capacity - bounds.Capacity / 8;

    private readonly Dictionary<string, Line> lines = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> keys = new(StringComparer.Ordinal);
    private readonly LinkedList<Line> order = new();

    /// <summary>How many changes may wait.</summary>
    /// <param name="Capacity">Together; one more is refused with 503.</param>
    /// <param name="PerApp">
    /// Of one app; one more is refused with 429. Nor may an app hold more than what is left free, so that there is room
    /// for the next app however many fill the queue. 0 is no limit.
    /// </param>
    /// <param name="PerKey">Of one ephemeral key; one more is refused with 429. 0 is no limit.</param>
    /// <param name="OwnFirst">Whether the server's own and its operators' changes go before all apps'.</param>
    public sealed record Bounds(int Capacity, int PerApp = 0, int PerKey = 0, bool OwnFirst = false);

    /// <summary>How many changes wait.</summary>
    public int Count { get; private set; }

    /// <summary>How many apps have changes that wait; the server itself counts as one.</summary>
    public int Lines => order.Count;

    /// <summary>How many lines are kept in memory, empty ones too.</summary>
    public int Kept => lines.Count;

    /// <summary>Whether changes of the server itself or of operators wait.</summary>
    public bool HasOwn => lines.TryGetValue("", out var own) && own.Count > 0;

    /// <summary>Puts a change at the end of its line.</summary>
    /// <returns>Null, or why it may not wait.</returns>
    public ApiError? Add(Change change)
    {
        if (Count >= (change.Payer is null ? bounds.Capacity : forApps))
            return ApiError.Overloaded();
        var line = LineOf(change);
        if (change.Payer is { } payer)
        {
            if (bounds.PerApp > 0 && line.Count >= Math.Min(bounds.PerApp, forApps - Count))
                return ApiError.TooManyWaiting(ofKey: false);
            if (payer.Key is { } key)
            {
                ref var waiting = ref CollectionsMarshal.GetValueRefOrAddDefault(keys, key, out _);
                if (bounds.PerKey > 0 && waiting >= bounds.PerKey)
                    return ApiError.TooManyWaiting(ofKey: true);
                waiting++;
            }
        }

        line.Arrived.Enqueue(change);
        Count++;
        Enter(line);
        return null;
    }

    /// <summary>Takes the next changes, at least one if any waits.</summary>
    /// <param name="batch">Where they go.</param>
    /// <param name="most">The most changes.</param>
    /// <param name="size">The most bytes together, unless one alone is larger.</param>
    /// <param name="ofOneLine">Whether to take those of one app only.</param>
    public void Take(List<Change> batch, int most, long size, bool ofOneLine = false)
    {
        if (bounds.OwnFirst && HasOwn)
        {
            order.Remove(lines[""].Place);
            order.AddFirst(lines[""].Place);
        }

        while (batch.Count < most && order.First is { } place)
        {
            var line = place.Value;
            var staysFirst = ofOneLine || (bounds.OwnFirst && line.IsOwn);
            if (line.Debt > 0 && order.Count > 1 && !staysFirst)
            {
                line.Debt--;
                order.RemoveFirst();
                order.AddLast(place);
                continue;
            }

            var change = line.Next;
            size -= change.Size;
            if (size < 0 && batch.Count > 0)
                return;
            Leave(line, change);
            batch.Add(change);
            line.Debt = order.Count > 1 ? Math.Min((change.Size - 1) / TurnSize, MostDebt) : 0;
            if (line.Count == 0)
            {
                order.RemoveFirst();
                if (ofOneLine)
                    return;
            }
            else if (order.Count > 1 && !staysFirst)
            {
                order.RemoveFirst();
                order.AddLast(place);
            }
        }

        // What waited for one lock may wait for it again: the others come first.
        if (ofOneLine && order.First is { } first)
        {
            order.RemoveFirst();
            order.AddLast(first);
        }
    }

    /// <summary>Returns changes that were in hand to the front of their lines, in their order.</summary>
    public void PutBack(IReadOnlyList<Change> taken)
    {
        for (var i = taken.Count - 1; i >= 0; i--)
        {
            var line = LineOf(taken[i]);
            line.Returned.Push(taken[i]);
            if (taken[i].Payer?.Key is { } key)
                CollectionsMarshal.GetValueRefOrAddDefault(keys, key, out _)++;
            Count++;
            Enter(line);
        }
    }

    private Line LineOf(Change change)
    {
        var app = change.Payer?.App ?? "";
        if (lines.TryGetValue(app, out var line))
            return line;
        if (lines.Count >= EmptyLines + 2 * order.Count)
        {
            foreach (var (name, empty) in lines)
            {
                if (empty.Count == 0)
                    lines.Remove(name);
            }
        }

        lines.Add(app, line = new Line(app));
        return line;
    }

    private void Enter(Line line)
    {
        if (line.Place.List is not null)
            return;
        line.Debt = 0;
        order.AddLast(line.Place);
    }

    private void Leave(Line line, Change change)
    {
        if (!line.Returned.TryPop(out _))
            line.Arrived.Dequeue();
        Count--;
        if (change.Payer?.Key is not { } key)
            return;
        ref var waiting = ref CollectionsMarshal.GetValueRefOrNullRef(keys, key);
        if (--waiting == 0)
            keys.Remove(key);
    }

    private sealed class Line
    {
        public Line(string app) => (IsOwn, Place) = (app.Length == 0, new LinkedListNode<Line>(this));

        public bool IsOwn { get; }

        public Queue<Change> Arrived { get; } = new();

        /// <summary>What was in hand and put back: it came before all that has arrived since.</summary>
        public Stack<Change> Returned { get; } = new();

        public LinkedListNode<Line> Place { get; }

        /// <summary>How many turns it is to sit out.</summary>
        public int Debt { get; set; }

        public int Count => Arrived.Count + Returned.Count;

        public Change Next => Returned.TryPeek(out var change) ? change : Arrived.Peek();
    }
}
