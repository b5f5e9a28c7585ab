using System.Globalization;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Notices, before a start changes anything, that the store is older than the checkpoints that stand beside it: that
/// an old copy was put back, or that a failover lost commits. An honest crash never looks so, for a checkpoint is
/// signed of what is durable only. The start is refused, unless the operator names what is accepted as lost.
/// </summary>
internal sealed class OldStore(Engine engine, AuditKeys keys, string file, TimeProvider time, ILogger<OldStore> log)
{
    /// <summary>Why there has to be a store, in words; null if there are no checkpoints that say so.</summary>
    public static string? Expected(string file) => Read(file) is { Count: > 0 } checkpoints
        ? $"there is no store, but {file} has checkpoints of one, the last of {Shown(checkpoints[^1].Time)}"
        : null;

    /// <summary>Refuses a new store where checkpoints say that there was one.</summary>
    /// <exception cref="ConfigurationException">There are some.</exception>
    public static void RequireNone(string file)
    {
        if (Expected(file) is { } expected)
        {
            throw new ConfigurationException(expected,
                "Restore the store from a back-up. To create a new store, move that file away first.");
        }
    }

    /// <summary>Holds what the checkpoints say against the store.</summary>
    /// <param name="accepted">
    /// What the operator accepts as lost; null is all of it, of a store that was restored.
    /// </param>
    /// <returns>
    /// What records the acceptance, to be committed first, and the greatest number of a generation of the store that
    /// checkpoints name; null if nothing is lost.
    /// </returns>
    /// <exception cref="ConfigurationException">What is lost is not what is accepted.</exception>
    public (RowWrite[] Rows, AuditEntry[] Entries, long Generation)? Check(IReadOnlyList<AcceptedRollback>? accepted)
    {
        var remembered = Remembered();
        Loss[] losses = [.. remembered.GroupBy(known => known.Place.Node, StringComparer.Ordinal)
            .OrderBy(node => node.Key, StringComparer.Ordinal)
            .Select(node => Find(node.Key, [.. node])).OfType<Loss>()];
        var pairs = losses.Select(loss => loss.Pair).ToHashSet();
        var given = accepted?.ToHashSet() ?? pairs;
        if (losses.Length == 0 && given.Count == 0)
            return null;
        if (losses.Length == 0)
        {
            throw new ConfigurationException(
                $"there is no roll-back to accept: nothing that {Flags(given)} names is missing",
                "Start without it: it is only for the start after a refused one, to accept what that one reported.");
        }

        if (!pairs.SetEquals(given))
        {
            var found = $"the store is older than its checkpoints: {Shown(losses)}";
            throw new ConfigurationException(
                given.Count == 0 ? found : $"{Flags(given)} is not what was found; {found}",
                "Restore the newest copy of the store, or find the database server that has it. If there is none, " +
                $"and what came after is lost, start once with {Flags(pairs)}: that is recorded in the audit log.");
        }

        log.LogWarning("A roll-back is accepted: {Found}", Shown(losses));
        var now = time.GetUtcNow();
        return (
            [.. losses.Select(loss =>
                Rollbacks.Write(keys, loss.Log.Node, [.. loss.Log.Rollbacks, Record(loss, now)]))],
            [.. losses.Select(loss => new AuditEntry(Rollbacks.Verb, "ok")
            {
                Target = loss.Log.Node,
                Rollback = Number(loss),
                Reason = $"{AcceptedRollback.Flag} {loss.Pair}",
                From = loss.Known.Position.Sequence,
                To = loss.Log.Last.Sequence,
            })],
            remembered.Max(known => known.Place.Position.Public?.Generation.Number ?? 0));
    }

    private static Rollback Record(Loss loss, DateTimeOffset now) =>
        new(Number(loss), loss.Shared, loss.Log.Last, loss.Known.Position.Sequence, now);

    // Above any that the lost log had: checkpoints of it may name it.
    private static long Number(Loss loss) => Math.Max(loss.Log.Rollbacks.Newest(), loss.Known.Rollback) + 1;

    // What the checkpoints that this store signed say of any node. What is said of a node later says all that was
    // said before.
    private List<(ChainPlace Place, DateTimeOffset Time)> Remembered()
    {
        var known = new List<(ChainPlace, DateTimeOffset)>();
        try
        {
            foreach (var checkpoint in CheckpointTail.Read(file))
            {
                var at = checkpoint.At;
                if (checkpoint.IsSignedBy(keys.Signing.Public, keys.Store))
                    known.AddRange(checkpoint.Places.Select(place => (place, checkpoint.Time)));
                else
                    log.LogError("{File} has a checkpoint that this store did not sign: {Node}, entry {Entry}, {Time}",
                        file, at.Node, at.Position.Sequence, Shown(checkpoint.Time));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogFailure(
                LogLevel.Error, e, $"The store was not compared with its checkpoints: {file} cannot be read");
        }

        return known;
    }

    private Loss? Find(string node, List<(ChainPlace Place, DateTimeOffset Time)> known)
    {
        var stored = NodeLog.Read(engine, keys.Proof, node);
        known.RemoveAll(each => stored.Rollbacks.Excuse(each.Place));
        if (known.Count == 0)
            return null;
        var (newest, at) = known.MaxBy(each => (each.Place.Rollback, each.Place.Position.Sequence));
        if (stored.Knows(newest))
            return null;

        // Where the lost log and this one part: this one holds all that was said of places before that.
        ChainPlace[] places = [.. known.Select(each => each.Place).OrderBy(place => place.Position.Sequence)];
        var (low, high) = (0, places.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (stored.Holds(places[middle].Position))
                low = middle + 1;
            else
                high = middle;
        }

        if (low == places.Length || places[low].Position.Sequence > stored.Last.Sequence)
            return new Loss(stored, newest, at);
        return new Loss(stored, newest, at) { Shared = low == 0 ? 0 : places[low - 1].Position.Sequence };
    }

    private static IReadOnlyList<Checkpoint> Read(string file)
    {
        try
        {
            return CheckpointTail.Read(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static string Flags(IEnumerable<AcceptedRollback> pairs) =>
        string.Join(' ', pairs.OrderBy(pair => pair.Node, StringComparer.Ordinal)
            .Select(pair => $"{AcceptedRollback.Flag} {pair}"));

    private static string Shown(Loss[] losses) => string.Join("; ", losses.Select(loss => loss.Found));

    private static string Shown(DateTimeOffset at) =>
        at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
