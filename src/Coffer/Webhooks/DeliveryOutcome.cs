using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Webhooks;

/// <summary>
/// What came of a turn of sending to an endpoint: nothing of it is stored if the endpoint is not where it was when the
/// turn began, for then another node sends too.
/// </summary>
internal sealed class DeliveryOutcome(Instance instance, WebhookEndpoint endpoint) : Change
{
    private readonly Lock adding = new();
    private readonly List<RowWrite> rows = [];
    private readonly List<AuditEntry> entries = [];
    private long? nothingSince;

    public override Lane Lane => Lane.Background;

    public override ManagementKey ManagementAt { get; } = new() { Endpoint = endpoint.Id };

    public override int Size => UsualSize * Math.Max(rows.Count, 1);

    /// <summary>The last event that was sent, or is to be tried again.</summary>
    public long Position { get; set; } = endpoint.Position;

    /// <summary>When something was accepted last.</summary>
    public long Delivered { get; private set; } = endpoint.Delivered;

    /// <summary>
    /// Whether the endpoint is not to be sent anything any more: where others were accepted meanwhile it is one event
    /// that is refused, and not every one.
    /// </summary>
    public bool Disables => nothingSince is { } since && Delivered < since;

    /// <summary>How many deliveries were given up.</summary>
    public int GivenUp => entries.Count;

    /// <summary>Whether an attempt failed.</summary>
    public bool HasFailed { get; private set; }

    /// <summary>Whether there is anything to store.</summary>
    public bool IsEmpty => rows.Count == 0 && Position == endpoint.Position && Delivered == endpoint.Delivered;

    /// <summary>Whether it was stored.</summary>
    public bool IsStored { get; private set; }

    public void Add(RowWrite row)
    {
        lock (adding)
            rows.Add(row);
    }

    /// <summary>That something was accepted at a Unix second.</summary>
    public void Accept(long now)
    {
        lock (adding)
            Delivered = Math.Max(Delivered, now);
    }

    /// <summary>That an attempt failed, and when the delivery was given up for that.</summary>
    public void Fail(DeliveryRow row)
    {
        lock (adding)
        {
            HasFailed = true;
            rows.Add(new RowWrite.PutDelivery(row));
            if (row.Failed is null)
                return;
            entries.Add(Entry("give_up_delivery", "ok") with { Version = row.Event, Count = row.Attempts });
            nothingSince = Math.Max(nothingSince ?? 0, Math.Max(row.Created, endpoint.EnabledAt));
        }
    }

    public override IReadOnlyList<RowWrite> Decide(Found found)
    {
        IsStored = found.Management!.Endpoint is { } row && row.Position == endpoint.Position;
        if (!IsStored)
            return [];
        var written = new List<RowWrite>(rows);
        if (Position != endpoint.Position || Delivered != endpoint.Delivered)
            written.Add(new RowWrite.MoveEndpoint(endpoint.Id, Position, Delivered));
        if (Disables && WebhookEndpoint.Inspect(instance, found.Management.Endpoint!) is { IsDamaged: false } stored)
            written.Add(new RowWrite.PutEndpoint(
                (stored with { IsDisabled = true, HasFailed = true }).ToRow(instance)));
        return written;
    }

    public override IReadOnlyList<Note> NotesOn(Exception? refusal)
    {
        if (!IsStored || refusal is not null)
            return [];
        return Disables ? [.. entries, Entry("disable_webhook_endpoint", "failed")] : [.. entries];
    }

    private AuditEntry Entry(string verb, string outcome) => new(verb, outcome)
    {
        App = endpoint.App,
        Target = endpoint.Id,
    };
}
