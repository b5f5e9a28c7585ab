using System.Text;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using static Coffer.Tests.Support.StoreEdits;

namespace Coffer.Tests.Secrets;

/// <summary>What is sealed is read in the form in which it is written and in no other, whoever sealed it.</summary>
[Trait("Firm ground", "14")]
public sealed class StrictFormsTests : ServerTests
{
    private string app = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    public static TheoryData<string, byte[], bool> Fields() => new()
    {
        { "nothing", [], true },
        { "each tag once", [.. Field(1, 7), .. Field(2), .. Field(3, 1, 2)], true },
        { "another order", [.. Field(3), .. Field(1)], true },
        { "a tag that may repeat", [.. Field(3), .. Field(3), .. Field(3, 9)], true },
        { "an unknown tag", [.. Field(1), .. Field(4)], false },
        { "the tag 0", Field(0), false },
        { "a tag twice", [.. Field(1, 7), .. Field(2), .. Field(1, 7)], false },
        { "a head that is cut", [.. Field(1), 2, 0, 0], false },
        { "a value that is cut", Field(1, 1, 2, 3)[..^1], false },
        { "a byte too many", [.. Field(1), 0], false },
        { "a length below nothing", [1, 255, 255, 255, 255], false },
        { "a length beyond all", [1, 127, 255, 255, 255, 0], false },
    };

    [Theory]
    [MemberData(nameof(Fields))]
    public void Tagged_fields_are_sound_only_as_they_are_written(string which, byte[] fields, bool areSound) =>
        Assert.True(areSound == Tlv.AreSound(fields, [1, 2], [3]), which);

    public static TheoryData<string, byte[]> Settings() => new()
    {
        { "an unknown field", Field(99) },
        { "disabled twice", [.. Field(1), .. Field(1)] },
        { "disabled with a value", Field(1, 0) },
        { "a quota that is cut", Field(2, 0, 0, 1) },
        { "a quota of nothing", Field(2, 0, 0, 0, 0) },
        { "a quota below nothing", Field(2, 255, 255, 255, 255) },
        { "an empty origin", Field(3) },
        { "an origin that is no UTF-8", Field(3, 0xC3, 0x28) },
        { "more origins than may be", [.. Enumerable.Range(0, 21).SelectMany(_ => Field(3, (byte)'a'))] },
        { "a signing secret that is cut", Field(4, 0, 0, 0, 0, 0, 0, 0) },
        { "a signing secret without its text", Field(4, 0, 0, 0, 0, 0, 0, 0, 0) },
        { "a signing secret of another form", Field(4, [0, 0, 0, 0, 0, 0, 0, 0, .. "absec_short"u8]) },
        { "a signing secret that ends after all time", Field(6, [127, 0, 0, 0, 0, 0, 0, 0, .. Secret()]) },
        { "three signing secrets", [.. Field(6, Stored()), .. Field(6, Stored()), .. Field(6, Stored())] },
        { "a byte too many", [0] },
    };

    [Theory]
    [MemberData(nameof(Settings))]
    public async Task Settings_in_another_form_refuse_the_app(string which, byte[] fields)
    {
        await Server.StopAsync();
        await Server.ResealAppAsync(app, _ => fields);
        await Server.StartAgainAsync();
        (await Server.Client().List()).IsError(500, null, null, type: "api_error");
        Assert.True((bool?)(await Server.Admin.Get($"{Operator.Apps}/{app}")).IsOk().Json["damaged"], which);
        (await Server.Client(Server.OtherAppKey).List()).IsOk();
    }

    [Fact]
    public async Task Settings_that_are_written_are_read()
    {
        (await Server.Admin.Post($"{Operator.Apps}/{app}", [("secrets_per_scope", "10000"), .. Enumerable.Range(0, 20)
            .Select(i => ("origins[]", $"https://a{i}.example"))])).IsOk();
        (await Server.Admin.Post($"{Operator.Apps}/{app}/signing_secret/roll", [("grace_period", "60")])).IsOk();
        await Server.StopAsync();
        await Server.StartAgainAsync();
        (await Server.Client().List()).IsOk();
        Assert.Equal(20, (await Server.Admin.Get($"{Operator.Apps}/{app}")).IsOk().Json["origins"]!.AsArray().Count);
    }

    public static TheoryData<string, byte[]> Secrets() => new()
    {
        { "an unknown field", [.. Field(1, (byte)'k'), .. Field(2), .. Field(3, (byte)'p'), .. Field(4)] },
        { "a payload twice", [.. Field(1, (byte)'k'), .. Field(2), .. Field(3, (byte)'p'), .. Field(3, (byte)'q')] },
        { "no payload", [.. Field(1, (byte)'k'), .. Field(2)] },
        { "no user", [.. Field(1, (byte)'k'), .. Field(3, (byte)'p')] },
        { "a name that is empty", [.. Field(1), .. Field(2), .. Field(3, (byte)'p')] },
        { "a name that is no UTF-8", [.. Field(1, 0xFF), .. Field(2), .. Field(3, (byte)'p')] },
        { "a payload that is no UTF-8", [.. Field(1, (byte)'k'), .. Field(2), .. Field(3, 0xC3)] },
        { "a byte too many", [.. Field(1, (byte)'k'), .. Field(2), .. Field(3, (byte)'p'), 0, 1] },
    };

