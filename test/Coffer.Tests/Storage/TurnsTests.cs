using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>Whose change is next, and who may wait: decided without a store and without a clock.</summary>
[Trait("Firm ground", "8")]
public sealed class TurnsTests
{
    private readonly Turns turns = new(new Turns.Bounds(1_000));

    [Fact]
    public void Apps_take_turns_however_long_the_line_of_one_is()
    {
        Add(turns, "a1 a2 a3 a4 a5 b1 c1 c2");
        Assert.Equal("a1 b1 c1 a2 c2 a3 a4 a5", Take(turns, 100));
        Assert.Equal(0, turns.Count);
    }

    [Fact]
    public void An_app_that_comes_late_waits_for_one_turn_of_each_other_and_not_for_their_lines()
    {
        Add(turns, string.Join(' ', Enumerable.Range(1, 300).Select(i => $"a{i}")));
        Assert.Equal("a1 a2 a3", Take(turns, 3));
        Add(turns, "b1 b2");
        Assert.Equal("a4 b1 a5 b2 a6", Take(turns, 5));
    }

    [Fact]
    public void The_server_itself_and_operators_take_turns_as_an_app_does()
    {
        Add(turns, "a1 a2 a3 _1 _2");
        Assert.Equal("a1 _1 a2 _2 a3", Take(turns, 100));
    }

    [Fact]
    public void Where_owners_are_first_all_of_theirs_go_before_all_of_apps()
    {
        var lane = new Turns(new Turns.Bounds(100, OwnFirst: true));
        Add(lane, "a1 b1 a2 _1 _2 b2 _3");
        Assert.Equal("_1 _2 _3 a1 b1 a2 b2", Take(lane, 100));
    }

    [Fact]
    public void A_large_change_gives_up_turns_for_what_it_is_larger_than_others()
    {
        Assert.Null(turns.Add(new Waiting("a1", "a", 3 * Turns.TurnSize)));
        Add(turns, "a2 b1 b2 b3 b4 b5");
        Assert.Equal("a1 b1 b2 b3 a2 b4 b5", Take(turns, 100));
        // It owes nothing to nobody: alone, it continues at once.
        Assert.Null(turns.Add(new Waiting("a3", "a", 50 * Turns.TurnSize)));
        Add(turns, "a4");
        Assert.Equal("a3 a4", Take(turns, 100));
    }

    [Fact]
    public void A_batch_ends_where_it_would_be_too_large_and_is_never_empty()
    {
        (string, int)[] changes = [("a1", 400), ("a2", 500), ("a3", 200), ("a4", 5_000), ("a5", 1)];
        foreach (var (name, size) in changes)
            Assert.Null(turns.Add(new Waiting(name, "a", size)));
        Assert.Equal(["a1 a2", "a3", "a4", "a5"], Enumerable.Range(0, 4).Select(_ => Take(turns, 100, size: 1_000)));
    }

    [Fact]
    public void What_is_put_back_comes_before_all_that_its_app_handed_in_since()
    {
        Add(turns, "a1 b1 a2 b2 a3");
        var batch = new List<Change>();
        turns.Take(batch, 4, long.MaxValue);
        Add(turns, "a4 b3");
        turns.PutBack(batch);
        Assert.Equal(7, turns.Count);
        var names = Take(turns, 100).Split(' ');
        Assert.Equal("a1 a2 a3 a4", string.Join(' ', names.Where(name => name[0] == 'a')));
        Assert.Equal("b1 b2 b3", string.Join(' ', names.Where(name => name[0] == 'b')));
    }

    [Fact]
    public void Of_one_line_only_that_line_is_taken_and_then_it_waits_for_the_others()
    {
        Add(turns, "a1 b1 a2 b2 c1");
        string[] expected = ["a1 a2", "b1 b2", "c1", ""];
        Assert.Equal(expected, Enumerable.Range(0, 4).Select(_ => Take(turns, 100, ofOneLine: true)));
        Add(turns, "a1 b1 a2 a3");
        Assert.Equal(["a1 a2", "b1", "a3"], Enumerable.Range(0, 3).Select(_ => Take(turns, 2, ofOneLine: true)));
    }

