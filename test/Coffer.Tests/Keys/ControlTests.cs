using System.Text.Json;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Tests.Keys;

/// <summary>
/// A store's keys open as another implementation made them, and nothing of them is believed that the control row does
/// not vouch for (vectors/control-v2.json).
/// </summary>
[Trait("Keys", "S1 S37")]
public sealed class ControlTests : IDisposable
{
    private static readonly JsonElement Vector = JsonDocument.Parse(
        File.ReadAllText(Repository.File("vectors/control-v2.json"))).RootElement;

    /// <summary>As docs/envelope.md has it.</summary>
    private const byte CompromiseTag = 14;

    private readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public async Task The_keys_of_a_store_open_as_another_implementation_made_them()
    {
        var instance = await Instance.OpenAsync(Stored(), Wrappers(), default);
        var facts = instance.Facts!;
        Assert.Equal((7L, 2u, 1_795_247_460L), (facts.Serial, facts.NewestVersion, facts.Generation.Number));
        Assert.Equal([(1u, RootState.Opening), (2u, RootState.Rewrapping)],
            facts.Roots.Select(root => (root.Version, root.State)));
        var anchor = directory.File("coffer.anchor");
        new Anchor(anchor).Write(instance);
        Assert.Equal($"{Vector.GetProperty("anchor").GetString()}\n", File.ReadAllText(anchor));
        // The one whose state says so seals, and the other opens.
        using var proof = SealedKind.Proof.Bind();
        Assert.Equal(2u, Envelope.KeyVersionOf(instance.Roots.Seal(SealedKind.Proof, [1], proof.Span)));
        Assert.NotNull(instance.Roots.Find(1));
    }

    [Fact]
    [Trait("Keys", "S8")]
    public async Task Rows_of_keys_are_proven_as_another_implementation_proves_them()
    {
        var instance = await Instance.OpenAsync(Stored(), Wrappers(), default);
        using var vectors = JsonDocument.Parse(File.ReadAllText(Repository.File("vectors/key-rows-v2.json")));
        foreach (var of in vectors.RootElement.GetProperty("rows").EnumerateArray())
        {
            var row = Row(of);
            Assert.Equal(Hex(of, "proof"), ApiKey.ProofOf(instance.Peppers.Newest, row, 1));
            Assert.False(ApiKey.Inspect(instance, row with { Proof = Hex(of, "proof") }).IsDamaged);
        }

        foreach (var of in vectors.RootElement.GetProperty("ended").EnumerateArray())
        {
            var app = of.GetProperty("app").GetString() is { Length: > 0 } text ? text : null;
            var key = new ApiKeyRow(Hex(of, "mac"), of.GetProperty("id").GetString()!, app, null,
                of.GetProperty("kind").GetString()!, of.GetProperty("livemode").GetInt32() == 1,
                of.GetProperty("created").GetInt64(), null, []);
            var ended = EndedKey.Put(instance, key, of.GetProperty("ended").GetInt64(),
                of.GetProperty("how").GetString()!).Row;
            Assert.Equal(Hex(of, "proof"), ended.Proof);
            Assert.True(EndedKey.IsWhole(instance, ended));
            Assert.False(EndedKey.IsWhole(instance, ended with { Ended = ended.Ended + 1 }));
            Assert.False(EndedKey.IsWhole(instance, ended with { How = "gone" }));
        }
    }

    [Fact]
    [Trait("Keys", "S36")]
    public void Rows_under_a_second_pepper_are_proven_as_another_implementation_proves_them()
    {
        using var vectors = JsonDocument.Parse(File.ReadAllText(Repository.File("vectors/key-rows-v3.json")));
        var pepper = new Pepper(2, new StoreGeneration(1, new byte[8]), Hex(vectors.RootElement, "pepper"));
        foreach (var of in vectors.RootElement.GetProperty("rows").EnumerateArray())
        {
            var made = of.GetProperty("made_under").GetUInt32();
            Assert.Equal(Hex(of, "proof"), ApiKey.ProofOf(pepper, Row(of), made));
            Assert.NotEqual(Hex(of, "proof"), ApiKey.ProofOf(pepper, Row(of), 2 - made));
        }
    }

