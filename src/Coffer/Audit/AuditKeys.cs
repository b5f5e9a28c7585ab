using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>What the log of a store is made with.</summary>
/// <param name="Log">K_audit, as of now: chains entries, and proves what <c>meta</c> says about the log.</param>
/// <param name="Signers">The keys that sign checkpoints, and what is to be proven without a key, as of now.</param>
/// <param name="Store">The store's id.</param>
internal sealed record AuditKeys(Func<LogKeys> Log, Func<SigningKeys> Signers, byte[] Store)
{
    /// <summary>The generation of the store that this node knows; null of a store of level 1.</summary>
    public Func<StoreGeneration?> Generation { get; init; } = static () => null;

    /// <summary>The keys that sign now.</summary>
    public SigningKeys Signing => Signers();

    /// <summary>What it is proven with.</summary>
    public LogProof Proof => new(Log(), Signing.Public, Store);

    public static AuditKeys Of(Instance instance) =>
        new(() => instance.Peppers.Log, () => instance.Signing, instance.Id)
        {
            Generation = () => instance.Facts?.Generation,
        };

    public override string ToString() => "[redacted]";
}

/// <summary>What a log is proven with.</summary>
/// <param name="Keys">K_audit; null where nobody has the root key: then the public chain is all that is proven.</param>
/// <param name="Signers">The keys whose signatures are believed.</param>
/// <param name="Store">The store's id.</param>
internal sealed record LogProof(LogKeys? Keys, PublicKeys Signers, byte[] Store)
{
    public override string ToString() => "[redacted]";
}

/// <summary>How far a node's chain has come: the last entry's number, and the MAC over it and all before it.</summary>
internal sealed record ChainPosition(long Sequence, byte[] Mac)
{
    /// <summary>The same without a key; null where the log has none yet.</summary>
    public PublicPlace? Public { get; init; }

    public static ChainPosition Of(AuditRow row) =>
        new(row.Last, row.Mac) { Public = PublicPlace.Read(row.Public)?.Place };
}

/// <summary>A position in the chain of a node.</summary>
/// <param name="Node">Whose chain.</param>
/// <param name="Position">How far.</param>
/// <param name="Rollback">The number of the last roll-back of the node that was accepted before; 0 is none.</param>
internal sealed record ChainPlace(string Node, ChainPosition Position, long Rollback);