    [Fact]
    public void An_app_may_have_so_many_waiting_and_is_told_so_while_others_get_in()
    {
        var bounded = new Turns(new Turns.Bounds(100, PerApp: 3));
        Add(bounded, "a1 a2 a3");
        var refused = bounded.Add(new Waiting("a4", "a"))!;
        Assert.Equal((429, "rate_limit", true, TimeSpan.FromSeconds(1)),
            (refused.Status, refused.Code, refused.ShouldRetry, refused.RetryAfter));
        Assert.Equal("The app of the provided key has too many changes waiting to be stored. " +
            "Nothing of this request was stored. Try again shortly.", refused.Message);
        Add(bounded, "b1 b2 b3 _1 _2 _3 _4");
        Assert.Equal("a1", Take(bounded, 1));
        Add(bounded, "a4");
    }

    [Fact]
    public void No_number_of_apps_leaves_no_room_for_the_next_one()
    {
        var bounded = new Turns(new Turns.Bounds(800, PerApp: 800));
        for (var app = 0; app < 5; app++)
            Assert.Equal(429, Fill(bounded, $"app_{app}").Status);
        Assert.InRange(bounded.Count, 600, 690); // of 700: an eighth is the server's own
        Assert.Null(bounded.Add(new Waiting("x", "another")));
    }

    [Fact]
    public void A_queue_that_is_full_refuses_with_503_and_an_eighth_is_kept_for_operators()
    {
        var bounded = new Turns(new Turns.Bounds(16));
        for (var i = 0; i < 14; i++)
            Assert.Null(bounded.Add(new Waiting($"{i}", $"app_{i}")));
        Assert.Equal(503, bounded.Add(new Waiting("x", "one_more"))!.Status);
        Add(bounded, "_1 _2");
        Assert.Equal(503, bounded.Add(new Waiting("_3", null))!.Status);
    }

    [Fact]
    public void An_ephemeral_key_has_a_bound_of_its_own_that_leaves_its_app_room()
    {
        var bounded = new Turns(new Turns.Bounds(100, PerApp: 50, PerKey: 2));
        Assert.Null(bounded.Add(new Waiting("1", "a", key: "ephkey_1")));
        Assert.Null(bounded.Add(new Waiting("2", "a", key: "ephkey_1")));
        var refused = bounded.Add(new Waiting("3", "a", key: "ephkey_1"))!;
        Assert.Equal(429, refused.Status);
        Assert.StartsWith("The provided key has too many changes waiting", refused.Message, StringComparison.Ordinal);
        Assert.Null(bounded.Add(new Waiting("4", "a", key: "ephkey_2")));
        Assert.Null(bounded.Add(new Waiting("5", "a")));
        Assert.Equal("1", Take(bounded, 1));
        Assert.Null(bounded.Add(new Waiting("6", "a", key: "ephkey_1")));
        Assert.NotNull(bounded.Add(new Waiting("7", "a", key: "ephkey_1")));
    }

    [Fact]
    public void Apps_that_have_nothing_waiting_are_forgotten()
    {
        for (var app = 0; app < 100_000; app++)
        {
            Assert.Null(turns.Add(new Waiting("x", $"app_{app}", key: $"ephkey_{app}")));
            Assert.Equal("x", Take(turns, 1));
        }

        Assert.InRange(turns.Kept, 0, 2_000);
    }

    private static ApiError Fill(Turns turns, string app)
    {
        while (true)
        {
            if (turns.Add(new Waiting("x", app)) is { } refusal)
                return refusal;
        }
    }

    // a1 is a change of the app a; _1 is one of the server itself.
    private static void Add(Turns turns, string names)
    {
        foreach (var name in names.Split(' '))
            Assert.Null(turns.Add(new Waiting(name, name[0] == '_' ? null : name[..1])));
    }

    private static string Take(Turns turns, int most, long size = long.MaxValue, bool ofOneLine = false)
    {
        var batch = new List<Change>();
        turns.Take(batch, most, size, ofOneLine);
        return string.Join(' ', batch.Cast<Waiting>().Select(change => change.Name));
    }

    private sealed class Waiting(string name, string? app, int size = 100, string? key = null) : Change
    {
        public string Name => name;

        public override Payer? Payer => app is null ? null : new Payer(app, key);

        public override int Size => size;

        public override IReadOnlyList<RowWrite> Decide(Found found) => [];
    }
}