    [Fact]
    [Trait("Keys", "S36")]
    public void A_control_row_of_a_store_that_is_being_renewed_is_read_as_another_implementation_wrote_it()
    {
        using var vectors = JsonDocument.Parse(File.ReadAllText(Repository.File("vectors/control-v3.json")));
        var vector = vectors.RootElement;
        var (store, root) = (Hex(vector, "store_id"), new RootKeys(new SealingKey(1, Hex(vector, "root_key"))));
        using var control = Control.Open(store, Hex(vector, "control"), root)!;
        var since = new StoreGeneration(1_795_333_860, [9, 10, 11, 12, 13, 14, 15, 16]);
        Assert.Equal((9L, 7L, true), (control.Serial, control.Level, control.Generation.Is(since)));
        Assert.Equal((2u, 2u, true),
            (control.Eras[0].Pepper, control.Eras[0].SigningKey, control.Eras[0].Generation.Is(since)));
        Assert.Equal(new Renewal(RenewalState.Listed, 4, 2, 1_795_333_000), control.Renewal);
        Assert.Equal(System.Security.Cryptography.SHA256.HashData("audit heads"u8), control.Heads);
        var peppers = Peppers.Of(control);
        Assert.Equal(Hex(vector, "anchor_mark"), peppers.Newest.Mark);
        Assert.Equal([2u], peppers.Believed.Select(pepper => pepper.Number));
        Assert.Equal([0, 0, 1, 1], ((long[])[0, 1_795_333_859, 1_795_333_860, 1_795_333_861]).Select(number =>
            peppers.Log.IndexOf(number == 0 ? null : new StoreGeneration(number, new byte[8]))));
        using var again = Control.Open(store, control.Write(store, root).Value, root)!;
        Assert.Equal((control.Renewal, 2, 2, 1),
            (again.Renewal, again.Peppers.Count, again.SigningKeys.Count, again.Eras.Count));
        Assert.Equal(control.Heads, again.Heads);

        // Which pepper is believed hangs on it: nothing of it may be missing or twice.
        foreach (var wrong in (Control[])[
            control with { Eras = [] }, control with { Eras = [control.Eras[0], control.Eras[0]] },
            control with { Eras = [control.Eras[0] with { Pepper = 3 }] },
            control with { Peppers = [control.Peppers[0]] },
            control with { Renewal = control.Renewal! with { State = (RenewalState)9 } },
            control with { Heads = control.Heads![1..] }, control with { Heads = [] }])
            Assert.Null(Control.Open(store, wrong.Write(store, root).Value, root));
    }

    [Fact]
    [Trait("Keys", "S2")]
    public void Whose_keys_others_may_know_is_read_as_it_was_written_or_the_control_row_is_not_read()
    {
        using var vectors = JsonDocument.Parse(File.ReadAllText(Repository.File("vectors/control-v3.json")));
        var vector = vectors.RootElement;
        var (store, root) = (Hex(vector, "store_id"), new RootKeys(new SealingKey(1, Hex(vector, "root_key"))));
        using var control = Control.Open(store, Hex(vector, "control"), root)!;
        Compromise[] all =
        [
            new(6, 5, "tkr_1", new TenantChoice(null, null, null)),
            new(6, 5, "tkr_2", new TenantChoice("app_1", null, null)),
            new(7, 5, "tkr_3", new TenantChoice("app_1", "acct_1", false)),
            new(uint.MaxValue, 6, "tkr_4", new TenantChoice("app_1", "acct_1", true)),
        ];
        var written = (control with { Compromises = all }).Write(store, root).Value;
        using var again = Control.Open(store, written, root)!;
        Assert.Equal(all, again.Compromises);

        // Whoever ignores what he cannot read would take over keys of before. Cut, of another form, of no rotation.
        var whole = all[3].ToBytes();
        byte[] versions = whole[..8], rotation = StoreEdits.Field(1, "tkr_1"u8.ToArray());
        using var bound = SealedKind.Control.Bind();
        bound.Add(store);
        using var text = root.Open(written, bound.Span)!;
        foreach (var wrong in (byte[][])[[], versions[1..], versions, whole[1..], whole[..^1],
            [.. versions, .. rotation, .. rotation], [.. versions, .. rotation, .. StoreEdits.Field(9)],
            [.. versions, .. StoreEdits.Field(1, 0xff)], [.. versions, .. rotation, .. StoreEdits.Field(2, 0xff)],
            [.. versions, .. rotation, .. StoreEdits.Field(3, 0xff)],
            [.. versions, .. rotation, .. StoreEdits.Field(4)], [.. versions, .. rotation, .. StoreEdits.Field(4, 2)]])
        {
            Assert.Null(Compromise.Read(wrong));
            Assert.Null(Control.Open(store, root.Seal(SealedKind.Control,
                [.. text.Span, .. StoreEdits.Field(CompromiseTag, wrong)], bound.Span), root));
        }

        using var more = Control.Open(store, root.Seal(SealedKind.Control,
            [.. text.Span, .. StoreEdits.Field(CompromiseTag, whole)], bound.Span), root)!;
        Assert.Equal([.. all, all[3]], more.Compromises);
    }

