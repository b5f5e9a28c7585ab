using System.Text;

namespace Coffer.Audit;

/// <summary>The end of a checkpoint file: its last whole lines, however large it is.</summary>
internal static class CheckpointTail
{
    /// <summary>
    /// Bytes: a node's checkpoints of most of a day, or some ten that name a hundred other nodes each.
    /// </summary>
    public const int Size = 256 * 1024;

    /// <summary>
    /// The checkpoints, oldest first. A line that is not one, as one that a crash has torn, says nothing.
    /// </summary>
    /// <returns>Nothing if there is no such file.</returns>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">This user may not read it.</exception>
    public static IReadOnlyList<Checkpoint> Read(string file)
    {
        if (!File.Exists(file))
            return [];
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var isPart = stream.Length > Size;
        if (isPart)
            stream.Seek(-Size, SeekOrigin.End);
        var bytes = new byte[Size];
        var text = Encoding.UTF8.GetString(bytes, 0, stream.ReadAtLeast(bytes, Size, throwOnEndOfStream: false));
        // Begun in the middle, it begins with what is left of a line.
        return [.. text.Split('\n').Skip(isPart ? 1 : 0).Select(Checkpoint.Parse).OfType<Checkpoint>()];
    }
}
