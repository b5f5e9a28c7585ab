using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Keys;

/// <summary>A pepper, as the keys that come from it.</summary>
internal sealed class Pepper
{
    /// <param name="number">From 1.</param>
    /// <param name="since">The generation of the store that began with it; null of the first.</param>
    /// <param name="secret">The pepper.</param>
    public Pepper(uint number, StoreGeneration? since, ReadOnlySpan<byte> secret)
    {
        (Number, Since, Mark) = (number, since, Anchor.MarkOf(secret));
        Token = MacKey.Derived(secret, "coffer v1 token"u8);
        Proof = MacKey.Derived(secret, "coffer v1 key row"u8);
        Audit = MacKey.Derived(secret, "coffer v1 audit"u8);
        ManagedId = MacKey.Derived(secret, "coffer v1 managed id"u8);
        EphemeralId = MacKey.Derived(secret, "coffer v1 ephemeral key id"u8);
        Ephemeral = SealingKey.Derived(secret, "coffer v1 ephemeral key"u8);
        Ephemeral2 = SealingKey.Derived(secret, "coffer v2 ephemeral key"u8, version: 2);
        Reply = SealingKey.Derived(secret, "coffer v1 reply"u8);
        Backup = MacKey.Derived(secret, "coffer v1 backup"u8);
    }

    public uint Number { get; }

    public StoreGeneration? Since { get; }

    /// <summary>What shows that a store has it (<see cref="Anchor.MarkOf"/>).</summary>
    public byte[] Mark { get; }

    public MacKey Token { get; }

    public MacKey Proof { get; }

    public MacKey Audit { get; }

    public MacKey ManagedId { get; }

    public MacKey EphemeralId { get; }

    public SealingKey Ephemeral { get; }

    public SealingKey Ephemeral2 { get; }

    public SealingKey Reply { get; }

    public MacKey Backup { get; }

    public override string ToString() => $"pepper {Number} [redacted]";
}

/// <summary>
/// The peppers of a store. The newest proves and seals. The first one's keys find, for as long as the store lives: that
/// a token or an id leads to a row gives nobody anything, since the row has to be proven by a pepper that is believed.
/// </summary>
internal sealed class Peppers
{
    private Peppers(IReadOnlyList<Pepper> all, bool areBothBelieved, byte[]? heads)
    {
        All = all;
        Believed = areBothBelieved && all.Count > 1 ? [all[^1], all[^2]] : [all[^1]];
        Log = new LogKeys([.. all.Select(pepper => (pepper.Since, pepper.Audit))])
        {
            Believed = [.. Believed.Select(pepper => pepper.Audit)],
            Heads = heads,
        };
    }

    /// <summary>Oldest first.</summary>
    public IReadOnlyList<Pepper> All { get; }

    public Pepper First => All[0];

    public Pepper Newest => All[^1];

    /// <summary>Whose proofs are believed, newest first: while a renewal proves rows again, two.</summary>
    public IReadOnlyList<Pepper> Believed { get; }

    /// <summary>What proves the audit log.</summary>
    public LogKeys Log { get; }

    /// <summary>That of a store which has no control row yet.</summary>
    public static Peppers Of(ReadOnlySpan<byte> pepper) => new([new Pepper(1, null, pepper)], false, null);

    /// <param name="control">What the control row says.</param>
    /// <param name="known">Those that this node has opened, or null.</param>
    public static Peppers Of(Control control, Peppers? known = null) => new(
        [
            .. control.Peppers.Select((each, i) => known?.All.Count > i && known.All[i].Number == each.Number
                ? known.All[i]
                : new Pepper(each.Number, control.EraOf(each.Number)?.Generation, each.Secret.Span)),
        ],
        control.Renewal?.State == RenewalState.Proving, control.Heads);

    /// <summary>Whether a MAC is that of a pepper that is believed.</summary>
    /// <param name="mac">As it is stored.</param>
    /// <param name="compute">The right one under a key.</param>
    public bool Prove(ReadOnlySpan<byte> mac, Func<MacKey, byte[]> compute)
    {
        foreach (var pepper in Believed)
        {
            if (CryptographicOperations.FixedTimeEquals(mac, compute(pepper.Proof)))
                return true;
        }

        return false;
    }

    /// <summary>
    /// The MAC by the newest pepper of what another that is believed has proven; null if there is nothing to prove
    /// again.
    /// </summary>
    /// <inheritdoc cref="Prove" path="/param"/>
    public byte[]? ProveAnew(ReadOnlySpan<byte> mac, Func<MacKey, byte[]> compute)
    {
        var newest = compute(Newest.Proof);
        return !CryptographicOperations.FixedTimeEquals(mac, newest) && Prove(mac, compute) ? newest : null;
    }

    /// <summary>
    /// Seals under the newest reply key what is sealed under another that is believed; null if there is nothing to seal
    /// again.
    /// </summary>
    public byte[]? Reseal(SealedKind kind, ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData)
    {
        using var current = Envelope.Open(Newest.Reply, envelope, associatedData);
        using var opened = current is null ? Open(envelope, associatedData) : null;
        return opened is null ? null : Envelope.Seal(kind, Newest.Reply, opened.Span, associatedData);
    }

    /// <summary>Opens what is sealed under the reply key of a pepper that is believed.</summary>
    /// <returns>The plaintext, for the caller to dispose of, or null.</returns>
    public SecretBytes? Open(ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData)
    {
        foreach (var pepper in Believed)
        {
            if (Envelope.Open(pepper.Reply, envelope, associatedData) is { } opened)
                return opened;
        }

        return null;
    }
}

/// <summary>
/// What chains and proves the audit log: of a row the key of the newest pepper that began not later than the row's
/// generation.
/// </summary>
/// <param name="all">Oldest first, each with the generation that began with it; null of the first.</param>
internal sealed class LogKeys(IReadOnlyList<(StoreGeneration? Since, MacKey Key)> all)
{
    /// <param name="key">The only one.</param>
    public LogKeys(MacKey key) : this([(null, key)])
    {
    }

    /// <summary>By which a log begins that has no entry yet.</summary>
    public MacKey First => all[0].Key;

    /// <summary>The number of the newest, from 0.</summary>
    public int Newest => all.Count - 1;

    /// <summary>Which prove statements about the log, newest first.</summary>
    public IReadOnlyList<MacKey> Believed { get; init; } = [all[^1].Key];

    /// <summary>The number of the oldest that is believed, from 0: there may be others behind it.</summary>
    public int OldestBelieved => all.Count - Believed.Count;

    /// <summary>
    /// SHA-256 of how far each node's log had come before <see cref="OldestBelieved"/>; null as long as that is the
    /// first.
    /// </summary>
    public byte[]? Heads { get; init; }

    /// <summary>Which key is of a generation of the store, from 0; null is of before there were any.</summary>
    public int IndexOf(StoreGeneration? generation)
    {
        for (var i = Newest; i > 0; i--)
        {
            if (generation is not null && generation.Number >= all[i].Since!.Number)
                return i;
        }

        return 0;
    }

    /// <summary>The key of a generation.</summary>
    public MacKey Of(StoreGeneration? generation) => all[IndexOf(generation)].Key;

    public override string ToString() => "[redacted]";
}
