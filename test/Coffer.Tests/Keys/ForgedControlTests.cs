using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Tests.Keys;

/// <summary>
/// What somebody plants who writes the database, has every copy of it, and has a root key of before: a node that runs
/// goes by none of it (docs/envelope.md, "Control row").
/// </summary>
[Trait("Keys", "S37")]
public sealed class ForgedControlTests : ServerTests
{
    private KeyWrappers Wrappers => KeyWrappers.OfFile(Path.Combine(Server.Data, "coffer.key"));

    [Fact]
    public async Task A_control_row_under_a_root_key_that_was_removed_is_refused_and_that_key_is_not_asked_for()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var (old, stolen) = (await StoredKeys.ReadAsync(engine, default), instance.Roots);
            await RotateAsync(engine, committer, instance, removes: true);
            // Wrapped as it was, vouched for by a control row of the thief's, and later than any.
            await PlantAsync(engine, committer, instance, stolen, control => control with
            {
                Serial = 1_000,
                Roots = [.. control.Roots.Where(root => root.Version == 1)],
                Wrappings = [.. control.Wrappings.Where(wrapping => wrapping.Version == 1)],
            }, [
                .. old.Writes.Where(row => row is RowWrite.PutRootKey or RowWrite.PutWrapping),
                new RowWrite.DeleteRootKey(2), new RowWrite.DeleteWrapping(2, old.Wrappings[0].Wrapper),
            ], old);
            await RefusedAsync(engine, instance, "it is sealed under root key 1, which seals no more");
            Assert.Null(instance.Roots.Find(1));
            return true;
        });
    }

    [Fact]
    public async Task While_rows_are_sealed_again_the_last_root_key_opens_them_and_no_control_row()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            await RotateAsync(engine, committer, instance, removes: false);
            Assert.NotNull(instance.Roots.Find(1));
            await PlantAsync(engine, committer, instance, instance.Roots.SealingBy(1),
                control => control with { Serial = control.Serial + 1 });
            await RefusedAsync(engine, instance, "it is sealed under root key 1, which seals no more");
            return true;
        });
    }

    [Theory]
    [InlineData("serial", "its serial, 3, is that of another one")]
    [InlineData("old", "went back from 3 to 2")]
    [InlineData("pepper", "it lacks a pepper that this store has")]
    [InlineData("another pepper", "it lacks a pepper that this store has")]
    [InlineData("signing key", "it lacks a key that this store signs with")]
    [InlineData("generation", "is older than")]
    [InlineData("removal", "it has root key 9, which was removed")]
    [InlineData("root key", "it is sealed under root key 9, which seals no more")]
    public async Task A_control_row_that_lacks_what_each_later_one_has_is_refused(string without, string why)
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var signing = instance.Signing.Next(instance.Id);
            await ChangeAsync(committer, instance, control => control with
            {
                Peppers = [.. control.Peppers, new Control.Numbered(2, SecretBytes.ForKey(new byte[32]))],
                Eras = [new Control.Era(2, 2, control.Generation)],
            });
            await ChangeAsync(committer, instance, control => control with
            {
                SigningKeys = [.. control.SigningKeys, signing.Stored],
                RemovedRoots = [new Control.Removed(9, new byte[32])],
            });
            var by = without == "root key" ? instance.Roots.With(RootKeys.Generate(9)).SealingBy(9) : instance.Roots;
            await PlantAsync(engine, committer, instance, by, control => without switch
            {
                "serial" => control with { IsHeld = true },
                "old" => control with { Serial = control.Serial - 1 },
                "pepper" => Later(control) with { Peppers = [control.Peppers[0]], Eras = [] },
                "generation" => Later(control) with
                {
                    Generation = new StoreGeneration(1, new byte[8]),
                },
                "another pepper" => Later(control) with
                {
                    Peppers =
                    [
                        control.Peppers[0], new Control.Numbered(2, SecretBytes.ForKey([.. new byte[31], 1])),
                    ],
                },
                "signing key" => Later(control) with { SigningKeys = [control.SigningKeys[0]] },
                "removal" => Later(control) with
                {
                    Roots = [.. control.Roots, new Control.Root(9, RootState.Made, new byte[32])],
                },
                _ => Later(control),
            });
            await RefusedAsync(engine, instance, why);
            return true;
        });

        static Control Later(Control control) => control with { Serial = control.Serial + 1 };
    }

    [Fact]
    public async Task What_comes_after_it_is_followed_with_its_keys_that_sign()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var (text, first) = ("signed"u8.ToArray(), instance.Signing);
            var (later, stored) = first.Next(instance.Id);
            await PlantAsync(engine, committer, instance, instance.Roots, control => control with
            {
                Serial = control.Serial + 1,
                SigningKeys = [.. control.SigningKeys, stored],
            });
            await instance.FollowAsync(engine, Wrappers, asksForNew: true, default);
            Assert.Equal((2u, 2), (instance.Signing.Number, instance.Signing.Public.All.Count));
            Assert.True(later.Public.Verify(2, text, instance.Signing.Sign(text)));
            Assert.False(later.Public.Verify(1, text, instance.Signing.Sign(text)));
            // Who holds the first one believes it.
            first.Public.Learn(instance.Id, instance.Signing.Public.Later);
            Assert.True(first.Public.Verify(2, text, instance.Signing.Sign(text)));
            return true;
        });
    }

    [Fact]
    public async Task An_anchor_is_of_a_store_that_has_its_pepper_and_of_no_copy_from_before_that()
    {
        await Server.StopAsync();
        var path = Path.Combine(Server.Data, "coffer.anchor");
        var slept = File.ReadAllText(path);
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var old = await engine.FindMetaAsync(Control.MetaKey, default);
            await ChangeAsync(committer, instance, control => control with
            {
                Peppers = [.. control.Peppers, new Control.Numbered(2, SecretBytes.ForKey(new byte[32]))],
                Eras = [new Control.Era(2, 1, control.Generation)],
            });
            Assert.True(new Anchor(path).Check(instance)); // a node that slept meanwhile
            new Anchor(path).Write(instance);
            Assert.NotEqual(slept, File.ReadAllText(path));
            Assert.True(new Anchor(path).Check(instance));

            using var control = Control.Open(instance.Id, old, instance.Roots)!;
            await committer.CommitAsync(new Change.Plain(
                (control with { Serial = 1_000 }).Write(instance.Id, instance.Roots)));
            var forged = await Instance.OpenAsync(engine, Wrappers, default);
            var refused = Assert.Throws<ConfigurationException>(() => new Anchor(path).Check(forged));
            Assert.Contains("is not the one that", refused.Message, StringComparison.Ordinal);
            return true;
        });
    }

    // As a rotation does, in fewer steps.
    private async Task RotateAsync(Engine engine, Committer committer, Instance instance, bool removes)
    {
        await RootKeysTests.StopAtAsync(
            Path.Combine(Server.Data, "coffer.key"), engine, committer, instance, RootState.Rewrapping);
        if (!removes)
            return;
        var wrapper = (await engine.ListWrappingsAsync(default))[0].Wrapper;
        await ChangeAsync(committer, instance, control => control with
        {
            Roots =
            [
                control.Roots[0] with { State = RootState.Unused }, control.Roots[1] with { State = RootState.Done },
            ],
        });
        await ChangeAsync(committer, instance, control => Coffer.Management.RootRotation.Without(control, 1),
            new RowWrite.DeleteWrapping(1, wrapper), new RowWrite.DeleteRootKey(1));
        await instance.FollowAsync(engine, Wrappers, asksForNew: true, default);
    }

    private static async Task ChangeAsync(
        Committer committer, Instance instance, Func<Control, Control> next, params RowWrite[] rows)
    {
        var change = new ControlChange(instance, next, rows, []);
        await committer.CommitAsync(change);
        Assert.True(change.HasChanged);
    }

    // What the thief makes of a control row that he has, by whatever he may have: by no step of the program.
    private static async Task PlantAsync(Engine engine, Committer committer, Instance instance, RootKeys by,
        Func<Control, Control> forge, IReadOnlyList<RowWrite>? more = null, StoredKeys? of = null)
    {
        var row = of?.Meta[Control.MetaKey] ?? await engine.FindMetaAsync(Control.MetaKey, default);
        using var control = Control.Open(instance.Id, row, of is null ? instance.Roots : by)!;
        engine.KnownControl = static () => null;
        await committer.CommitAsync(new Change.Plain([.. more ?? [], forge(control).Write(instance.Id, by)]));
    }

    private async Task RefusedAsync(Engine engine, Instance instance, string why)
    {
        var (facts, signing) = (instance.Facts, instance.Signing);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(
            () => instance.FollowAsync(engine, Wrappers, asksForNew: true, default));
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
        Assert.Same(facts, instance.Facts);
        Assert.Same(signing, instance.Signing);
    }
}
