using System.Text;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Appends a checkpoint to a file outside the database, every minute in which the chain grew, and at shutdown. It names
/// the other nodes whose logs have grown since this process last named them.
/// </summary>
internal sealed class Checkpoints : IDisposable
{
    /// <summary>
    /// How many other nodes are looked at for a checkpoint. Of more, each has its turn within as many minutes as it
    /// takes: a line stays below 24 KB, and costs the database a few hundred index look-ups.
    /// </summary>
    public const int MostHeads = 100;

    public static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    /// <summary>How long the other nodes may be asked for: a checkpoint without them is worth more than none.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    private readonly AuditChain chain;
    private readonly Engine engine;
    private readonly AuditKeys keys;
    private readonly string file;
    private readonly TimeProvider time;
    private readonly ILogger<Checkpoints> log;
    private readonly Lock writing = new();
    private readonly Dictionary<string, ChainPlace> named = [];
    private readonly LastingFailure failing;
    private bool hasStarted;
    private (string Node, long Sequence) written;
    private DateTimeOffset covered;
    private string lastHead = "";

    public Checkpoints(AuditChain chain, Engine engine, AuditKeys keys, string file, TimeProvider time,
        ILogger<Checkpoints> log)
    {
        (this.chain, this.engine, this.keys, this.file) = (chain, engine, keys, file);
        (this.time, this.log, failing) = (time, log, new LastingFailure(log));
        Loop = new Loop("checkpoints", RoundAsync, time, log);
    }

    public Loop Loop { get; }

    /// <summary>
    /// Why the last checkpoint could not be written, or null. What is wrong names the file: that is for the log, not
    /// for a caller of /readyz.
    /// </summary>
    public string? Trouble =>
        failing.IsOn ? "a checkpoint could not be written; the server's log says why" : null;

    /// <summary>For how long the log has been longer than its last durable checkpoint, or than at the start.</summary>
    public TimeSpan Age
    {
        get
        {
            lock (writing)
            {
                var at = chain.At;
                return written == (at.Node, at.Position.Sequence) ? TimeSpan.Zero : time.GetUtcNow() - covered;
            }
        }
    }

    public void Start()
    {
        covered = time.GetUtcNow();
        written = (chain.At.Node, chain.Position.Sequence);
        chain.WhenLost = KeepEvidence;
        hasStarted = true;
        Loop.Start(Interval);
    }

    /// <summary>Writes a checkpoint if the chain grew since the last.</summary>
    public void Write()
    {
        lock (writing)
        {
            var at = chain.At;
            if (written != (at.Node, at.Position.Sequence))
                Append(at, chain.Trouble is null ? NewHeads(at.Node) : []);
            else
                covered = time.GetUtcNow();
        }
    }

    public void Dispose()
    {
        Loop.Dispose();
        if (hasStarted)
            Write();
    }

    private Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        Write();
        return Task.FromResult(Interval);
    }

    // What this process alone knows by now: without it, the next start would not miss what the database has lost.
    private void KeepEvidence()
    {
        log.LogError("{Trouble}", chain.Trouble);
        lock (writing)
            Append(chain.At, []);
    }

    private void Append(ChainPlace at, IReadOnlyList<ChainPlace> heads)
    {
        try
        {
            var isNew = !File.Exists(file);
            using var stream = DurableFile.Open(file, FileMode.Append, FileAccess.Write, FileShare.Read);
            // A line that a crash has torn stays one line: this one begins on a new line.
            if (EndsInTornLine())
                stream.WriteByte((byte)'\n');
            stream.Write(Encoding.UTF8.GetBytes(Checkpoint.Sign(keys, at, heads, time.GetUtcNow()).ToLine() + "\n"));
            DurableFile.Sync(stream);
            if (isNew)
                DurableFile.SyncDirectoryOf(file);
            (written, covered) = ((at.Node, at.Position.Sequence), time.GetUtcNow());
            foreach (var head in heads)
                named[head.Node] = head;
            if (failing.End())
                log.LogInformation("Checkpoints of the audit log are written again");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            failing.Begin(LogLevel.Error, e, "Checkpoints of the audit log cannot be written");
        }
    }

    private List<ChainPlace> NewHeads(string node)
    {
        try
        {
            var page = engine.ListAuditHeadsAsync(lastHead, MostHeads, Rollbacks.MetaPrefix, CancellationToken.None)
                .AsTask().WaitAsync(Patience).GetAwaiter().GetResult();
            lastHead = page.Count < MostHeads ? "" : page[^1].Node;
            // Of a generation that this node does not know yet: another key signs then.
            var known = keys.Generation()?.Number ?? 0;
            return [.. page.Where(head => head.Node != node).Select(Place)
                .Where(head => !(head.Position.Public?.Generation.Number > known))
                .Where(head => named.GetValueOrDefault(head.Node) is not { } last
                || (last.Position.Sequence, last.Rollback) != (head.Position.Sequence, head.Rollback))];
        }
        catch (Exception e) when (e is ApiError or TimeoutException)
        {
            return [];
        }
    }

    // A list of roll-backs that does not open is for the node itself and the verification to find.
    private ChainPlace Place(AuditHeadRow head) => new(head.Node,
        new ChainPosition(head.Last, head.Mac) { Public = PublicPlace.Read(head.Public)?.Place },
        Rollbacks.Read(keys.Proof, head.Node, head.Meta)?.Newest() ?? 0);

    private bool EndsInTornLine()
    {
        using var existing = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        if (existing.Length == 0)
            return false;
        existing.Seek(-1, SeekOrigin.End);
        return existing.ReadByte() != '\n';
    }
}
