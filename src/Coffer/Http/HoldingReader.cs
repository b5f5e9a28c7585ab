using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Coffer.Hosting;

namespace Coffer.Http;

/// <summary>
/// Stands between a connection and the server's own reader, and gives on what begins a request only when that is whole.
/// Until then it costs its own bytes, and no more time than <see cref="HttpLimits.HeadTimeout"/>: the server would make
/// strings of a request line as soon as it ends, at four times its size, and wait longer.
/// </summary>
/// <param name="inner">Where the bytes come from.</param>
/// <param name="time">Measures how long something is unfinished.</param>
internal abstract class HoldingReader(PipeReader inner, TimeProvider time) : PipeReader
{
    private readonly HeldBytes held = new();
    private ITimer? timer;
    private ReadResult? first;
    private ReadOnlySequence<byte> given; // to the server's reader, which has not said yet what it consumed
    private ReadOnlySequence<byte> fresh; // what of it, and after it, is the inner reader's
    private ReadOnlySequence<byte> rest; // what of it is to be read again before anything else is
    private bool isEnd; // whether nothing comes after what was given
    private long kept; // bytes that are not given on and stay with the inner reader, after what is held
    private bool isWhole; // whether all of held and fresh was given
    private bool isDirect;
    private bool isNothing; // a read that was cancelled: nothing was given
    private volatile bool isLate;

    /// <summary>How much memory of its own it has at the moment, in bytes.</summary>
    public long Cost => held.Cost;

    /// <summary>What of it was refused here, before the server's reader; null is nothing.</summary>
    public EarlyRefusal? Refused { get; private set; }

    /// <summary>How many bytes are kept back.</summary>
    protected long HeldLength => held.Length + kept;

    /// <summary>Whether bytes go through as they are: the body of a request.</summary>
    protected bool IsOpen { get; set; }

    /// <summary>
    /// Whether what was given is given until all of it was consumed, and only then looked at what comes after it: for a
    /// reader that takes a few KB at a time, and would have the rest looked at twice, from the middle of a frame on.
    /// </summary>
    protected virtual bool GivesUntilConsumed => false;

    /// <summary>Waits until the first bytes may be given on; they are what is read next.</summary>
    /// <param name="idle">How long nothing at all may arrive.</param>
    /// <returns>What was read; empty if the client went, took too long, or the connection is to end.</returns>
    public async ValueTask<ReadOnlySequence<byte>> WaitAsync(TimeSpan idle)
    {
        Time(idle);
        first = await ReadAsync();
        return first.Value.Buffer;
    }

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (first is { } waited)
        {
            first = null;
            return ValueTask.FromResult(waited);
        }

        if (TryGiveRest(out var more))
            return ValueTask.FromResult(more);

