using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Tests.Crypto;

public sealed class MacKeyTests
{
    private static readonly byte[] Root = RandomNumberGenerator.GetBytes(32);

    private readonly byte[] plain = HKDF.Expand(HashAlgorithmName.SHA256, Root, MacKey.Size, "test"u8.ToArray());

    // Each length is asked for while the key is cold and, beyond the first few, while it is hot.
    [Fact]
    public void A_head_and_a_tail_have_the_MAC_of_both_in_one_piece_however_long_they_are()
    {
        using var key = MacKey.Derived(Root, "test"u8);
        var (message, mac) = (RandomNumberGenerator.GetBytes(1200), new byte[MacKey.Size]);
        foreach (var length in (int[])[0, 1, 28, 300, 511, 512, 513, 600, 1200])
        {
            foreach (var head in (int[])[0, 1, 28, 300, 512, 1200])
            {
                var (at, expected) = (Math.Min(head, length), HMACSHA256.HashData(plain, message.AsSpan(0, length)));
                key.Compute(mac, message.AsSpan(0, at), message.AsSpan(at..length));
                Assert.Equal(expected, mac);
                key.Compute(mac, message.AsSpan(0, length));
                Assert.Equal(expected, mac);
                using var cold = MacKey.Derived(Root, "test"u8);
                cold.Compute(mac, message.AsSpan(0, length));
                Assert.Equal(expected, mac);
            }
        }
    }
}
