using System.Security.Cryptography;
using System.Text.Json;
using Coffer.Crypto;

namespace Coffer.Tests.Crypto;

public sealed class EnvelopeTests : IDisposable
{
    private static readonly byte[] Aad = "what it is bound to"u8.ToArray();

    private readonly SealingKey key = new(7, RandomNumberGenerator.GetBytes(32));

    /// <summary>
    /// The cases of vectors/envelope-v1.json, which were made by another implementation (vectors/envelope.mjs).
    /// </summary>
    public static TheoryData<string> Cases() =>
        [.. Vectors().EnumerateArray().Select(c => c.GetProperty("comment").GetString()!)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Known_answers_hold(string comment)
    {
        var c = Vectors().EnumerateArray().Single(c => c.GetProperty("comment").GetString() == comment);
        using var vectorKey = new SealingKey(c.GetProperty("key_version").GetUInt32(), Hex("key"));
        using var opened = Envelope.Open(vectorKey, Hex("envelope"), Hex("associated_data"));

        if (c.GetProperty("plaintext").ValueKind == JsonValueKind.Null)
        {
            Assert.Null(opened);
            return;
        }

        Assert.Equal(Hex("plaintext"), opened!.Span.ToArray());
        Assert.Equal(Hex("envelope"), Envelope.Seal(vectorKey, Hex("plaintext"), Hex("associated_data"), Hex("nonce")));

        byte[] Hex(string name) => Convert.FromHexString(c.GetProperty(name).GetString()!);
    }

    [Theory]
    [InlineData(0, 64)]
    [InlineData(63, 64)]
    [InlineData(64, 128)]
    [InlineData(5_000, 5_056)]
    public void What_is_sealed_opens_and_its_size_tells_only_steps_of_64_bytes(int length, int padded)
    {
        var plaintext = RandomNumberGenerator.GetBytes(length);
        var envelope = AnyRows.Seal(key, plaintext, Aad);
        Assert.Equal(Envelope.Overhead + padded, envelope.Length);
        using var opened = Envelope.Open(key, envelope, Aad);
        Assert.Equal(plaintext, opened!.Span.ToArray());
    }

    [Fact]
    public void Every_flipped_bit_is_refused()
    {
        var envelope = AnyRows.Seal(key, "payload"u8, Aad);
        for (var bit = 0; bit < envelope.Length * 8; bit++)
        {
            envelope[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Null(Envelope.Open(key, envelope, Aad));
            envelope[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        using var untouched = Envelope.Open(key, envelope, Aad);
        Assert.NotNull(untouched);
    }

    [Fact]
    public void Every_length_but_its_own_is_refused()
    {
        var envelope = AnyRows.Seal(key, new byte[100], Aad);
        for (var length = 0; length < envelope.Length; length++)
            Assert.Null(Envelope.Open(key, envelope.AsSpan(0, length), Aad));
        Assert.Null(Envelope.Open(key, [.. envelope, 0], Aad));
        Assert.Null(Envelope.Open(key, [.. envelope, .. new byte[64]], Aad));
    }

    [Fact]
    public void Other_associated_data_is_refused_without_opening()
    {
        var envelope = AnyRows.Seal(key, "payload"u8, Aad);
        Assert.True(Envelope.Proves(key, envelope, Aad));
        Assert.False(Envelope.Proves(key, envelope, "what it is not bound to"u8));
        Assert.Null(Envelope.Open(key, envelope, "what it is not bound to"u8));
    }

    [Fact]
    public void Another_key_is_refused_whether_or_not_it_has_the_same_version()
    {
        var envelope = AnyRows.Seal(key, "payload"u8, Aad);
        using var sameVersion = new SealingKey(7, RandomNumberGenerator.GetBytes(32));
        using var otherVersion = new SealingKey(8, RandomNumberGenerator.GetBytes(32));
        Assert.Null(Envelope.Open(sameVersion, envelope, Aad));
        Assert.Null(Envelope.Open(otherVersion, envelope, Aad));
    }

    [Fact]
    public void Sealing_the_same_twice_gives_nothing_in_common()
    {
        var first = AnyRows.Seal(key, "payload"u8, Aad);
        var second = AnyRows.Seal(key, "payload"u8, Aad);
        Assert.NotEqual(first[6..30], second[6..30]);
        Assert.NotEqual(first[30..62], second[30..62]);
        Assert.NotEqual(first[62..126], second[62..126]);
    }

    [Fact]
    public void Lists_of_different_fields_never_encode_the_same()
    {
        Assert.Equal(6,
            new[] { Encode("ab", "c"), Encode("a", "bc"), Encode("abc"), Encode("abc", ""), Encode("", "abc"),
                Encode() }
            .Select(Convert.ToHexString).Distinct().Count());

        static byte[] Encode(params string[] fields)
        {
            using var list = new AssociatedData("purpose"u8);
            var all = list;
            foreach (var field in fields)
                all.Add(field);
            return all.Span.ToArray();
        }
    }

    public void Dispose() => key.Dispose();

    private static JsonElement Vectors() =>
        JsonDocument.Parse(
            File.ReadAllText(Repository.File("vectors/envelope-v1.json"))).RootElement.GetProperty("cases");
}
