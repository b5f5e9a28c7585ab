namespace Coffer.Crypto;

/// <summary>
/// Tells whether something is used often at the moment: what is prepared for it is worth keeping then. Of many keys
/// that are used now and then, what is prepared would only fill the memory, and the processor's caches miss it. Not
/// exact when several threads ask at once, and need not be.
/// </summary>
internal struct Heat
{
    /// <summary>So many uses in a window of <see cref="Window"/> are often.</summary>
    public const int Often = 8;

    public static readonly TimeSpan Window = TimeSpan.FromMilliseconds(1 << Shift);

    private const int Shift = 12;

    private long window;
    private int uses;
    private bool wasHot;

    /// <summary>Counts a use.</summary>
    /// <returns>Whether there were often so many in this window, or in the one before.</returns>
    public bool Use() => Use(Environment.TickCount64);

    /// <param name="now">Milliseconds of a clock that never goes back.</param>
    internal bool Use(long now)
    {
        if (now >> Shift is var current && current != window)
        {
            wasHot = current == window + 1 && uses >= Often;
            (window, uses) = (current, 0);
        }

        return ++uses >= Often || wasHot;
    }
}
