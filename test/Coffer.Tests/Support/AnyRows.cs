using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Tests.Support;

/// <summary>What the program itself has no use for: sealing what is no kind of its own, reading a row alone.</summary>
internal static class AnyRows
{
    /// <summary>Seals anything, bound to anything.</summary>
    public static byte[] Seal(SealingKey key, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> associatedData) =>
        Envelope.Seal(key, plaintext, associatedData, RandomNumberGenerator.GetBytes(24));

    /// <summary>A secret's row, expired or not, or null.</summary>
    public static async ValueTask<SecretRow?> FindSecretAsync(
        this Engine engine, SecretKey key, CancellationToken ct) => (await engine.LookUpSecretAsync(key, ct))?.Row;
}