    [Fact]
    public async Task A_changed_byte_of_any_row_of_keys_stops_the_start_and_leaves_nothing_open()
    {
        foreach (var edit in Edits())
        {
            var refused = await Assert.ThrowsAsync<ConfigurationException>(
                () => Instance.OpenAsync(edit.Stored, Wrappers(), default));
            Assert.True(refused.Message.Contains(edit.Names, StringComparison.Ordinal), $"{edit.Names}: {refused}");
        }
    }

    [Fact]
    public async Task A_control_row_that_is_written_is_read_as_it_was()
    {
        var wrappers = Wrappers();
        var (roots, control, _) = await Stored().OpenAsync(wrappers, default);
        using (control)
        {
            var next = control with
            {
                Serial = 8,
                IsHeld = true,
                RemovedRoots = [new Control.Removed(9, new byte[32])],
            };
            using var read = Control.Open(StoreId(), next.Write(StoreId(), roots).Value, roots)!;
            Assert.Equal((8L, true, 9u), (read.Serial, read.IsHeld, read.RemovedRoots.Single().Version));
            Assert.Equal(control.Roots.Select(root => (root.Version, root.State)),
                read.Roots.Select(root => (root.Version, root.State)));
            Assert.True(read.Peppers.Single().Secret.Span.SequenceEqual(control.Peppers.Single().Secret.Span));
            Assert.DoesNotContain("secret", read.ToString(), StringComparison.OrdinalIgnoreCase);
        }
    }

    [Fact]
    public async Task What_was_wrapped_for_another_version_or_store_is_not_taken_though_the_wrapper_gives_it()
    {
        using var key = RootKeys.Generate(1);
        using var copy = key.Copy();
        foreach (var (store, version) in ((byte, uint)[])[(0, 2), (1, 1)])
        {
            var there = new byte[16];
            there[0] = store;
            using var text = new RootKeyName(there, version).Text(copy.Span);
            Assert.Null(new RootKeyName(new byte[16], 1).Read(text.Span));
        }

        using var right = new RootKeyName(new byte[16], 1).Text(copy.Span);
        using var read = new RootKeyName(new byte[16], 1).Read(right.Span)!;
        Assert.Equal(key.Hash(), read.Hash());
        await Task.CompletedTask;
    }

    /// <summary>
    /// The keys of vectors/ephemeral-v2.json, which another implementation has minted for this store.
    /// </summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task An_ephemeral_key_opens_as_another_implementation_has_minted_it(int number)
    {
        var text = File.ReadAllText(Repository.File("vectors/ephemeral-v2.json"));
        var vector = JsonElement.Parse(text).GetProperty("cases")[number];
        var instance = await Instance.OpenAsync(Stored(), Wrappers(), default);
        var key = EphemeralKey.Open(instance, vector.GetProperty("token").GetString()!)!;
        Assert.Equal(("app_1", "acct_1", "key_1", 1_795_247_460L, 1_795_251_060L),
            (key.Tenant.App, key.Account, key.MintedBy, key.Created, key.Expires));
        Assert.Equal((0L, 4L, 5L, 99L), (key.Ties!.Key, key.Ties.App, key.Ties.Tenant, key.Ties.Last));
        Assert.Equal(vector.GetProperty("generation").GetString(), key.Ties.Store?.ToString());
        Assert.Equal(number == 0, instance.Facts!.Generation.Is(key.Ties.Store));
    }

