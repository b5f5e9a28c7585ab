using System.Text;
using System.Text.Json;
using Coffer.Crypto;

namespace Coffer.Tests.Crypto;

/// <summary>
/// Shares as SLIP-39 has them. vectors/slip39.json is vectors.json of github.com/trezor/python-shamir-mnemonic, which
/// the standard names: all of it holds.
/// </summary>
[Trait("Keys", "S12")]
public sealed class Slip39Tests
{
    private static readonly JsonElement Vectors = JsonDocument.Parse(
        File.ReadAllText(Repository.File("vectors/slip39.json"))).RootElement;

    public static TheoryData<string> Published() => [.. Vectors.EnumerateArray().Select(each => each[0].GetString()!)];

    [Fact]
    public void The_published_vectors_are_all_there() =>
        Assert.Equal((45, 15), (Vectors.GetArrayLength(),
            Vectors.EnumerateArray().Count(each => each[2].GetString()!.Length > 0)));

    [Theory]
    [MemberData(nameof(Published))]
    public void Each_published_vector_holds(string name)
    {
        var vector = Vectors.EnumerateArray().Single(each => each[0].GetString() == name);
        var words = vector[1].EnumerateArray().Select(each => each.GetString()!).ToList();
        Assert.Equal(vector[2].GetString(), Combined(words, "TREZOR"u8) ?? "");
    }

    [Fact]
    public void Shares_that_are_read_are_written_as_they_were()
    {
        foreach (var words in Vectors.EnumerateArray().Where(each => each[2].GetString()!.Length > 0)
            .SelectMany(each => each[1].EnumerateArray().Select(word => word.GetString()!)))
        {
            using var share = Read(words);
            using var text = share.ToText();
            Assert.Equal(words, Encoding.ASCII.GetString(text.Span));
        }
    }

    [Theory]
    [InlineData(2, 2)]
    [InlineData(2, 3)]
    [InlineData(3, 5)]
    [InlineData(5, 7)]
    [InlineData(16, 16)]
    public void As_many_shares_as_are_set_give_the_secret_back_and_one_less_does_not(int threshold, int count)
    {
        var secret = Enumerable.Range(1, 32).Select(each => (byte)each).ToArray();
        var words = Split(secret, threshold, count);
        Assert.All(words, each => Assert.Equal(33, each.Split(' ').Length));
        Assert.Equal(count, words.Distinct().Count());
        foreach (var some in Subsets(words, threshold).Take(12))
        {
            Assert.Equal(Convert.ToHexStringLower(secret), Combined(some));
            Assert.Null(Combined([.. some.Skip(1)]));
        }

        Assert.Null(Combined([words[0], .. words.Take(threshold - 1)])); // one twice
        Assert.Null(Combined([.. words.Take(threshold - 1), Split(secret, threshold, count)[^1]])); // of another set
    }

    [Fact]
    public void A_share_alone_says_nothing_each_of_its_bytes_is_as_likely_as_any_other()
    {
        const int Rounds = 256 * 100;
        var secret = new byte[16];
        var seen = new int[2, 256];
        for (var round = 0; round < Rounds; round++)
        {
            var shares = Shamir.Split(secret, threshold: 2, count: 2);
            for (var share = 0; share < 2; share++)
            {
                seen[share, shares[share].Span[9]]++;
                shares[share].Dispose();
            }
        }

        for (var share = 0; share < 2; share++)
        {
            var squares = Enumerable.Range(0, 256).Sum(value => Math.Pow(seen[share, value] - 100, 2) / 100);
            Assert.InRange(squares, 150, 400); // chi-square with 255 degrees: beyond this once in 10^8
        }
    }

    [Fact]
    public void Shares_of_two_secrets_that_say_the_same_of_themselves_are_told_by_their_digest()
    {
        var (first, second) = (Shares(7), Shares(9));
        Assert.Null(Shamir.Combine([first[0], second[1]]));
        using var right = Shamir.Combine([first[1], first[0]])!;
        Assert.Equal(7, right.Span[0]);

        static Shamir.Point[] Shares(byte secret) => [.. Shamir.Split(Enumerable.Repeat(secret, 32).ToArray(), 2, 2)
            .Select((value, at) => new Shamir.Point((byte)at, value))];
    }

