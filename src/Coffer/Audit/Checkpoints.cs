using System.Security.Cryptography;
using System.Text;

namespace Coffer.Audit;

/// <summary>Appends a checkpoint to a file outside the database, every minute in which the chain grew, and at shutdown.</summary>
internal sealed class Checkpoints(AuditChain chain, ECDsa signingKey, byte[] instance, string file, TimeProvider time, ILogger<Checkpoints> log) : IDisposable
{
    public static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    private readonly Lock writing = new();
    private ITimer? timer;
    private (string Node, long Sequence) written;
    private string? trouble;

    /// <summary>Why the last checkpoint could not be written, or null.</summary>
    public string? Trouble => Volatile.Read(ref trouble);

    public void Start()
    {
        written = (chain.At.Node, chain.Position.Sequence);
        timer = time.CreateTimer(_ => Write(), null, Interval, Interval);
    }

    /// <summary>Writes a checkpoint if the chain grew since the last.</summary>
    public void Write()
    {
        lock (writing)
        {
            var (node, position) = chain.At;
            if (written == (node, position.Sequence))
                return;
            try
            {
                var options = new FileStreamOptions { Mode = FileMode.Append, Access = FileAccess.Write, Share = FileShare.Read };
                if (!OperatingSystem.IsWindows())
                    options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
                using var stream = new FileStream(file, options);
                // A line that a crash has torn stays one line: this one begins anew.
                if (EndsInTornLine())
                    stream.WriteByte((byte)'\n');
                stream.Write(Encoding.UTF8.GetBytes(Checkpoint.Sign(signingKey, instance, node, position, time.GetUtcNow()).ToLine() + "\n"));
                stream.Flush(flushToDisk: true);
                written = (node, position.Sequence);
                Volatile.Write(ref trouble, null);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // What is wrong names the file: that is for the log, not for who asks /readyz.
                Volatile.Write(ref trouble, "a checkpoint could not be written; the server's log says why");
                log.LogError(e, "A checkpoint of the audit log could not be written");
            }
        }
    }

    private bool EndsInTornLine()
    {
        using var existing = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        if (existing.Length == 0)
            return false;
        existing.Seek(-1, SeekOrigin.End);
        return existing.ReadByte() != '\n';
    }

    public void Dispose()
    {
        timer?.Dispose();
        if (timer is not null)
            Write();
    }
}
