using System.Buffers.Text;
using System.Security.Cryptography;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Tests.Audit;

/// <summary>
/// The forms of a checkpoint: what is signed, what is read, and what is made of a line that somebody has edited.
/// </summary>
[Trait("Firm ground", "13")]
public sealed class CheckpointTests : IDisposable
{
    private static readonly DateTimeOffset Time = DateTimeOffset.FromUnixTimeSeconds(1_795_253_841);

    private static readonly byte[] Store = [1, 2, 3];

    private readonly ECDsa signer = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly AuditKeys keys;

    public CheckpointTests()
    {
        var signing = SigningKeys.Open(
            Store, [new Control.Numbered(1, SecretBytes.ForKey(signer.ExportPkcs8PrivateKey()))]);
        var log = new LogKeys(MacKey.Derived(new byte[32], "test"u8));
        keys = new(() => log, () => signing, Store);
    }

    private static ChainPlace Own => new("node_1", new ChainPosition(9, Mac(9))
    {
        Public = new PublicPlace(Mac(7), new StoreGeneration(5, [1, 2, 3, 4, 5, 6, 7, 8])),
    }, Rollback: 1);

    private static ChainPlace[] Heads =>
        [new("node_2", new ChainPosition(4, Mac(4)), 0), new("node_10", new ChainPosition(5, Mac(5)), 3)];

    public void Dispose() => signer.Dispose();

    [Fact]
    public void A_checkpoint_comes_back_from_its_line_and_is_signed_with_all_that_it_names()
    {
        var line = Checkpoint.Sign(keys, Own, Heads, Time).ToLine();
        var read = Checkpoint.Parse(line)!;
        Assert.Equivalent(Own, read.At, strict: true);
        Assert.Equivalent(Heads, read.Heads, strict: true);
        Assert.Equal(Time, read.Time);
        Assert.True(read.IsSignedBy(keys.Signing.Public, keys.Store));
        Assert.False(read.IsSignedBy(keys.Signing.Public, [1, 2, 4]));
        foreach (var (from, to) in ((string, string)[])[
            ("\"seq\":9", "\"seq\":8"), ("\"node\":\"node_1\"", "\"node\":\"node_2\""),
                ("\"rollback\":1", "\"rollback\":0"),
            ("[\"node_2\",4", "[\"node_2\",3"), (",3,", ",0,"), ("\"node_10\"", "\"node_11\""), ("2026", "2025"),
            ("0909", "0908"), ("0404", "0403"), ("0707", "0706"), ("0000000000000005", "0000000000000006"),
            ("\"key\":1", "\"key\":2"), ("\"checkpoint\":3", "\"checkpoint\":2"),
            ("\"checkpoint\":3", "\"checkpoint\":1")])
        {
            Assert.Contains(from, line, StringComparison.Ordinal);
            var edited = Checkpoint.Parse(line.Replace(from, to, StringComparison.Ordinal));
            Assert.False(edited?.IsSignedBy(keys.Signing.Public, keys.Store), from);
        }

        var withoutHead = read with { Heads = read.Heads.Take(1).ToArray() };
        Assert.False(withoutHead.IsSignedBy(keys.Signing.Public, keys.Store));
    }

    [Fact]
    public void What_is_signed_is_what_the_document_says()
    {
        var own = Own;
        var signed = Checkpoint.Sign(keys, own, Heads, Time);
        using var said = new AssociatedData("coffer v3 audit checkpoint"u8);
        said.Add(Store);
        foreach (var place in (ChainPlace[])[own, .. Heads])
        {
            said.Add(place.Node);
            said.Add(place.Position.Sequence);
            said.Add(place.Position.Mac);
            if (place == own)
                said.Add(Time.ToUnixTimeSeconds());
            said.Add(place.Rollback);
            said.Add(place == own ? Mac(7) : []);
            said.Add((byte[])(place == own ? [0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8] : []));
            if (place == own)
                said.Add(1);
        }

        Assert.True(signer.VerifyData(said.Span, signed.Signature, HashAlgorithmName.SHA256));
    }