    [Theory]
    [InlineData("academic", "acadmic", "word 3 is not in the list of words; the nearest that is: academic")]
    [InlineData("academic", "acadmeic", "the nearest that is: academic")]
    [InlineData("academic", "", "a share has 33 words, and this has 32")]
    [InlineData("academic", "academic academic", "a share has 33 words, and this has 34")]
    [InlineData("academic", "acid", "its checksum does not hold")]
    [InlineData("academic", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "word 3 is not in the list")]
    [InlineData("academic", "académic", "word 3 is not in the list")]
    public void What_is_wrong_with_a_share_is_said_without_a_word_of_it(string word, string typed, string says)
    {
        var share = Split(new byte[32], 2, 3)[0];
        var words = share.Split(' ');
        Assert.Equal(word, words[2]); // what a single group of few shares has there; chance may put it elsewhere too
        var refused = Assert.Throws<FormatException>(
            () => Read(string.Join(' ', [.. words[..2], typed, .. words[3..]]), 33));
        Assert.Contains(says, refused.Message, StringComparison.Ordinal);
        Assert.Empty(words[3..].Except([word, "amazing", "that", "have"]).Intersect(refused.Message.Split(' ')));
    }

    [Fact]
    public void Any_word_that_is_another_and_any_two_neighbours_that_change_places_are_found()
    {
        var words = Split(Enumerable.Range(3, 32).Select(each => (byte)each).ToArray(), 3, 5)[2].Split(' ');
        for (var at = 0; at < words.Length; at++)
        {
            var other = words.ToArray();
            other[at] = other[at] == "zero" ? "yoga" : "zero";
            Assert.Throws<FormatException>(() => Read(string.Join(' ', other)));
            if (at == 0 || words[at - 1] == words[at])
                continue;
            var swapped = words.ToArray();
            (swapped[at - 1], swapped[at]) = (words[at], words[at - 1]);
            Assert.Throws<FormatException>(() => Read(string.Join(' ', swapped)));
        }
    }

    [Fact]
    public void A_share_is_read_in_any_case_and_with_any_white_space()
    {
        var share = Split(new byte[32], 2, 2)[1];
        using var read = Read($"  {share.ToUpperInvariant().Replace(" ", "\t \r\n", StringComparison.Ordinal)}\n");
        using var text = read.ToText();
        Assert.Equal(share, Encoding.ASCII.GetString(text.Span));
        Assert.Equal("[redacted]", read.ToString());
    }

    [Fact]
    public void The_list_of_words_is_that_of_the_standard()
    {
        var words = File.ReadAllLines(Repository.File("src/Coffer/Crypto/slip39-words.txt"));
        Assert.Equal(1024, words.Length);
        Assert.Equal(words.Order(StringComparer.Ordinal), words);
        Assert.Equal(1024, words.Select(word => word[..4]).Distinct().Count());
        Assert.All(words, word => Assert.InRange(word.Length, 4, 8));
    }

    private static List<string> Split(byte[] secret, int threshold, int count)
    {
        var words = new List<string>();
        foreach (var share in Slip39.Split(secret, threshold, count))
        {
            using var text = share.ToText();
            words.Add(Encoding.ASCII.GetString(text.Span));
            share.Dispose();
        }

        return words;
    }

    private static string? Combined(IReadOnlyList<string> words, ReadOnlySpan<byte> passphrase = default)
    {
        try
        {
            using var secret = Slip39.Combine([.. words.Select(each => Read(each))], passphrase);
            return secret is null ? null : Convert.ToHexStringLower(secret.Span);
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private static Slip39Share Read(string words, int? count = null) =>
        Slip39Share.Read(Encoding.UTF8.GetBytes(words), count);

    private static IEnumerable<List<string>> Subsets(List<string> all, int size) =>
        Enumerable.Range(0, 1 << all.Count).Where(set => int.PopCount(set) == size)
            .Select(set => all.Where((_, at) => ((set >> at) & 1) == 1).ToList());
}
