using System.Buffers.Binary;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Audit;

/// <summary>
/// What proves a statement about a node's log that is stored in <c>meta</c>: after what it states a signature (the
/// number of the key, then r and s), and a MAC over both. Who has the audit key goes by the MAC, others by the
/// signature. One of before is not signed.
/// </summary>
/// <param name="purpose">What the statement is for.</param>
/// <param name="purposeBefore">The same of one that is not signed.</param>
internal sealed class SignedStatement(byte[] purpose, byte[] purposeBefore)
{
    /// <summary>Bytes of what proves one, and one of before.</summary>
    public const int Proof = SignatureSize + MacKey.Size, ProofBefore = MacKey.Size;

    private const int SignatureSize = sizeof(uint) + 64;

    /// <summary>Writes what proves it into the last <see cref="Proof"/> bytes.</summary>
    public void Prove(AuditKeys keys, string node, byte[] value)
    {
        var signature = SignatureOf(value);
        var signing = keys.Signing;
        BinaryPrimitives.WriteUInt32BigEndian(signature, signing.Number);
        using (var signed = Bound(keys.Store, node, value.AsSpan(..^Proof), isSigned: true))
            signing.Sign(signed.Span).CopyTo(signature[sizeof(uint)..]);
        Tag(keys.Log().Believed[0], keys.Store, node, value, isSigned: true)
            .CopyTo(value, value.Length - MacKey.Size);
    }

    public bool IsProven(LogProof proof, string node, byte[] value, bool isSigned)
    {
        if (proof.Keys is not null)
            return proof.Keys.Believed.Any(key => IsTagged(key, proof.Store, node, value, isSigned));
        if (!isSigned)
            return false;
        var signature = SignatureOf(value);
        using var signed = Bound(proof.Store, node, value.AsSpan(..^Proof), isSigned: true);
        return proof.Signers.Verify(
            BinaryPrimitives.ReadUInt32BigEndian(signature), signed.Span, signature[sizeof(uint)..]);
    }

    private static Span<byte> SignatureOf(byte[] value) => value.AsSpan(value.Length - Proof, SignatureSize);

    /// <summary>
    /// Whether it is proven by the newest key already, and not only by one that is believed beside it.
    /// </summary>
    public bool IsProvenAnew(LogProof proof, string node, byte[] value) =>
        IsTagged(proof.Keys!.Believed[0], proof.Store, node, value, isSigned: true);

    private bool IsTagged(MacKey key, byte[] store, string node, byte[] value, bool isSigned) =>
        CryptographicOperations.FixedTimeEquals(
            value.AsSpan(^MacKey.Size..), Tag(key, store, node, value, isSigned));

    private byte[] Tag(MacKey key, byte[] store, string node, byte[] value, bool isSigned)
    {
        using var bound = Bound(store, node, value.AsSpan(..^MacKey.Size), isSigned);
        return key.Compute(bound.Span);
    }

    private AssociatedData Bound(byte[] store, string node, ReadOnlySpan<byte> value, bool isSigned)
    {
        var bound = new AssociatedData(isSigned ? purpose : purposeBefore);
        bound.Add(store);
        bound.Add(node);
        bound.Add(value);
        return bound;
    }
}
