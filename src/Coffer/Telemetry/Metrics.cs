namespace Coffer.Telemetry;

/// <summary>
/// The one table of metrics: docs/observe.md lists it, and a test compares the two. Those of HTTP and of the process
/// are named by OpenTelemetry's semantic conventions, our own under <c>coffer.</c>.
/// </summary>
internal static class Metrics
{
    private const string Lane = "coffer.lane", Outcome = "coffer.outcome", Mode = "coffer.mode", Part = "coffer.part";

    // Those of the semantic conventions for HTTP; for what is faster, from half a millisecond on; and powers of two.
    private static readonly double[] Durations =
        [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
    private static readonly double[] Short =
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
    private static readonly double[] Sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256];

    /// <summary>Whether anybody can ask for them: without, nothing is counted.</summary>
    public static bool AreOn { get; private set; }

    public static readonly Distribution Requests = new("http.server.request.duration", "s", Durations,
        "How long requests took, from their head to the end of their answer",
        "http.request.method", "http.response.status_code", "http.route", "url.scheme");

    public static readonly Counter Operations = new("coffer.secrets.operations", "{operation}",
        "What became of sets, finds, lists and deletes", "coffer.verb", Outcome);

    public static readonly Counter Refusals = new("coffer.requests.refused", "{request}",
        "Requests that were refused or failed, by why", "coffer.reason", "http.response.status_code");

    public static readonly ReadCounter RefusedConnections = new("coffer.connections.refused", "{connection}",
        "What was refused before it was a request, by why", "coffer.reason");

    public static readonly Counter OfApps = new("coffer.app.requests", "{request}",
        "Requests of apps, of as many as metrics-apps says by their ids and of the others together", "coffer.app");

    public static readonly Distribution CommitTime = new("coffer.commit.duration", "s", Short,
        "How long batches took to be decided, written and committed", Lane, Outcome);

    public static readonly Distribution SyncTime = new("coffer.commit.sync.duration", "s", Short,
        "How long the commit alone took: on SQLite the sync to the disk, on PostgreSQL the last round trip");

    public static readonly Distribution CommitWait = new("coffer.commit.wait", "s", Short,
        "How long changes waited until their batch began", Lane);

    public static readonly Distribution BatchSize = new("coffer.commit.batch.size", "{change}", Sizes,
        "How many changes a batch had", Lane);

    public static readonly Gauge Waiting = new("coffer.commit.queue.depth", "{change}",
        "Changes that wait to be committed", Lane);

    public static readonly Counter TenantLookups = new("coffer.tenants.lookups", "{lookup}",
        "How often the opened keys of a tenant were kept, or had to be opened", "coffer.cache");

    public static readonly Gauge OpenTenants = new("coffer.tenants.open", "{tenant}",
        "Tenants whose opened keys are kept");

    public static readonly Gauge MostOpenTenants = new("coffer.tenants.open.limit", "{tenant}",
        "How many tenants' keys may be kept open");

    public static readonly Gauge Tenants = new("coffer.tenants", "{tenant}", "Tenants in the store", Mode);

    public static readonly Gauge Secrets = new("coffer.secrets", "{secret}",
        "Unexpired secrets in the store", Mode, "db.system.name");

    public static readonly Gauge Expiring = new("coffer.secrets.expiring", "{secret}",
        "Those of them that expire within 1, 7 and 30 days", Mode, "coffer.within");

    public static readonly Counter AuditEntries = new("coffer.audit.entries", "{entry}",
        "Entries of the audit log that became durable");

    public static readonly Counter AuditBytes = new("coffer.audit.written", "By",
        "Bytes of entries of the audit log that became durable");

    public static readonly Gauge CheckpointAge = new("coffer.audit.checkpoint.age", "s",
        "For how long the log has been longer than its last durable checkpoint, or 0");

    public static readonly Gauge Revocations = new("coffer.revocations", "{revocation}",
        "Revocations of ephemeral keys that are in force");

    public static readonly Gauge StoreSize = new("coffer.store.size", "By",
        "Bytes of the database, and of its write-ahead log where that is seen", "coffer.file");

    public static readonly Gauge DiskFree = new("coffer.disk.free", "By",
        "Bytes that this process may still use of the disk of a directory", "coffer.directory");

    public static readonly Gauge DiskSize = new("coffer.disk.size", "By",
        "Bytes of that disk", "coffer.directory");

    public static readonly Distribution WrapperTime = new("coffer.root_key.wrapper.duration", "s", Durations,
        "How long what wraps root keys took to answer", "coffer.wrapper", "coffer.operation", Outcome);

    public static readonly Gauge RootKey = new("coffer.root_key.version", "{version}",
        "The version of the root key that seals");

    public static readonly Gauge RotationAge = new("coffer.root_key.rotation.age", "s",
        "For how long a rotation of the root key has been under way, or 0");

    public static readonly Gauge Nodes = new("coffer.nodes", "{node}", "Nodes that run on the store");

    public static readonly Gauge NodeLag = new("coffer.node.lag", "s",
        "How long ago this node last read what others changed; 0 where no other may write");

    public static readonly Gauge ClockOffset = new("coffer.clock.offset", "s",
        "By how much the clock of this machine is ahead of the database's; of PostgreSQL only");

    public static readonly Gauge CertificateLeft = new("coffer.tls.certificate.remaining", "s",
        "How long the TLS certificate is still good, less than 0 once it has expired");

    public static readonly Gauge BackupAge = new("coffer.backup.age", "s",
        "How old the newest back-up of the schedule is, or if there is none how long this server has run");

    public static readonly Gauge BackupPeriod = new("coffer.backup.period", "s",
        "How old the newest back-up of the schedule is to become, at most");

    public static readonly Counter WebhookAttempts = new("coffer.webhooks.attempts", "{attempt}",
        "What became of attempts to send an event: accepted, not_accepted by its answer, or unanswered", Outcome);

    public static readonly Counter WebhooksGivenUp = new("coffer.webhooks.given_up", "{event}",
        "Events that an endpoint did not accept in three days, and is not sent any more");

    public static readonly Gauge Ready = new("coffer.ready", "{part}",
        "1 for each part that is proven to work, 0 for one that is not, as /readyz says", Part);

    public static readonly Gauge Warning = new("coffer.warning", "{part}",
        "1 for each part that is to be looked at although the node works, as /readyz says", Part);

    public static readonly ReadCounter ProcessorTime = new("process.cpu.time", "s",
        "Processor time of this process", "cpu.mode");

    public static readonly Gauge Memory = new("process.memory.usage", "By", "Memory of this process that is resident");

    public static readonly Gauge Uptime = new("process.uptime", "s", "How long this process has run");

    /// <summary>All of them, in the order of the table.</summary>
    public static IReadOnlyList<Metric> All { get; } =
    [
        Requests, Operations, Refusals, RefusedConnections, OfApps,
        CommitTime, SyncTime, CommitWait, BatchSize, Waiting,
        TenantLookups, OpenTenants, MostOpenTenants, Tenants, Secrets, Expiring,
        AuditEntries, AuditBytes, CheckpointAge, Revocations,
        StoreSize, DiskFree, DiskSize,
        WrapperTime, RootKey, RotationAge,
        Nodes, NodeLag, ClockOffset,
        CertificateLeft, BackupAge, BackupPeriod,
        WebhookAttempts, WebhooksGivenUp,
        Ready, Warning,
        ProcessorTime, Memory, Uptime,
    ];

    /// <summary>From now on they count: somebody can ask for them.</summary>
    public static void TurnOn() => AreOn = true;
}
