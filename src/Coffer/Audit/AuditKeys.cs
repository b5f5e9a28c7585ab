using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Audit;

/// <summary>What the log of a store is made and proven with.</summary>
/// <param name="Key">K_audit: chains entries, and proves what <c>meta</c> says about the log.</param>
/// <param name="SigningKey">ECDSA P-256: signs checkpoints.</param>
/// <param name="Instance">The store's id.</param>
internal sealed record AuditKeys(MacKey Key, ECDsa SigningKey, byte[] Instance)
{
    public override string ToString() => "[redacted]";
}

/// <summary>How far a node's chain has come: the last entry's number, and the MAC over it and all before it.</summary>
internal sealed record ChainPosition(long Sequence, byte[] Mac);

/// <summary>A position in the chain of a node.</summary>
/// <param name="Node">Whose chain.</param>
/// <param name="Position">How far.</param>
/// <param name="Rollback">The number of the last roll-back of the node that was accepted before; 0 is none.</param>
internal sealed record ChainPlace(string Node, ChainPosition Position, long Rollback);
