namespace Coffer.Storage;

/// <summary>Which queue of the committer a change waits in.</summary>
internal enum Lane
{
    /// <summary>What requests ask for: apps take turns.</summary>
    Ordinary,

    /// <summary>
    /// What takes rights away or sets what an app may do: the next batch, alone. No flood of other changes refuses or
    /// delays it.
    /// </summary>
    Urgent,

    /// <summary>What nobody waits for: short batches, when no request waits or its time has come.</summary>
    Background,
}

/// <summary>Whose turn a change takes, and whose bounds it counts against.</summary>
/// <param name="App">The id of the app.</param>
/// <param name="Key">The id of the ephemeral key, which has bounds of its own; null for the app's other keys.</param>
internal sealed record Payer(string App, string? Key = null);
