using Coffer.Http;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Telemetry;

namespace Coffer.Hosting;

/// <summary>What is read of a running server when somebody asks for its metrics. Nothing walks through rows.</summary>
internal sealed class Gauges(TimeProvider time)
{
    /// <summary>How long what was read is given to an exporter, which asks for each metric by itself.</summary>
    private static readonly TimeSpan Kept = TimeSpan.FromSeconds(1);

    private readonly long start = time.GetTimestamp();
    private readonly Lock reading = new();
    private (IReadOnlyList<Reading> Read, long At)? kept;

    public required CofferOptions Options { get; init; }

    public required Engine Engine { get; init; }

    public required Instance Instance { get; init; }

    public required AuditParts Audit { get; init; }

    public required AccessParts Access { get; init; }

    public required Tenants Tenants { get; init; }

    public required Readiness Readiness { get; init; }

    public required Census Census { get; init; }

    public required Observers Observers { get; init; }

    public TlsCertificate? Certificate { get; init; }

    public BackupSchedule? Backups { get; init; }

    /// <summary>What this process is, as the attributes of a resource.</summary>
    public IReadOnlyList<(string Name, string Value)> Target =>
    [
        ("service.name", "coffer"), ("service.version", Product.Version), ("service.instance.id", Engine.Node),
    ];

    /// <summary>Reads all there is.</summary>
    public async ValueTask<IReadOnlyList<Reading>> ReadAsync(CancellationToken ct)
    {
        var checks = await Readiness.ProveAsync(ct);
        return
        [
            .. OfParts(checks), .. OfConnections(), .. OfStore(), .. OfCensus(), .. OfDisks(), .. OfKeys(),
            .. OfProcess(),
        ];
    }

    /// <summary>What was read within the last second, for a thread that may wait.</summary>
    public IReadOnlyList<Reading> ReadKept()
    {
        lock (reading)
        {
            if (kept is { } last && time.GetElapsedTime(last.At) <= Kept)
                return last.Read;
            var read = ReadAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult();
            kept = (read, time.GetTimestamp());
            return read;
        }
    }

    private IEnumerable<Reading> OfParts(IReadOnlyList<Readiness.Check> checks)
    {
        foreach (var check in checks)
        {
            yield return Metrics.Ready.Reads(check.Trouble is null ? 1 : 0, check.Part);
            yield return Metrics.Warning.Reads(check.Warning is null ? 0 : 1, check.Part);
        }

        foreach (var part in Readiness.Beside.Except(checks.Select(check => check.Part)))
            yield return Metrics.Warning.Reads(0, part);
    }

    private IEnumerable<Reading> OfConnections() => Enum.GetValues<EarlyRefusal>()
        .Select(kind => Metrics.RefusedConnections.Reads(Observers.CountOf(kind), kind.Word()));

    private IEnumerable<Reading> OfStore()
    {
        foreach (var (lane, count) in Audit.Committer.Depths)
            yield return Metrics.Waiting.Reads(count, CommitMeter.NameOf(lane));
        yield return Metrics.OpenTenants.Reads(Tenants.Count);
        yield return Metrics.MostOpenTenants.Reads(Options.OpenTenants);
        yield return Metrics.CheckpointAge.Reads(Audit.Checkpoints.Age.TotalSeconds);
        yield return Metrics.Revocations.Reads(Access.Revocations.Count);
        yield return Metrics.NodeLag.Reads(Engine.Silence.TotalSeconds);
        if (Engine.ClockOffset is { } ahead)
            yield return Metrics.ClockOffset.Reads(ahead.TotalSeconds);
    }

    private IEnumerable<Reading> OfCensus()
    {
        if (Census.Last is not { } found)
            yield break;
        yield return Metrics.Nodes.Reads(found.Nodes);
        if (found.Database is { } database)
            yield return Metrics.StoreSize.Reads(database, "database");
        if (found.Log is { } log)
            yield return Metrics.StoreSize.Reads(log, "log");
        if (found.Counts is not { } counts)
            yield break;
        foreach (var (mode, counted) in ((string, Census.Counted)[])[("test", counts.Test), ("live", counts.Live)])
        {
            yield return Metrics.Tenants.Reads(counted.Tenants, mode);
            yield return Metrics.Secrets.Reads(counted.Secrets, mode, Engine.Name);
            foreach (var (days, secrets) in Census.Days.Zip(counted.Expiring))
                yield return Metrics.Expiring.Reads(secrets, mode, $"{days}d");
        }
    }

    private IEnumerable<Reading> OfDisks()
    {
        (string Name, string? Path)[] all =
        [
            ("data", Options.Data),
            ("checkpoints", Options.Checkpoints is { } file ? Path.GetDirectoryName(Path.GetFullPath(file)) : null),
            ("backups", Options.Backups.Directory), ("receipts", Options.Receipts),
        ];
        foreach (var (name, path) in all)
        {
            if (string.IsNullOrEmpty(path) || RoomIn(path) is not var (free, size))
                continue;
            yield return Metrics.DiskFree.Reads(free, name);
            yield return Metrics.DiskSize.Reads(size, name);
        }
    }

    private static (long Free, long Size)? RoomIn(string path)
    {
        try
        {
            var disk = new DriveInfo(Path.GetFullPath(path));
            return (disk.AvailableFreeSpace, disk.TotalSize);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // not there yet, or not any more: who writes there says so
        }
    }

    private IEnumerable<Reading> OfKeys()
    {
        if (Instance.Facts is { } facts)
        {
            yield return Metrics.RootKey.Reads(facts.Sealing);
            yield return Metrics.RotationAge.Reads(
                facts.Rotating is { } root ? time.GetUtcNow().ToUnixTimeSeconds() - root.Created : 0);
        }

        if (Certificate is not null)
            yield return Metrics.CertificateLeft.Reads(Certificate.Left.TotalSeconds);
        if (Backups is null)
            yield break;
        yield return Metrics.BackupAge.Reads(Backups.Age.TotalSeconds);
        yield return Metrics.BackupPeriod.Reads(Backups.Period.TotalSeconds);
    }

    private IEnumerable<Reading> OfProcess()
    {
        var used = Environment.CpuUsage;
        yield return Metrics.ProcessorTime.Reads(used.UserTime.TotalSeconds, "user");
        yield return Metrics.ProcessorTime.Reads(used.PrivilegedTime.TotalSeconds, "system");
        yield return Metrics.Memory.Reads(Environment.WorkingSet);
        yield return Metrics.Uptime.Reads(time.GetElapsedTime(start).TotalSeconds);
    }
}
