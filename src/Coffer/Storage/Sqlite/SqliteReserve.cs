using System.Diagnostics;
using System.Security.Cryptography;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// Room on the disk for what takes rights away: a file beside the store that is given up when the disk is full and such
/// a change has to be stored. Until there is room for it again nothing else is, or the next payload would use it up.
/// </summary>
/// <remarks>
/// A file, and not free pages of the store: what a commit needs first is room at the end of the write-ahead log. It is
/// emptied, not removed, so that the next start knows that it was given up. Not safe for several threads.
/// </remarks>
internal sealed class SqliteReserve
{
    /// <summary>At most twice what the write-ahead log usually is: that can be emptied into the store then.</summary>
    private const long Most = 8 * 1024 * 1024, Least = 256 * 1024;

    private const int Block = 1024 * 1024;

    /// <summary>The share of the disk that it is, if that is not too much or too little.</summary>
    private const int Share = 12;

    private static readonly TimeSpan BetweenTries = TimeSpan.FromSeconds(1);

    private readonly string file;
    private readonly Func<(long Total, long Free)> disk;
    private bool isKept;
    private long tried;

    /// <summary>What was kept or given up before; nothing is made yet.</summary>
    /// <param name="file">Where it is, or is to be.</param>
    /// <param name="disk">Bytes of the disk; null asks the system.</param>
    public SqliteReserve(string file, Func<(long Total, long Free)>? disk = null)
    {
        (this.file, this.disk) = (file, disk ?? Ask);
        isKept = new FileInfo(file) is { Exists: true, Length: > 0 };
        IsGivenUp = !isKept && File.Exists(file);
    }

    /// <summary>Whether it was given up, and there has been no room for it since.</summary>
    public bool IsGivenUp { get; private set; }

    /// <summary>What of the disk it is, in bytes.</summary>
    public static long SizeOn(long total) => Math.Clamp(total / Share, Least, Most);

    /// <summary>Has it kept, for the first time or again, if there is twice the room. Tries once a second.</summary>
    public void Refill()
    {
        if (isKept || Stopwatch.GetElapsedTime(tried) < BetweenTries)
            return;
        isKept = TryKeep();
        IsGivenUp &= !isKept;
    }

    /// <summary>Gives it up.</summary>
    /// <returns>How many bytes that has freed.</returns>
    public long GiveUp()
    {
        if (!isKept)
            return 0;
        try
        {
            using var emptied = DurableFile.Open(file, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read);
            var size = emptied.Length;
            emptied.SetLength(0);
            (isKept, IsGivenUp) = (false, true);
            return size;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0; // it stays: what needs it fails as it would without it
        }
    }

    private bool TryKeep()
    {
        tried = Stopwatch.GetTimestamp();
        try
        {
            var (total, free) = disk();
            var size = SizeOn(total);
            if (free < 2 * size)
                return false;
            var filling = RandomNumberGenerator.GetBytes(Block); // so that no file system makes less of it
            var kept = DurableFile.Open(file, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read);
            try
            {
                using (kept)
                {
                    for (var left = size; left > 0; left -= Block)
                        kept.Write(filling.AsSpan(0, (int)Math.Min(left, Block)));
                }

                return true;
            }
            catch (IOException)
            {
                if (IsGivenUp)
                    File.WriteAllBytes(file, []);
                else
                    File.Delete(file); // an empty one would say that it was
                return false;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return false;
        }
    }

    private (long Total, long Free) Ask()
    {
        var drive = new DriveInfo(Path.GetDirectoryName(Path.GetFullPath(file))!);
        return (drive.TotalSize, drive.AvailableFreeSpace);
    }
}
