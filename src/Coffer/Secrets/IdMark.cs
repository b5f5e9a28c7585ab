using System.Buffers.Binary;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// The highest time that ids of secrets were made of, kept in <c>meta</c>: a process that starts makes its ids above
/// all of them, whatever its clock says. Each node has a row of its own, written with the first id of a second and a
/// second ahead, so that it costs no write of its own and nodes do not wait for each other (decision 20).
/// </summary>
internal sealed class IdMark
{
    /// <summary>
    /// Before the node's name. The value is a time as <see cref="SecretId"/> counts it, 8 bytes, big-endian.
    /// </summary>
    public const string MetaPrefix = "highest id ";

    /// <summary>A second, as ids count: 65,536 to the millisecond.</summary>
    private const ulong Ahead = 1_000UL << 16;

    private const ulong Most = (ulong)UnixTime.Latest * 1_000 << 16;

    private readonly Engine engine;
    private ulong durable;

    private IdMark(Engine engine, ulong highest) => (this.engine, durable, Highest) = (engine, highest, highest);

    /// <summary>What all ids that were made until this start are at or below, on whichever node.</summary>
    public ulong Highest { get; }

    /// <exception cref="ApiError">A mark is no time.</exception>
    public static async Task<IdMark> OpenAsync(Engine engine, CancellationToken ct)
    {
        // Before there were marks, an id was at most as new as the audit entry about it.
        var highest = await LastCommitAsync(engine, ct) is { } last ? SecretId.TimeOf(last.AddMilliseconds(1)) - 1 : 0;
        foreach (var (_, value) in await engine.ListMetaAsync(MetaPrefix, ct))
            highest = Math.Max(highest, Read(value));
        return new IdMark(engine, highest);
    }

    /// <summary>When the store was last changed or read with an entry in its audit log; null if it never was.</summary>
    public static async Task<DateTimeOffset?> LastCommitAsync(Engine engine, CancellationToken ct) =>
        await engine.ListAuditAsync(long.MaxValue, newestFirst: true, size: 0, ct) is [var (_, row)]
            ? Verification.TimeOf(row)
            : null;

    /// <summary>The row that has to be committed with an id; null if what is stored covers it.</summary>
    public RowWrite.PutMeta? Cover(ulong id)
    {
        if (id <= Volatile.Read(ref durable))
            return null;
        var value = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(value, id + Ahead);
        return new RowWrite.PutMeta(MetaPrefix + engine.Node, value);
    }

    /// <summary>A row that <see cref="Cover"/> gave was committed.</summary>
    public void Keep(RowWrite.PutMeta row)
    {
        var kept = Read(row.Value);
        for (var old = Volatile.Read(ref durable); old < kept; old = Volatile.Read(ref durable))
            Interlocked.CompareExchange(ref durable, kept, old);
    }

    private static ulong Read(byte[] value)
    {
        var mark = value.Length == sizeof(ulong) ? BinaryPrimitives.ReadUInt64BigEndian(value) : ulong.MaxValue;
        return mark <= Most + Ahead ? mark : throw ApiError.RecordDamaged("mark of the highest id",
            new DamagedRow("meta", MetaPrefix.TrimEnd(), "its range"));
    }
}
