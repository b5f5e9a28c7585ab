using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// Moves API keys that are over from among those that are accepted to those that have ended, and forgets those that
/// expired long ago. No request waits for it: a key that is over is refused whether or not it came.
/// </summary>
internal sealed class EndedKeys(Engine engine, Committer committer, Instance instance)
{
    /// <summary>How long a key that was made beside the server is shown, over or not, in seconds.</summary>
    public const long OfflineIsShown = 7 * 86_400;

    private const int Batch = 200;

    /// <summary>How often it forgets so many in a sweep: the next one takes what is left.</summary>
    private const int MostRounds = 1_000;

    /// <summary>Moves all that is over at a Unix second.</summary>
    public async Task SweepAsync(long now, CancellationToken ct)
    {
        await foreach (var over in Engine.PagesAsync(Batch,
            (after, most) => engine.ListKeysOverAsync(now, now - OfflineIsShown, after, most, ct), static id => id))
            await Task.WhenAll(over.Select(id => committer.CommitAsync(new Ending(id, now, instance))));

        var until = now - (long)EndedKey.KeptFor.TotalSeconds;
        for (var rounds = 0; rounds < MostRounds; rounds++)
        {
            var macs = await engine.ListLongExpiredKeysAsync(until, Batch, ct);
            if (macs.Count == 0)
                return;
            await committer.CommitAsync(
                new Change.Plain([.. macs.Select(mac => new RowWrite.DeleteEndedKey(mac))]) { In = Lane.Background });
        }
    }

    /// <summary>Moves one key, unless it is not over any more, or was changed outside Coffer.</summary>
    private sealed class Ending(string id, long now, Instance instance) : Change
    {
        private ApiKeyRow? expired;

        public override Lane Lane => Lane.Background;

        public override ManagementKey ManagementAt { get; } = new() { ApiKey = id };

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            expired = null;
            if (found.Management!.ApiKey is not { } row || ApiKey.Inspect(instance, row) is not { IsDamaged: false } key
                || !(key.EndsAt <= now))
                return [];
            if (row.Ended <= now)
                return [new RowWrite.DeleteApiKey(id)]; // what ended it is recorded already
            expired = row;
            return
            [
                EndedKey.Put(instance, row, row.ExpiresAt!.Value, EndedKeyRow.Expired), new RowWrite.DeleteApiKey(id),
            ];
        }

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => expired is null
            ? []
            : [ApiKey.Entry("expire_key", expired) with
            {
                Outcome = "expired",
                Changed = ApiKey.Ends(expired.ExpiresAt!.Value),
            }];
    }
}
