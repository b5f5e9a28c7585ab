using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;

namespace Coffer.Tests.Crypto;

/// <summary>The vectors that C2SP publishes with XAES-256-GCM (c2sp.org/XAES-256-GCM).</summary>
public sealed class Xaes256GcmTests
{
    [Theory]
    [InlineData(0x01, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271")]
    [InlineData(0x03, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d")]
    public void Published_single_vectors_hold(byte keyByte, string associated, string expected)
    {
        var key = Enumerable.Repeat(keyByte, 32).ToArray();
        var (nonce, plaintext, aad) =
            ("ABCDEFGHIJKLMNOPQRSTUVWX"u8.ToArray(), "XAES-256-GCM"u8.ToArray(), Encoding.ASCII.GetBytes(associated));
        using var xaes = new Xaes256Gcm(key);

        var sealedBytes = new byte[plaintext.Length + Xaes256Gcm.TagSize];
        xaes.Encrypt(nonce, plaintext, sealedBytes, aad);
        Assert.Equal(expected, Convert.ToHexStringLower(sealedBytes));

        var opened = new byte[plaintext.Length];
        Assert.True(xaes.TryDecrypt(nonce, sealedBytes, opened, aad));
        Assert.Equal(plaintext, opened);
    }

    [Fact]
    public void Published_accumulated_vector_of_10000_iterations_holds()
    {
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable("CI")))
            Assert.SkipUnless(Shake128.IsSupported, "this platform's cryptography has no SHAKE128");

        // At the most 32 + 24 + 256 + 256 bytes an iteration.
        var stream = Shake128.HashData([], 10_000 * 568).AsSpan();
        var all = new MemoryStream();
        for (var i = 0; i < 10_000; i++)
        {
            var key = Take(ref stream, 32);
            var nonce = Take(ref stream, 24);
            var plaintext = Take(ref stream, Take(ref stream, 1)[0]);
            var aad = Take(ref stream, Take(ref stream, 1)[0]);
            using var xaes = new Xaes256Gcm(key);
            var sealedBytes = new byte[plaintext.Length + Xaes256Gcm.TagSize];
            xaes.Encrypt(nonce, plaintext, sealedBytes, aad);
            all.Write(sealedBytes);
        }

        Assert.Equal("e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939",
            Convert.ToHexStringLower(Shake128.HashData(all.ToArray(), 32)));

        static ReadOnlySpan<byte> Take(ref Span<byte> from, int length)
        {
            var taken = from[..length];
            from = from[length..];
            return taken;
        }
    }
}
