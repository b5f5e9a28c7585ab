using System.Buffers.Binary;
using System.Text.Json;
using Coffer.Crypto;

namespace Coffer.Tests.Crypto;

/// <summary>
/// Tenant keys as they are stored: vectors/tenant-keys-v2.json was made by another implementation
/// (vectors/envelope.mjs).
/// </summary>
public sealed class TenantKeysFormTests
{
    private static readonly JsonElement Vector =
        JsonDocument.Parse(File.ReadAllText(Repository.File("vectors/tenant-keys-v2.json"))).RootElement;

    [Fact]
    public void Known_answers_hold()
    {
        using var root = new SealingKey(Vector.GetProperty("root_key_version").GetUInt32(), Hex("root_key"));
        using var opened = Envelope.Open(root, Hex("sealed_keys"), Hex("associated_data"));
        Assert.Equal(Hex("opened"), opened!.Span.ToArray());
        using var keys = TenantKeys.Parse(opened.Span)!;
        Assert.Equal((Vector.GetProperty("counter").GetInt64(), Vector.GetProperty("keys").GetInt32()),
            (keys.Counter, keys.Count));
        using var payload = keys.Open(Hex("secret"), Hex("secret_associated_data"));
        Assert.Equal(Hex("secret_opened"), payload!.Span.ToArray());
        using var older = keys.Open(Hex("older_secret"), Hex("secret_associated_data"));
        Assert.Equal(Hex("secret_opened"), older!.Span.ToArray());
        Assert.False(keys.IsUnderNewest(Hex("older_secret")));
        Assert.True(keys.IsUnderNewest(Hex("secret")));
        Assert.Equal(Hex("name_index"), keys.Seed.BlindIndex(Hex("name")));
    }

    [Fact]
    public void Known_answers_of_a_retired_seed_hold()
    {
        using var keys = TenantKeys.Parse(Hex("renewed"))!;
        var retired = Assert.Single(keys.Retired);
        var since = Vector.GetProperty("renewed_since").GetInt64();
        Assert.Equal((Vector.GetProperty("retired_marks").GetInt32(), since), ((int)retired.Marks, retired.Since));
        Assert.Equal(Hex("retired_name_index"), retired.BlindIndex(Hex("name")));
        Assert.Equal(Hex("name_index"), keys.Seed.BlindIndex(Hex("name")));
        Assert.Equal((2, false), (keys.Count, keys.HasOldNames));
        Assert.Equal((true, false),
            (retired.HasRecordsAt(since + 24 * 3_600), retired.HasRecordsAt(since + 25 * 3_600)));
        byte[] unknown = Hex("renewed"), before = Hex("renewed");
        (unknown[74], before[75]) = (16, 0x80);
        Assert.Null(TenantKeys.Parse(unknown)); // a mark that this program does not know
        Assert.Null(TenantKeys.Parse(before)); // a negative time
        for (var length = 42; length < unknown.Length; length++)
        {
            // Without the last key it is that of a tenant with one.
            if (length != unknown.Length - 36)
                Assert.Null(TenantKeys.Parse(Hex("renewed").AsSpan(0, length)));
        }
    }

    [Fact]
    public void A_new_seed_comes_with_a_new_key_and_the_one_before_finds_names_until_all_are_moved()
    {
        using var fresh = TenantKeys.Generate();
        using var first = TenantKeys.Parse(fresh.Span)!;
        using var stored = first.WithNewSeed(now: 7, root: 1);
        using var second = TenantKeys.Parse(stored.Span)!;
        Assert.Equal((2L, 2, true), (second.Counter, second.Count, second.HasOldNames));
        Assert.NotEqual(first.Seed.BlindIndex([1]), second.Seed.BlindIndex([1]));
        Assert.Equal(first.Seed.BlindIndex([1]), second.Retired[0].BlindIndex([1]));
        Assert.Equal((SeedMarks.All, 7L), (second.Retired[0].Marks, second.Retired[0].Since));
        using var left = second.WithNewestOnly(hasOldNames: true);
        using var withLeft = TenantKeys.Parse(left.Span)!;
        Assert.True(withLeft.HasOldNames);
        using var end = withLeft.WithNewestOnly();
        using var last = TenantKeys.Parse(end.Span)!;
        Assert.Equal((4L, 1, false), (last.Counter, last.Count, last.HasOldNames));
        Assert.Equal(SeedMarks.Records | SeedMarks.Ids | SeedMarks.Audit, last.Retired[0].Marks);
        Assert.Equal(first.Seed.CursorMac([1]), last.Retired[0].CursorMac([1]));
    }

