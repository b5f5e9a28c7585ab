using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>How reads are recorded. Changes always are, in their own transaction.</summary>
/// <param name="Buffered">
/// Answers a read before its entry is durable; it follows within one commit, or is lost if the process dies or the
/// storage fails in between.
/// </param>
/// <param name="MetadataReads">Whether finds and lists without payload are recorded too.</param>
internal readonly record struct AuditPolicy(bool Buffered, bool MetadataReads);

/// <summary>Records reads: before they are answered, unless the operator chose otherwise.</summary>
internal sealed class Recorder(Committer committer, Func<AuditPolicy> policy, ILogger<Recorder> log)
{
    private long lost;

    public bool TakesMetadata => policy().MetadataReads;

    /// <summary>
    /// That entries were lost since the last that was stored, or null; only a buffered record can lose any.
    /// </summary>
    public string? Trouble =>
        Interlocked.Read(ref lost) is var count and > 0 ? $"the last {count} entries were lost" : null;

    /// <summary>Returns when a read may be answered.</summary>
    /// <exception cref="ApiError">503: the entries cannot be stored, so nothing may be answered.</exception>
    public async ValueTask PutAsync(params Note[] notes)
    {
        var stored = committer.CommitAsync(new Change.Noted(notes));
        if (policy().Buffered && !stored.IsCompleted)
            _ = WatchAsync(stored, notes.Length);
        else
            await stored;
    }

    private async Task WatchAsync(Task stored, int count)
    {
        try
        {
            await stored;
            if (Interlocked.Exchange(ref lost, 0) is var gone and > 0)
                log.LogError("{Count} audit entries were lost, and those from now on are stored again", gone);
        }
        catch (Exception e)
        {
            if (Interlocked.Add(ref lost, count) == count)
                log.LogFailure(LogLevel.Error, e, "Audit entries are lost, for the audit log is buffered");
        }
    }
}
