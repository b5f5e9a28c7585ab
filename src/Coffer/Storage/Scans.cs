using System.Diagnostics;

namespace Coffer.Storage;

/// <summary>
/// Runs what reads far more than it gives, on one thread of its own: a step of each scan in turn, and after each a rest
/// as long as it took. So the threads that requests need stay free, however many scan and however large the log is, and
/// what a single step holds is all that scans hold.
/// </summary>
internal sealed class Scans : IDisposable
{
    /// <summary>About how many bytes a step may read.</summary>
    public const int StepSize = 512 * 1024;

    /// <summary>How many may be at work; one more is refused with 429.</summary>
    public const int Most = 32;

    private static readonly TimeSpan ShortestRest = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan LongestRest = TimeSpan.FromMilliseconds(20);

    private readonly Queue<Scan> waiting = new();
    private readonly ManualResetEventSlim ending = new();
    private readonly Thread loop;
    private int running;
    private bool stopping;

    public Scans()
    {
        loop = new Thread(Run) { Name = "scans", IsBackground = true };
        loop.Start();
    }

    private sealed record Scan(Func<bool> Step, CancellationToken Cancelled)
    {
        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>Runs a scan, and returns when it has come to its end.</summary>
    /// <param name="step">Reads on, and says whether there is more to read.</param>
    /// <param name="ct">Ends it before its next step.</param>
    /// <exception cref="ApiError">429: too many are at work. 503: the server stops.</exception>
    public async Task RunAsync(Func<bool> step, CancellationToken ct)
    {
        var scan = new Scan(step, ct);
        lock (waiting)
        {
            if (stopping)
                throw ApiError.Stopping();
            if (running >= Most)
                throw ApiError.TooManyScans();
            running++;
            Enter(scan);
        }

        try
        {
            await scan.Done.Task;
        }
        finally
        {
            lock (waiting)
                running--;
        }
    }

    /// <summary>Ends the scans that are at work, and returns when the step in hand is done.</summary>
    public void Dispose()
    {
        lock (waiting)
        {
            if (stopping)
                return;
            stopping = true;
            Monitor.Pulse(waiting);
        }

        ending.Set();
        loop.Join();
        ending.Dispose();
    }

    private void Run()
    {
        while (Next() is { } scan)
        {
            var began = Stopwatch.GetTimestamp();
            if (Step(scan))
            {
                lock (waiting)
                    Enter(scan);
            }

            var took = Stopwatch.GetElapsedTime(began);
            ending.Wait(TimeSpan.FromTicks(Math.Clamp(took.Ticks, ShortestRest.Ticks, LongestRest.Ticks)));
        }
    }

    private static bool Step(Scan scan)
    {
        try
        {
            scan.Cancelled.ThrowIfCancellationRequested();
            if (scan.Step())
                return true;
            scan.Done.SetResult();
        }
        catch (OperationCanceledException e)
        {
            scan.Done.SetCanceled(e.CancellationToken);
        }
        catch (Exception e)
        {
            scan.Done.SetException(e);
        }

        return false;
    }

    private Scan? Next()
    {
        lock (waiting)
        {
            while (waiting.Count == 0 && !stopping)
                Monitor.Wait(waiting);
            if (!stopping)
                return waiting.Dequeue();
            foreach (var scan in waiting)
                scan.Done.SetException(ApiError.Stopping());
            return null;
        }
    }

    private void Enter(Scan scan)
    {
        waiting.Enqueue(scan);
        if (waiting.Count == 1)
            Monitor.Pulse(waiting);
    }
}