    [Fact]
    public void Keys_say_which_root_key_sealed_when_their_seed_was_made()
    {
        using var fresh = TenantKeys.Generate(root: 3);
        using var born = TenantKeys.Parse(fresh.Span)!;
        Assert.Equal(((2L << 32) + 1, 3L), (born.Counter, TenantKeys.SeedRootOf(born.Counter)));
        Assert.True(born.AreSince(3));
        Assert.False(born.AreSince(4));
        using var added = born.WithNewKey();
        using var rotating = TenantKeys.Parse(added.Span)!;
        Assert.True(rotating.AreSince(3)); // both are

        using var begun = rotating.WithNewSeed(now: 7, root: 5);
        using var renewing = TenantKeys.Parse(begun.Span)!;
        Assert.Equal((4L << 32) + 1, renewing.Counter);
        Assert.True(renewing.HasSeedSince(5));
        Assert.False(renewing.AreSince(5)); // a key of before opens yet
        using var end = renewing.WithNewestOnly();
        using var renewed = TenantKeys.Parse(end.Span)!;
        Assert.True(renewed.AreSince(5));
        Assert.Equal(born.Life(), renewed.Life());
        using var another = TenantKeys.Generate(root: 3);
        using var other = TenantKeys.Parse(another.Span)!;
        Assert.NotEqual(born.Life(), other.Life());
    }

    [Fact]
    public void Of_more_than_255_retired_seeds_the_oldest_is_no_more()
    {
        var form = Hex("renewed");
        var full = (byte[])[.. form[..41], 255, .. Enumerable.Repeat(form[42..83], 255).SelectMany(seed => seed),
            .. form[83..]];
        full[42] ^= 1; // the oldest is another one
        using var keys = TenantKeys.Parse(full)!;
        using var next = keys.WithNewSeed(now: 7, root: 3);
        using var many = TenantKeys.Parse(next.Span)!;
        Assert.Equal((255, 7L), (many.Retired.Count, many.Retired[^1].Since));
        Assert.NotEqual(keys.Retired[0].BlindIndex([1]), many.Retired[0].BlindIndex([1]));
        Assert.Equal(keys.Retired[1].BlindIndex([1]), many.Retired[0].BlindIndex([1]));
    }

    [Fact]
    public void A_rotation_keeps_the_seed_raises_the_counter_and_ends_with_one_key()
    {
        using var fresh = TenantKeys.Generate();
        using var first = TenantKeys.Parse(fresh.Span)!;
        using var stored = first.WithNewKey();
        using var second = TenantKeys.Parse(stored.Span)!;
        using var end = second.WithNewestOnly();
        using var third = TenantKeys.Parse(end.Span)!;
        Assert.Equal([(1L, 1), (2L, 2), (3L, 1)],
            ((TenantKeys[])[first, second, third]).Select(keys => (keys.Counter, keys.Count)));
        Assert.Equal(first.Seed.BlindIndex([1, 2]), third.Seed.BlindIndex([1, 2]));
        using var bound = SealedKind.Secret.Bind();
        var before = first.Seal(SealedKind.Secret, [7], bound.Span);
        Assert.Null(third.Open(before, bound.Span));
        Assert.False(third.MayOpen(before));
        var again = second.Reseal(SealedKind.Secret, before, bound.Span)!;
        using var opened = third.Open(again, bound.Span);
        Assert.Equal([7], opened!.Span.ToArray());
        Assert.Null(third.Reseal(SealedKind.Secret, before, bound.Span));
    }

    [Fact]
    public void What_this_program_does_not_know_is_refused_and_not_read_in_part()
    {
        var good = Hex("opened");
        Assert.Null(TenantKeys.Parse(Edited(0, 3)));
        Assert.Null(TenantKeys.Parse(Edited(41, 1))); // a retired seed that is not there
        Assert.Null(TenantKeys.Parse(Edited(1, 0x80))); // a negative counter
        Assert.Null(TenantKeys.Parse([.. good[..1], .. new byte[8], .. good[9..]]));
        Assert.Null(TenantKeys.Parse([.. good, 0]));
        Assert.Null(TenantKeys.Parse(good.AsSpan()[..^36].ToArray().AsSpan()[..42]));
        for (var length = 0; length < good.Length; length++)
        {
            // Without the last key it is that of a tenant with one.
            if (length != good.Length - 36)
                Assert.Null(TenantKeys.Parse(good.AsSpan(0, length)));
        }

        var swapped = (byte[])[.. good[..42], .. good[78..], .. good[42..78]];
        Assert.Null(TenantKeys.Parse(swapped));

        byte[] Edited(int at, byte value)
        {
            byte[] edited = [.. good];
            edited[at] = value;
            return edited;
        }
    }

    [Fact]
    public void Format_1_is_read_has_no_counter_and_is_of_format_2_after_its_first_change()
    {
        using var fresh = TenantKeys.Generate(isFormatOne: true);
        Assert.Equal((1, 69), (fresh.Span[0], fresh.Length));
        Assert.Equal(1u, BinaryPrimitives.ReadUInt32BigEndian(fresh.Span[33..]));
        using var keys = TenantKeys.Parse(fresh.Span)!;
        Assert.Equal((0L, 1), (keys.Counter, keys.Count));
        using var next = keys.WithNewKey();
        Assert.Equal(2, next.Span[0]);
        using var changed = TenantKeys.Parse(next.Span)!;
        Assert.Equal((1L, 2), (changed.Counter, changed.Count));
        Assert.Equal(keys.Seed.BlindIndex([3]), changed.Seed.BlindIndex([3]));
    }

    private static byte[] Hex(string name) => Convert.FromHexString(Vector.GetProperty(name).GetString()!);
}
