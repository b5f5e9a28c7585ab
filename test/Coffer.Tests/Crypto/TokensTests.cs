using System.IO.Hashing;
using System.Text;
using Coffer.Crypto;

namespace Coffer.Tests.Crypto;

public sealed class TokensTests
{
    [Fact]
    public void Crc32_of_the_standard_check_string_is_the_standard_answer() =>
        Assert.Equal(0xCBF43926u, Crc32.HashToUInt32("123456789"u8));

    /// <summary>The checksums were computed with zlib. Keys that were made before must stay well-formed.</summary>
    [Theory]
    [Trait("Firm ground", "2")]
    [InlineData("sk_test_cfr0123456789ABCDEFGHIJKLMNOPQRSTUVW1DKZTA")]
    [InlineData("ak_cfrTUVWXYZabcdefghijklmnopqrstuvwxyz03Jd8v")]
    [InlineData("rk_live_cfrZz9Zz9Zz9Zz9Zz9Zz9Zz9Zz9Zz9Zz9Zz93IMEg4")]
    public void A_token_with_a_checksum_that_another_program_computed_is_well_formed(string token) =>
        Assert.True(Tokens.IsWellFormed(token));

    [Fact]
    [Trait("Firm ground", "2")]
    public void A_sealed_token_with_a_checksum_that_another_program_computed_is_opened()
    {
        const string Token = "ek_test_cfrAAECAwQFBgcICQ1MYEKR";
        byte[] content = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        Assert.Equal(content, Tokens.Unseal("ek_test_", Token));
        Assert.Equal(Token, Tokens.Seal("ek_test_", content));
    }

    [Theory]
    [InlineData("sk_test_")]
    [InlineData("sk_live_")]
    [InlineData("ak_")]
    public void A_token_has_its_prefix_the_marker_and_196_bits_of_randomness(string prefix)
    {
        var token = Tokens.Generate(prefix);
        Assert.Matches($"^{prefix}cfr[0-9A-Za-z]{{39}}$", token);
        Assert.True(Tokens.IsWellFormed(token));
        Assert.NotEqual(token, Tokens.Generate(prefix));
    }

    [Fact]
    public void Every_single_typo_is_found_by_the_checksum()
    {
        var token = Tokens.Generate("sk_test_");
        for (var i = 0; i < token.Length; i++)
        {
            foreach (var other in "aZ0_ é")
            {
                if (token[i] != other)
                    Assert.False(Tokens.IsWellFormed(token[..i] + other + token[(i + 1)..]));
            }

            Assert.False(Tokens.IsWellFormed(token.AsSpan(0, i)));
        }
    }

    [Fact]
    public void Swapped_neighbours_are_found_by_the_checksum()
    {
        var token = Tokens.Generate("sk_live_").ToCharArray();
        for (var i = 8; i + 1 < token.Length; i++)
        {
            if (token[i] == token[i + 1])
                continue;
            (token[i], token[i + 1]) = (token[i + 1], token[i]);
            Assert.False(Tokens.IsWellFormed(token));
            (token[i], token[i + 1]) = (token[i + 1], token[i]);
        }
    }

    [Fact]
    public void Base62_sorts_as_its_numbers_do()
    {
        ulong[] numbers = [0, 1, 61, 62, 3_843, 3_844, 1UL << 32, ulong.MaxValue - 1, ulong.MaxValue];
        var texts = numbers.Select(number =>
        {
            Span<char> text = stackalloc char[11];
            Base62.Write(number, text);
            return new string(text);
        }).ToArray();
        Assert.Equal(texts.Order(StringComparer.Ordinal), texts);
        Assert.Equal(numbers.Length, texts.Distinct().Count());
    }

    [Fact]
    public void Secret_memory_is_cleared_when_given_back_and_prints_nothing()
    {
        var bytes = SecretBytes.Copy("very secret"u8);
        Assert.Equal("[redacted]", bytes.ToString());
        var memory = bytes.Memory;
        bytes.Dispose();
        bytes.Dispose(); // twice does no harm: it is not handed out twice
        Assert.All(memory.ToArray(), b => Assert.Equal(0, b));
        using var first = SecretBytes.Rent(16);
        using var second = SecretBytes.Rent(16);
        Encoding.ASCII.GetBytes("first").CopyTo(first.Span);
        Assert.All(second.Span.ToArray(), b => Assert.Equal(0, b));
    }
}
