using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using Coffer.Hosting;
using Coffer.Keys;

namespace Coffer.Tests.Keys;

/// <summary>
/// What a store holds of recovery shares (docs/envelope.md, "Recovery shares"; vectors/shares-v1.json).
/// </summary>
[Trait("Keys", "S12")]
public sealed class RecoverySharesTests
{
    private static readonly JsonElement Vector = JsonDocument.Parse(
        File.ReadAllText(Repository.File("vectors/shares-v1.json"))).RootElement;

    private static readonly byte[] Store = Hex("store_id"), Row = Hex("stored");

    private static readonly string[] Words =
        [.. Vector.GetProperty("shares").GetProperty("words").EnumerateArray().Select(each => each.GetString()!)];

    [Fact]
    public async Task Shares_that_another_implementation_made_unwrap_the_root_key_that_it_wrapped()
    {
        using var gathering = Gather(4, 0, 2);
        Assert.True(gathering.Prove());
        using var wrapper = gathering.Open()!;
        Assert.Equal(Vector.GetProperty("wrapper").GetString(), wrapper.Id);
        var name = new RootKeyName(Store, 1);
        using var text = (await wrapper.UnwrapAsync(name, Hex("wrapped"), default))!;
        using var key = name.Read(text.Span)!;
        using var copy = key.Copy();
        Assert.Equal(Hex("root_key"), copy.Span.ToArray());
        Assert.Null(await wrapper.UnwrapAsync(name, [.. Hex("wrapped")[..^1], 0], default));
        Assert.Null(new RootKeyName(Store, 2).Read(text.Span));
    }

    [Fact]
    public void What_is_stored_is_read_as_it_was_written()
    {
        var shares = RecoveryShares.Read(Row)!;
        Assert.Equal((5633, 3, 5), (shares.Set, shares.Threshold, shares.Count));
        Assert.Equal(Row, shares.ToRow());
    }

    [Fact]
    public void A_byte_that_is_changed_in_what_is_stored_leaves_it_closed()
    {
        for (var at = 0; at < Row.Length; at += at < 500 ? 7 : 97)
        {
            var changed = Row.ToArray();
            changed[at] ^= 1;
            if (RecoveryShares.Read(changed) is not { } shares)
                continue;
            using var gathering = new ShareGathering(Store, shares);
            try
            {
                foreach (var words in Words.Take(3))
                    gathering.Add(Encoding.ASCII.GetBytes(words));
            }
            catch (FormatException)
            {
                continue; // it says that these are of another set
            }

            Assert.True(gathering.Open() is null, $"byte {at}");
        }

        using var elsewhere = new ShareGathering(new byte[16], RecoveryShares.Read(Row)!);
        foreach (var words in Words.Take(3))
            elsewhere.Add(Encoding.ASCII.GetBytes(words));
        Assert.False(elsewhere.Prove());
        Assert.Null(elsewhere.Open());
    }

    [Fact]
    public void Fewer_shares_than_are_needed_prove_and_open_nothing()
    {
        using var gathering = Gather(0, 1);
        Assert.False(gathering.Prove());
        Assert.Null(gathering.Open());
    }

    [Fact]
    public void A_wrong_share_is_named_before_the_next_is_asked_for()
    {
        using var gathering = Gather(0);
        using var another = Recovery.Make(new string('0', 32), new string('0', 64), 3, 5);
        foreach (var (words, says) in ((string, string)[])[
            (Words[0], "it is share 1, which was given already"),
            (Encoding.ASCII.GetString(another.Shares[1].Span), "it is of another set of shares"),
            (Words[1].Replace("academic", "acadenic", StringComparison.Ordinal), "word 3 is not in the list"),
            (Words[1][..Words[1].LastIndexOf(' ')], "a share has 33 words, and this has 32"),
            (string.Join(' ', Words[1].Split(' ').Reverse()), "its checksum does not hold")])
        {
            var refused = Assert.Throws<FormatException>(() => gathering.Add(Encoding.ASCII.GetBytes(words)));
            Assert.StartsWith(says, refused.Message, StringComparison.Ordinal);
            Assert.Equal(1, gathering.Given);
        }

        gathering.Add(Encoding.ASCII.GetBytes(Words[1]));
        gathering.Add(Encoding.ASCII.GetBytes(Words[3]));
        Assert.True(gathering.Prove());
    }

    [Theory]
    [InlineData(2, 2)]
    [InlineData(16, 16)]
    public void Shares_that_are_made_open_what_is_stored(int threshold, int count)
    {
        var (store, mark) = (Convert.ToHexStringLower(Store), new string('7', 64));
        using var made = Recovery.Make(store, mark, threshold, count);
        using var gathering = ShareGathering.Of(store, made.Stored);
        Assert.Equal(threshold, gathering.Needed);
        foreach (var share in made.Shares.Reverse().Take(threshold))
            gathering.Add(share.Span);
        Assert.True(gathering.Prove());
        using var wrapper = gathering.Open();
        Assert.NotNull(wrapper);
        Assert.InRange(Base64Url.DecodeFromChars(made.Stored).Length, 1, RecoveryShares.LargestRow);
        Assert.Throws<InvalidDataException>(() => ShareGathering.Of(store, "AAAA"));
        Assert.Throws<InvalidDataException>(() => ShareGathering.Of(store, "not base64"));
        foreach (var (wrong, also) in ((string, string)[])[("00", mark), (store, "00"), (store, new string('x', 64))])
            Assert.Throws<InvalidDataException>(() => Recovery.Make(wrong, also, threshold, count));
    }

    private static ShareGathering Gather(params int[] which)
    {
        var gathering = new ShareGathering(Store, RecoveryShares.Read(Row)!);
        foreach (var one in which)
            gathering.Add(Encoding.ASCII.GetBytes(Words[one]));
        return gathering;
    }

    private static byte[] Hex(string name) => Convert.FromHexString(Vector.GetProperty(name).GetString()!);
}