        isDirect = IsOpen && held.Length == 0;
        return isDirect ? inner.ReadAsync(cancellationToken) : HoldAsync(cancellationToken);
    }

    public override bool TryRead(out ReadResult result)
    {
        if (first is { } waited)
        {
            (first, result) = (null, waited);
            return true;
        }

        if (TryGiveRest(out result))
            return true;

        isDirect = IsOpen && held.Length == 0;
        if (isDirect)
            return inner.TryRead(out result);
        while (inner.TryRead(out var read))
        {
            if (TryGive(read, out result))
                return true;
        }

        result = default;
        return false;
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        if (isDirect)
        {
            inner.AdvanceTo(consumed, examined);
            return;
        }

        if (isNothing)
            return;
        if (GivesUntilConsumed && !this.given.Slice(examined).IsEmpty)
        {
            rest = this.given.Slice(consumed);
            return;
        }

        var (given, fresh) = (this.given, this.fresh);
        (this.given, this.fresh) = (default, default); // nothing of a head stays behind it
        if (isWhole && held.Length == 0)
        {
            inner.AdvanceTo(consumed, examined);
            return;
        }

        var (from, to) = (given.Slice(0, consumed).Length - held.Length, given.Slice(0, examined).Length - held.Length);
        if (from < 0)
        {
            // The server took a part of what was held, and refuses the rest.
            held.Drop(from + held.Length);
            held.Add(fresh);
            inner.AdvanceTo(fresh.End);
            return;
        }

        held.Clear();
        if (isWhole)
        {
            inner.AdvanceTo(fresh.GetPosition(from), fresh.GetPosition(to));
            return;
        }

        held.Add(fresh.Slice(from));
        inner.AdvanceTo(fresh.End);
        Time(HttpLimits.HeadTimeout);
    }

    public override void CancelPendingRead() => inner.CancelPendingRead();

    public override void Complete(Exception? exception = null)
    {
        StopTime();
        held.Clear();
        inner.Complete(exception);
    }

    /// <summary>Stops the clock and lets go of what is held, when nobody reads any more.</summary>
    public void End()
    {
        StopTime();
        held.Clear();
    }

    /// <summary>How many bytes of what is held and what is fresh may be given on; 0 is none yet.</summary>
    /// <param name="bytes">What came after what is held. What need not be kept at all is taken from its
    /// beginning.</param>
    protected abstract long Release(ref ReadOnlySequence<byte> bytes);

    /// <summary>Whether what may be given on must not be: it is answered here, and the connection ends.</summary>
    protected virtual bool IsRefused(in ReadOnlySequence<byte> whole) => false;

    /// <summary>What to do about what was unfinished for too long, before the reading ends.</summary>
    protected virtual ValueTask GiveUpAsync() => default;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadResult> HoldAsync(CancellationToken ct)
    {
        while (true)
        {
            if (!TryGive(await inner.ReadAsync(ct), out var result))
                continue;
            if (isLate)
            {
                if (HeldLength > 0)
                    Refused = EarlyRefusal.SlowHead;
                await GiveUpAsync();
            }

            return result;
        }
    }

    private bool TryGive(in ReadResult read, out ReadResult result)
    {
        if (read.IsCanceled)
        {
            // It is read again, unless this was the end.
            inner.AdvanceTo(read.Buffer.Start, read.Buffer.GetPosition(kept));
            (isNothing, result) = (true, new ReadResult(default, isCanceled: !isLate, isCompleted: isLate));
            return true;
        }

        isNothing = false;
        var news = read.Buffer.Slice(kept);
        var may = Release(ref news);
        fresh = kept > 0 ? read.Buffer : news;
        var all = held.Length + fresh.Length;
        if (read.IsCompleted)
            may = all; // no more will come: the server decides what to make of it
        else if (may == 0)
            return Keep(out result);

        StopTime();
        (kept, isWhole) = (0, may == all);
        given = held.Join(fresh).Slice(0, may);
        if (IsRefused(given))
        {
            given = fresh = default;
            held.Clear();
            inner.AdvanceTo(read.Buffer.End);
            Refused = EarlyRefusal.Malformed;
            // For the server nothing came any more.
            (isNothing, result) = (true, new ReadResult(default, isCanceled: false, isCompleted: true));
            return true;
        }

        isEnd = read.IsCompleted;
        result = new ReadResult(given, isCanceled: false, isEnd);
        return true;
    }

    private bool TryGiveRest(out ReadResult result)
    {
        result = new ReadResult(rest, isCanceled: false, isEnd);
        var isThere = !rest.IsEmpty;
        rest = default;
        return isThere;
    }

    // Where they are, if that is no waste: a client may send few bytes to each block.
    private bool Keep(out ReadResult result)
    {
        if (HeldLength == 0 && fresh.Length > 0)
            Time(HttpLimits.HeadTimeout);
        if (held.Length == 0 && HeldBytes.AreDense(fresh))
        {
            kept = fresh.Length;
            inner.AdvanceTo(fresh.Start, fresh.End);
        }
        else
        {
            kept = 0;
            held.Add(fresh);
            inner.AdvanceTo(fresh.End);
        }

        result = default;
        return false;
    }

    private void Time(TimeSpan due)
    {
        if (timer?.Change(due, Timeout.InfiniteTimeSpan) is true)
            return;
        timer = time.CreateTimer(
            static state => ((HoldingReader)state!).BeLate(), this, due, Timeout.InfiniteTimeSpan);
    }

    private void BeLate()
    {
        isLate = true;
        inner.CancelPendingRead();
    }

    private void StopTime()
    {
        timer?.Dispose();
        timer = null;
        isLate = false;
    }
}
