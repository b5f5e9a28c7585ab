using Coffer.Http;

namespace Coffer.Tests.Http;

/// <summary>What is no route costs nothing to find out.</summary>
[Trait("Firm ground", "17")]
public sealed class RoutesTests
{
    private static readonly Routes Table = new(
    [
        new ApiRoute("GET", "/v1/things", _ => default),
        new ApiRoute("GET", "/v1/things/{thing}", _ => default),
        new ApiRoute("POST", "/v1/apps/{app}/things/{thing}/roll", _ => default),
    ]);

    [Fact]
    public void A_path_of_60_KB_is_taken_apart_no_more_than_a_short_one()
    {
        string[] paths =
        [
            new('/', 60_000), "/v1/things/" + new string('a', 60_000),
            "/v1" + string.Concat(Enumerable.Repeat("/a", 30_000)),
            "/v1/apps/" + new string('a', 30_000) + "/things/" + new string('b', 30_000) + "/roll",
        ];
        _ = Allocated("/v1/nothing/here"); // what is made once is made
        var ofShort = Allocated("/v1/nothing/here");
        Assert.All(paths, path => Assert.InRange(Allocated(path), 0, ofShort));
    }

    [Fact]
    public void The_longest_ids_that_there_may_be_are_found()
    {
        var (app, thing) = (new string('a', 255), new string('b', 255));
        var found = Table.Find("POST", $"/v1/apps/{app}/things/{thing}/roll");
        Assert.Equal((app, thing), (found!.Value.Target.Id("app"), found.Value.Target.Id("thing")));
        Assert.Null(Table.Find("POST", $"/v1/apps/{app}a/things/{thing}/roll"));
        Assert.Null(Table.Find("GET", $"/v1/things/{thing}b"));
        Assert.NotNull(Table.Find("GET", $"/v1/things/{thing}"));
    }

    private static long Allocated(string path)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Null(Table.Find("GET", path));
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }
}