    [Fact]
    public void A_checkpoint_of_before_is_read_and_proven_as_ever()
    {
        using var said = new AssociatedData("coffer v1 audit checkpoint"u8);
        said.Add(Store);
        said.Add("node_1");
        said.Add(9);
        said.Add(Mac(9));
        said.Add(Time.ToUnixTimeSeconds());
        var signature = Base64Url.EncodeToString(signer.SignData(said.Span, HashAlgorithmName.SHA256));
        var line = $$"""
            {"checkpoint":1,"node":"node_1","seq":9,"mac":"{{Convert.ToHexStringLower(Mac(9))}}",
             "time":"2026-11-21T09:37:21Z","signature":"{{signature}}"}
            """.ReplaceLineEndings("");
        var read = Checkpoint.Parse(line)!;
        Assert.True(read.IsSignedBy(keys.Signing.Public, keys.Store));
        Assert.Equivalent(
            new ChainPlace("node_1", new ChainPosition(9, Mac(9)), 0), Assert.Single(read.Places), strict: true);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("7")]
    [InlineData("{'checkpoint':3}")]
    [InlineData("{'checkpoint':4,'node':'n','seq':1,'mac':'00',TIME,'rollback':0,'heads':[],'signature':''}")]
    [InlineData("{'checkpoint':3,'node':'n','seq':1,'mac':'00',TIME,'rollback':0,'heads':[],'signature':''}")]
    [InlineData(
        "{'checkpoint':3,'node':'n','seq':1,'mac':'00','hash':'00','generation':'',TIME,'rollback':0,'heads':[],"
            + "'key':1,'signature':''}")]
    [InlineData(
        "{'checkpoint':3,'node':'n','seq':1,'mac':'00','hash':'','generation':'',TIME,'rollback':0,'heads':[],"
            + "'key':1,'keys':[[2,null,'']],'signature':''}")]
    [InlineData(
        "{'checkpoint':3,'node':'n','seq':1,'mac':'00','hash':'','generation':'',TIME,'rollback':0,'heads':[],"
            + "'key':-1,'signature':''}")]
    [InlineData("{'checkpoint':'2'}")]
    [InlineData("{'checkpoint':1,'checkpoint':1}")]
    [InlineData("{'checkpoint':1,'seq':1,'mac':'00',TIME,'signature':''}")]
    [InlineData("{'checkpoint':1,'node':null,'seq':1,'mac':'00',TIME,'signature':''}")]
    [InlineData("{'checkpoint':1,'node':7,'seq':1,'mac':'00',TIME,'signature':''}")]
    [InlineData("{'checkpoint':1,'node':'n','seq':1e300,'mac':'00',TIME,'signature':''}")]
    [InlineData("{'checkpoint':1,'node':'n','seq':1,'mac':'0',TIME,'signature':''}")]
    [InlineData("{'checkpoint':1,'node':'n','seq':1,'mac':'00','time':'9999-99-99','signature':''}")]
    [InlineData("{'checkpoint':1,'node':'n','seq':1,'mac':'00',TIME,'signature':'?'}")]
    [InlineData("{'checkpoint':2,'node':'n','seq':1,'mac':'00',TIME,'signature':''}")]
    [InlineData("{'checkpoint':2,'node':'n','seq':1,'mac':'00',TIME,'rollback':0,'signature':''}")]
    [InlineData("{'checkpoint':2,'node':'n','seq':1,'mac':'00',TIME,'rollback':0,'heads':[[]],'signature':''}")]
    [InlineData("{'checkpoint':2,'node':'n','seq':1,'mac':'00',TIME,'rollback':0,'heads':[1],'signature':''}")]
    [InlineData("{'checkpoint':2,'node':'n','seq':1,'mac':'00',TIME,'rollback':0,'heads':{},'signature':''}")]
    [InlineData("{'checkpoint':2,'node':'n','seq':1,'mac':'00',TIME,'rollback':0,'heads':[null],'signature':''}")]
    public void What_is_no_checkpoint_is_passed_over_whatever_it_is(string line) => Assert.Null(Checkpoint.Parse(
        line.Replace("TIME", "'time':'2026-11-21T09:37:21Z'", StringComparison.Ordinal).Replace('\'', '"')));

    [Theory]
    [InlineData("node_1:120", "node_1", 120L)]
    [InlineData("node:1:0", "node:1", 0L)]
    [InlineData("node_1", null, 0L)]
    [InlineData(":1", null, 0L)]
    [InlineData("node_1:", null, 0L)]
    [InlineData("node_1:-1", null, 0L)]
    [InlineData("node_1: 1", null, 0L)]
    [InlineData("node_1:1.0", null, 0L)]
    [InlineData("node_1:99999999999999999999", null, 0L)]
    public void The_pair_of_the_flag_is_a_node_and_a_number_and_nothing_else(string text, string? node, long sequence)
    {
        Assert.Equal(node is null ? null : new AcceptedRollback(node, sequence), AcceptedRollback.Parse(text));
        if (node is not null)
            Assert.Equal(text, AcceptedRollback.Parse(text).ToString());
    }

    private static byte[] Mac(byte of) => [.. Enumerable.Repeat(of, 32)];
}