    private static IEnumerable<(StoredKeys Stored, string Names)> Edits()
    {
        var whole = Stored();
        yield return (whole with { Wrappings = [whole.Wrappings[0]] }, "wrapped by nothing");
        yield return (whole with { Wrappings = [whole.Wrappings[1]] }, "lacks root key 1");
        yield return (whole with { Wrappings = [.. whole.Wrappings, whole.Wrappings[1] with { Wrapper = "exec:/x" }] },
            "root key 2 by exec:/x");
        yield return (whole with
        {
            Wrappings = [whole.Wrappings[0] with { Wrapped = Flipped(whole.Wrappings[0].Wrapped) }, whole.Wrappings[1]],
        }, "root key 1 by file:");
        yield return (whole with
        {
            Wrappings = [whole.Wrappings[0] with { Wrapped = whole.Wrappings[1].Wrapped }, whole.Wrappings[1]],
        }, "root key 1 by file:");
        yield return (whole with { Roots = [whole.Roots[1]] }, "lacks root key 1");
        yield return (whole with { Roots = [.. whole.Roots, new RootKeyRow(3, 1, [])] }, "does not know");
        yield return (whole with { Roots = [whole.Roots[0] with { Wrapped = [1] }, whole.Roots[1]] }, "does not know");
        yield return (With(whole, Control.StoreMetaKey, new byte[16]), "cannot open");
        yield return (With(whole, Control.StoreMetaKey, new byte[15]), "identity cannot be opened");
        yield return (With(whole, LevelOne.IdentityMetaKey, [1]), "an identity beside");
        for (var at = 0; at < whole.Meta[Control.MetaKey].Length; at += 37)
        {
            var control = whole.Meta[Control.MetaKey].ToArray();
            control[at] ^= 1;
            var names = at is > 1 and < 6 ? "root key" : "identity cannot be opened";
            yield return (With(whole, Control.MetaKey, control), names);
        }
    }

    private static StoredKeys With(StoredKeys stored, string key, byte[] value) =>
        stored with { Meta = new Dictionary<string, byte[]>(stored.Meta) { [key] = value } };

    private static byte[] Flipped(byte[] bytes) => [.. bytes[..^1], (byte)(bytes[^1] ^ 1)];

    private static byte[] StoreId() => Hex(Vector, "store_id");

    private static StoredKeys Stored() => new(
        [new RootKeyRow(1, 1, []), new RootKeyRow(2, 2, [])],
        [.. Vector.GetProperty("root_key_wrappings").EnumerateArray().Select(row => new WrappingRow(
            row.GetProperty("version").GetUInt32(), row.GetProperty("wrapper").GetString()!, Hex(row, "wrapped"), 1))],
        new Dictionary<string, byte[]>
        {
            [Control.StoreMetaKey] = StoreId(),
            [Control.MetaKey] = Hex(Vector, "control"),
        });

    private static ApiKeyRow Row(JsonElement of)
    {
        return new ApiKeyRow(Hex(of, "mac"), Text("id")!, Text("app"), Text("account"), Text("kind")!,
            Number("livemode") == 1, Number("created")!.Value, Number("expires_at"), [])
        {
            Permissions = Text("permissions"),
            PinnedAccount = Text("pinned_account"),
            Addresses = Text("addresses"),
            Generation = Number("generation"),
            Role = Text("role"),
            Apps = Text("apps"),
            CreatedBy = Text("created_by"),
            IsOffline = Number("offline") == 1,
        };

        string? Text(string name) => of.GetProperty(name).GetString() is { Length: > 0 } text ? text : null;

        long? Number(string name) =>
            of.GetProperty(name) is { ValueKind: JsonValueKind.Number } value ? value.GetInt64() : null;
    }

    private static byte[] Hex(JsonElement from, string name) =>
        Convert.FromHexString(from.GetProperty(name).GetString()!);

    private KeyWrappers Wrappers()
    {
        // The line that docs/envelope.md shows: its key is the bytes 00 to 1f.
        var path = directory.File("coffer.key");
        File.WriteAllText(path,
            "coffer-key-v1 1 2026-11-21T08:20:04Z AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 eb39805b\n");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return KeyWrappers.OfFile(path);
    }
}
