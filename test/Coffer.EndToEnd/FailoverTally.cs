using System.Collections.Concurrent;
using System.Diagnostics;

namespace Coffer.EndToEnd;

/// <summary>
/// What was answered in a run, and how fast: every answer passes here and is either right or a 503 that says that it
/// may be sent again.
/// </summary>
internal sealed class FailoverTally
{
    /// <summary>The longest that any request may take, whatever is down.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(20);

    private readonly ConcurrentDictionary<FailoverNode, TimeSpan> recovered = [];
    private readonly Lock timing = new();
    private Stopwatch? sinceFault;
    private TimeSpan slowest;
    private int acknowledged, unavailable, sets, deletes;

    public int Acknowledged => acknowledged;

    public int Unavailable => unavailable;

    public int Sets => sets;

    public int Deletes => deletes;

    /// <summary>From the fault to the first write that was sent after it and acknowledged, by node.</summary>
    public IReadOnlyDictionary<FailoverNode, TimeSpan> Recovered => recovered;

    public void Fault()
    {
        recovered.Clear();
        sinceFault = Stopwatch.StartNew();
    }

    /// <returns>Null if the answer is that 503, or if the node was killed meanwhile.</returns>
    public async Task<Answer?> AskAsync(FailoverNode node, bool isWrite, Func<Task<Answer>> ask)
    {
        var (asked, fault) = (Stopwatch.StartNew(), sinceFault);
        Answer answer;
        try
        {
            answer = await ask();
        }
        catch (Exception e) when (!node.IsAlive
            && e is (HttpRequestException or OperationCanceledException or ObjectDisposedException))
        {
            return null; // by its client's end at the latest, if it waited for a connection
        }

        lock (timing)
            slowest = asked.Elapsed > slowest ? asked.Elapsed : slowest;
        Assert.True(asked.Elapsed < Longest, $"{node.Name} answered {answer.Status} after {asked.Elapsed}");
        if (answer.Status != 503)
        {
            Assert.True(answer.Status is 200 or 404,
                $"{node.Name} answered {answer.Status}: {answer.Body} and said {node.Process.Stderr}");
            if (isWrite)
                Interlocked.Increment(ref acknowledged);
            if (isWrite && fault is not null)
                recovered.TryAdd(node, fault.Elapsed);
            return answer;
        }

        Assert.Equal("api_error", answer.Body.GetProperty("error").GetProperty("type").GetString());
        Assert.Equal("true", Assert.Single(answer.Headers.GetValues("Stripe-Should-Retry")));
        Interlocked.Increment(ref unavailable);
        return null;
    }

    /// <summary>Counts an operation that is over.</summary>
    public void AddDone(bool isDelete, bool hadEffect)
    {
        if (!isDelete)
            Interlocked.Increment(ref sets);
        else if (hadEffect)
            Interlocked.Increment(ref deletes);
    }

    public override string ToString() =>
        $"{acknowledged} acknowledged, 0 lost, {unavailable} answered 503, slowest answer {slowest.TotalSeconds:0.0} "
            + "s; recovered after " +
        string.Join(
            ", ",
            recovered.OrderBy(node => node.Key.Name, StringComparer.Ordinal).Select(
                node => $"{node.Value.TotalSeconds:0.00} s ({node.Key.Name})"));
}