    [Theory]
    [MemberData(nameof(Secrets))]
    public async Task A_secret_in_another_form_is_not_given_out(string which, byte[] fields)
    {
        (await Server.Client().Set("k")).IsOk();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var all = new SecretFilter(null, null, null, null);
            var found = Assert.Single(await engine.SearchSecretsAsync(all, null, 0, 10, default));
            var owner = (await engine.FindTenantAsync(found.Tenant, default))!;
            var tenant = Coffer.Secrets.Tenants.Open(instance, found.Tenant, owner);
            var row = found.Secret with { Sealed = Sealed(instance, tenant, found.Secret, fields) };
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutSecret(row)));
            return true;
        });
        await Server.StartAgainAsync();
        var refused = await Server.Client().Find("k", null, ("expand[]", "payload"));
        Assert.True(refused.Status == 500, which);
        refused.IsError(500, null, null, "The stored secret failed its integrity check and was not sent. " +
            "Tell the operator of this server the Request-Id.", "api_error");
        Assert.Empty((await Server.Client().List()).IsOk().Names);
    }

    private static byte[] Sealed(Instance instance, Coffer.Secrets.Tenant tenant, SecretRow row, byte[] fields)
    {
        using var bound = Coffer.Secrets.Tenants.Bound(SealedKind.Secret, instance, tenant.Id);
        bound.Add(row.Scope);
        bound.Add(row.Key.Name);
        bound.Add(row.Id);
        bound.Add(row.Version);
        bound.Add(row.Created);
        bound.Add(row.ExpiresAt);
        return tenant.Keys.Seal(SealedKind.Secret, fields, bound.Span);
    }

    public static TheoryData<string, byte[]> Claims() => new()
    {
        { "an unknown claim", Field(99) },
        { "a claim twice", Field(4, (byte)'u') },
        { "a byte too many", [0] },
    };

    [Theory]
    [MemberData(nameof(Claims))]
    public async Task An_ephemeral_key_with_claims_in_another_form_is_no_key(string which, byte[] more)
    {
        var good = await Server.MintAsync("u", "acct_1");
        await Server.StopAsync();
        var bad = await Server.OnStoreAsync((_, _, instance) =>
        {
            using var bound = new AssociatedData("coffer v2 ephemeral key"u8);
            bound.Add(instance.Id);
            bound.Add(0);
            using var claims = Envelope.Open(instance.EphemeralKey2, Tokens.Unseal("ek_test_", good)!, bound.Span)!;
            var edited = AnyRows.Seal(instance.EphemeralKey2, [.. claims.Span, .. more], bound.Span);
            return Task.FromResult(Tokens.Seal("ek_test_", edited));
        });
        await Server.StartAgainAsync();
        (await Server.Client(good).List("u")).IsOk();
        Assert.True((await Server.Client(bad).List("u")).Status == 401, which);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(0, 2)]
    [InlineData(2, 1)]
    public void Tenant_keys_whose_versions_do_not_grow_are_none(byte first, byte second)
    {
        byte[] stored = [1, .. new byte[32], 0, 0, 0, first, .. new byte[32], 0, 0, 0, second, .. new byte[32]];
        Assert.Null(TenantKeys.Parse(stored));
        (stored[36], stored[72]) = (1, 2);
        Assert.NotNull(TenantKeys.Parse(stored));
        Assert.Null(TenantKeys.Parse(stored.AsSpan(0, stored.Length - 1)));
        Assert.Null(TenantKeys.Parse([2, .. stored.AsSpan(1)]));
    }

    [Theory]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("\"checkpoint\"")]
    [InlineData("{\"checkpoint\":1,\"checkpoint\":1}")]
    [InlineData("{}", "1e300")]
    [InlineData("{}", "1", "0")]
    [InlineData("{}", "1", "00", "later")]
    [InlineData("{}", "1", "00", "2026-01-01T00:00:00Z", "*")]
    public void A_line_that_is_no_checkpoint_is_none(
        string line, string sequence = "1", string mac = "00", string time = "2026-01-01T00:00:00Z",
        string signature = "AA")
    {
        if (line == "{}")
        {
            line = $"{{\"checkpoint\":1,\"node\":\"n\",\"seq\":{sequence},\"mac\":\"{mac}\","
                + $"\"time\":\"{time}\",\"signature\":\"{signature}\"}}";
        }

        Assert.Null(Checkpoint.Parse(line));
    }

    [Theory]
    [InlineData(0x7FFF_FFFF_FFFF_FFFF)]
    [InlineData(-1)]
    [InlineData(253_402_300_800)]
    public void A_time_beyond_what_can_be_said_is_not_sound(long seconds)
    {
        Assert.False(UnixTime.IsStorable(seconds));
        Assert.False(UnixTime.IsStorable((long?)seconds));
        Assert.True(UnixTime.IsStorable((long?)null));
        Assert.True(UnixTime.IsStorable(0L));
        Assert.True(UnixTime.IsStorable(253_402_300_799L));
    }

    private static byte[] Secret() => Encoding.ASCII.GetBytes(Tokens.Generate("absec_"));

    private static byte[] Stored() => [0, 0, 0, 0, 0, 0, 0, 0, .. Secret()];
}
