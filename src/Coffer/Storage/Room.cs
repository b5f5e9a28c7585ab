namespace Coffer.Storage;

/// <summary>
/// The memory that lists with payloads may take together, from before they are read until they are sent. Who finds no
/// room waits, first come, first served; a list that is larger than all of it waits until it is alone.
/// </summary>
internal sealed class Room
{
    /// <summary>
    /// What a stored byte takes on its way out: as it is stored, as it is opened, and as JSON, which is built in a
    /// buffer that doubles and in which a byte may become three.
    /// </summary>
    private const int Growth = 6;

    private const long Least = 8 * 1024 * 1024, Most = 512 * 1024 * 1024;

    private readonly LinkedList<Stay> waiting = new();
    private readonly Lock held = new();
    private readonly TimeSpan longestWait;
    private long free;

    /// <param name="size">Bytes.</param>
    /// <param name="longestWait">How long anyone waits.</param>
    public Room(long size, TimeSpan longestWait) => (Size, free, this.longestWait) = (size, size, longestWait);

    /// <summary>Bytes.</summary>
    public long Size { get; }

    /// <summary>A sixth of the memory that this process may use: of the machine, or of its container.</summary>
    public static Room OfThisMachine() =>
        new(Math.Clamp(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 6, Least, Most), TimeSpan.FromSeconds(10));

    /// <summary>Returns when there is room; dispose of what it gives when the answer is sent.</summary>
    /// <param name="stored">How many bytes are read, as they are stored.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ApiError">503: there was no room for so long.</exception>
    public async ValueTask<IDisposable> EnterAsync(long stored, CancellationToken ct)
    {
        var stay = new Stay(this, Math.Min(stored * Growth, Size));
        lock (held)
        {
            if (waiting.Count == 0 && free >= stay.Size)
            {
                free -= stay.Size;
                return stay;
            }

            waiting.AddLast(stay);
        }

        try
        {
            await stay.Entered.Task.WaitAsync(longestWait, ct);
            return stay;
        }
        catch (Exception e)
        {
            lock (held)
            {
                if (!waiting.Remove(stay))
                    free += stay.Size; // it entered at that moment
                Admit();
            }

            throw e is TimeoutException ? ApiError.NoRoom() : e;
        }
    }

    /// <summary>
    /// The same around what is made there: what it gives goes with the outcome, or back if there is none.
    /// </summary>
    public async Task<T> EnterAsync<T>(long stored, Func<IDisposable, Task<T>> make, CancellationToken ct)
    {
        var entered = await EnterAsync(stored, ct);
        try
        {
            return await make(entered);
        }
        catch
        {
            entered.Dispose();
            throw;
        }
    }

    private void Leave(Stay stay)
    {
        lock (held)
        {
            free += stay.Size;
            Admit();
        }
    }

    private void Admit()
    {
        while (waiting.First is { } first && free >= first.Value.Size)
        {
            free -= first.Value.Size;
            waiting.RemoveFirst();
            first.Value.Entered.SetResult();
        }
    }

    private sealed class Stay(Room room, long size) : IDisposable
    {
        private int isLeft;

        public long Size => size;

        public TaskCompletionSource Entered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Dispose()
        {
            if (Interlocked.Exchange(ref isLeft, 1) == 0)
                room.Leave(this);
        }
    }
}
