using System.Buffers.Binary;
using Coffer.Access;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// Tells of secrets that are about to expire, once each. Time moves over them: how far it has come is stored with each
/// event, so no node tells again what another has told. A secret that lives for less than the notice is told of at its
/// end only.
/// </summary>
internal sealed class ExpiryNotices(Engine engine, Committer committer, Tenants tenants)
{
    /// <summary>How long before its end a secret is told of.</summary>
    public static readonly TimeSpan Ahead = TimeSpan.FromDays(7);

    private const string MetaKey = "expiry notices";

    private const int Batch = 100;

    // Up to there all are told of, or their apps keep no events. Not stored: who begins again reads them again.
    private Place? seen;

    /// <summary>A secret in the order of expiry.</summary>
    private readonly record struct Place(long ExpiresAt, SecretKey Key)
    {
        private const int Size = 2 * sizeof(long);

        public byte[] ToBytes()
        {
            var bytes = new byte[Size + Key.Name.Length];
            BinaryPrimitives.WriteInt64BigEndian(bytes, ExpiresAt);
            BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(sizeof(long)), Key.Tenant);
            Key.Name.CopyTo(bytes, Size);
            return bytes;
        }

        public static Place? Read(byte[]? bytes) => bytes is null || bytes.Length < Size ? null : new(
            BinaryPrimitives.ReadInt64BigEndian(bytes),
            new SecretKey(BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(sizeof(long))), bytes[Size..]));

        public bool IsAfter(Place? other)
        {
            if (other is not { } place)
                return true;
            var order = ExpiresAt.CompareTo(place.ExpiresAt);
            if (order == 0)
                order = Key.Tenant.CompareTo(place.Key.Tenant);
            return (order == 0 ? Key.Name.AsSpan().SequenceCompareTo(place.Key.Name) : order) > 0;
        }
    }

    /// <summary>Tells of all that expire within <see cref="Ahead"/> and were not told of.</summary>
    /// <param name="now">Unix seconds.</param>
    /// <param name="ct">Ends reading.</param>
    public async Task SweepAsync(long now, CancellationToken ct)
    {
        if (tenants.Instance.Level < Control.Events || !await engine.LeadsAsync(ct))
            return;
        seen ??= Place.Read(await engine.FindMetaAsync(MetaKey, ct));
        var filter = new SecretFilter(null, null, null, now + (long)Ahead.TotalSeconds);
        var apps = new Dictionary<string, bool>(StringComparer.Ordinal);
        for (var isEnd = false; !isEnd;)
        {
            (long?, SecretKey)? after = seen is { } place ? (place.ExpiresAt, place.Key) : null;
            var found = await engine.SearchSecretsAsync(filter, after, now, Batch, ct);
            isEnd = found.Count < Batch;
            foreach (var row in found.Where(static row => row.Secret is { IsSound: true, ExpiresAt: not null }))
            {
                var at = new Place(row.Secret.ExpiresAt!.Value, row.Secret.Key);
                if (await KeepsAsync(row.Tenant.App, apps, ct)
                    && await tenants.RereadOrNullAsync(row.Tenant, ct) is { } tenant)
                {
                    var notice = new Notice(tenants.Instance, tenant, row.Secret, at, now);
                    await committer.CommitAsync(notice);
                    if (notice.HasMoved)
                        return; // its keys are others by now, and the next sweep opens them
                }

                seen = at;
            }

            isEnd |= found.Count == 0 || !found[^1].Secret.IsSound;
        }

        // What is set from here on to end before that lives for less than the notice.
        var end = new Place(filter.ExpiringBefore!.Value - 1, new SecretKey(long.MaxValue, []));
        seen = end.IsAfter(seen) ? end : seen;
    }

    private async ValueTask<bool> KeepsAsync(string app, Dictionary<string, bool> known, CancellationToken ct)
    {
        if (known.TryGetValue(app, out var keeps))
            return keeps;
        keeps = await App.HasEventsAsync(engine, tenants.Instance, app, ct);
        known.Add(app, keeps);
        return keeps;
    }

    private sealed class Notice(Instance instance, Tenant tenant, SecretRow secret, Place at, long now) : Change
    {
        public override Lane Lane => Lane.Background;

        public override SecretKey? SecretAt => secret.Key;

        public override ManagementKey ManagementAt { get; } = new() { Meta = MetaKey };

        public bool HasMoved { get; private set; }

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            HasMoved = found.Counter is not null && found.Counter != tenant.Counter;
            if (HasMoved || !at.IsAfter(Place.Read(found.Management!.Meta))
                || found.Secret is not { } row || row.Version != secret.Version || row.Id != secret.Id)
                return [];
            var told = Event.OfStored(instance, tenant, EventKinds.SecretExpiring, row, UnixTime.Date(now));
            return told is null ? [] : [told, new RowWrite.PutMeta(MetaKey, at.ToBytes())];
        }
    }
}
