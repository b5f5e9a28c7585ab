using System.Globalization;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Checks;

/// <summary>
/// How much room there is, and how long it lasts. How fast a store grows is known from its audit log, which has a row
/// for each commit: the store's size is shared out over all rows, and those of the last week say how much of it is a
/// day's.
/// </summary>
internal static class DiskCheck
{
    private const long Megabyte = 1024 * 1024;

    /// <summary>Below this a write-ahead log, a checkpoint and a batch may find no room.</summary>
    private const long Least = 64 * Megabyte;

    private const double LeastShare = 0.10;

    private static readonly TimeSpan Week = TimeSpan.FromDays(7), Shortest = TimeSpan.FromDays(1),
        Soon = TimeSpan.FromDays(14);

    private const string MakeRoom = "Make room, enlarge the disk, or keep less of the audit log: "
        + "coffer settings set audit-retention-days.";

    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        at.RequireData();
        var there = at.Data;
        while (!Directory.Exists(there))
            there = Path.GetDirectoryName(there)!;
        var free = LookAt(there, found);
        var checkpoints = Path.GetDirectoryName(Path.GetFullPath(at.CheckpointFile))!;
        if (at.Options.Checkpoints is not null && Path.Exists(checkpoints))
            LookAt(checkpoints, found);

        var size = at.Options.Store is null
            ? DataDirectory.StoreFilesOf(at.Data).Where(File.Exists).Sum(file => new FileInfo(file).Length)
            : (await at.ConditionAsync(ct)).Size;
        var growth = size is { } bytes ? await GrowthAsync(at, bytes, ct) : null;
        var grows = growth is { } known ? $"grows by about {Shown(known)} a day"
            : "grows by an amount that is not known yet";
        if (at.Options.Store is not null)
        {
            if (size is not null)
                found.Ok($"the database has {Shown(size.Value)} and {grows}; its disk is not seen from here");
            return;
        }

        if (growth > 0 && free / growth.Value < Soon.TotalDays)
        {
            found.Warn($"the store has {Shown(size!.Value)} and {grows}: the room in {at.Data} lasts "
                + $"{free / growth.Value} days", MakeRoom);
        }
        else
        {
            found.Ok($"the store has {Shown(size!.Value)} and {grows}");
        }
    }

    private static long LookAt(string path, Findings found)
    {
        var disk = new DriveInfo(path);
        var (free, total) = (disk.AvailableFreeSpace, disk.TotalSize);
        var text = string.Create(CultureInfo.InvariantCulture,
            $"{Shown(free)} of {Shown(total)} are free in {path} ({100.0 * free / Math.Max(total, 1):0} %)");
        if (free < Least)
            found.Problem(text, MakeRoom);
        else if (free < total * LeastShare)
            found.Warn(text, MakeRoom);
        else
            found.Ok(text);
        return free;
    }

    // Bytes a day; null is not known.
    private static async Task<long?> GrowthAsync(Installation at, long size, CancellationToken ct)
    {
        var engine = at.Engine;
        if (await RowBeforeAsync(engine, long.MaxValue, ct) is not { } newest)
            return null;
        var first = (await engine.ListAsync(AuditRow.Oldest, ct))[0];
        var oldest = await RowBeforeAsync(engine, first + 1, ct);
        if (oldest is null || newest.Time - oldest.Value.Time < Shortest)
            return null;
        // Where as much is removed as comes, the file stays as it is.
        if (at.InForce.AuditRetentionDays is { } days
            && newest.Time - oldest.Value.Time > TimeSpan.FromDays(days - 1))
            return 0;
        var (low, high) = (first, newest.Number);
        var begin = newest.Time - Week;
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            if (await RowBeforeAsync(engine, middle + 1, ct) is { } row && row.Time >= begin)
                high = middle;
            else
                low = middle + 1;
        }

        var span = Math.Min((newest.Time - oldest.Value.Time).TotalDays, Week.TotalDays);
        var share = (double)(newest.Number - low + 1) / (newest.Number - first + 1);
        return (long)(size * share / span);
    }

    private static async Task<(long Number, DateTimeOffset Time)?> RowBeforeAsync(
        Engine engine, long bound, CancellationToken ct) =>
        await engine.ListAuditAsync(bound, newestFirst: true, size: 0, ct) is [var (number, row)]
            && Verification.TimeOf(row) is { } time
            ? (number, time)
            : null;

    private static string Shown(long bytes)
    {
        var (number, unit) = bytes switch
        {
            >= 1024 * Megabyte => (bytes / (1024.0 * Megabyte), "GB"),
            >= Megabyte => (bytes / (double)Megabyte, "MB"),
            _ => (bytes / 1024.0, "KB"),
        };
        return string.Create(CultureInfo.InvariantCulture, $"{number:0.#} {unit}");
    }
}
