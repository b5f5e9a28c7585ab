using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// Notes the hour in which a key was last used, once an hour for each key. That it was used is of no use to a request,
/// so none waits for it or fails with it.
/// </summary>
internal sealed class LastUses(Committer committer, TimeProvider time)
{
    public void Note(ApiKeyRow row)
    {
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        var hour = Math.Max(now - now % 3_600, row.Created); // it is not used before it is made
        if (row.LastUsed >= hour || row.ExpiresAt <= now)
            return;
        try
        {
            var change = new Change.Plain(new RowWrite.TouchApiKey(row.Id, hour)) { In = Lane.Background };
            _ = committer.CommitAsync(change)
                .ContinueWith(static failed => _ = failed.Exception, TaskScheduler.Default);
        }
        catch (ApiError)
        {
            // The store is busy or stopping: it is noted at the next look-up.
        }
    }
}
