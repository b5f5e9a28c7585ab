using Coffer.Access;
using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>What is told of a commit, and what of that which is cached it concerns.</summary>
[Trait("Firm ground", "6")]
public sealed class NewsTests
{
    private static readonly TenantId Tenant = new("app_1", Livemode: true, "acct 1");

    [Fact]
    public void What_is_told_as_text_is_understood_as_it_was_meant()
    {
        var news = Of(new RowWrite.PutApp(new AppRow("app_1", "", "", 0)), new RowWrite.DeleteApiKey("key_1"),
            new RowWrite.ShredTenant(1, Tenant),
            new RowWrite.PutRevocation(new RevocationRow("x", 1, 2)),
                new RowWrite.PutGeneration(new GenerationRow(Tenant, 1, 2, [])),
            new RowWrite.PutEvent(new EventRow("evt_1", null, true, null, null, "key.created", 1, [])));
        var read = News.Parse(news.ToString());
        Assert.Equal(news.ToString(), read.ToString());
        Assert.Equal(("app_1", "key_1"), (read.Apps.Single(), read.Keys.Single()));
        Assert.True(read.HasEvents && read.HasRevocations && read.HasGenerations && !read.HasRemovedGenerations
            && !read.IsAllAccess && !read.IsAllTenants);
        Assert.Equal(Tenant, Assert.Single(read.Tenants));
        Assert.True(News.Parse("").IsEmpty);
    }

    [Theory]
    [InlineData("word of a later release\n")]
    [InlineData("revocations\nkeys key_1\n")]
    [InlineData("tenant app_1 other acct_1\n")]
    [InlineData("tenant app_1\n")]
    [InlineData("everything")]
    public void What_is_not_understood_counts_as_everything(string text)
    {
        var news = News.Parse(text);
        Assert.True(news.IsAllAccess && news.IsAllTenants);
    }

    [Fact]
    public void Very_many_changes_are_told_as_everything()
    {
        Assert.Equal("everything", Of(
            [.. Enumerable.Range(0, 1_001).Select(i => new RowWrite.DeleteApiKey($"key_{i}"))]).ToString());
        Assert.NotEqual("everything",
            Of([.. Enumerable.Range(0, 1_000).Select(i => new RowWrite.DeleteApiKey($"key_{i}"))]).ToString());
    }

    [Fact]
    public void A_change_lets_go_what_was_cached_of_it_and_of_nothing_else()
    {
        var epoch = new Epoch();
        var since = epoch.Current;
        var keys = epoch.Keys;
        epoch.Advance(Of(new RowWrite.PutRevocation(new RevocationRow("x", 1, 2)),
            new RowWrite.ShredTenant(1, Tenant)));
        Assert.Equal(keys, epoch.Keys);
        epoch.Advance(Of(new RowWrite.DeleteApiKey("key_1")));
        Assert.NotEqual(keys, epoch.Keys);
        Assert.False(epoch.IsUnchanged(since, "key_1"));
        Assert.True(epoch.IsUnchanged(since, "key_2"));
        Assert.True(epoch.IsUnchanged(epoch.Current, "key_1"));
        epoch.Advance(News.AllAccess);
        Assert.False(epoch.IsUnchanged(since, "key_2"));
    }

    [Fact]
    public void Very_many_changes_take_no_more_memory_and_lose_none()
    {
        var epoch = new Epoch();
        var since = epoch.Current;
        for (var i = 0; i < 25_000; i++)
            epoch.Advance(Of(new RowWrite.DeleteApiKey($"key_{i}")));
        Assert.All(Enumerable.Range(0, 25_000), i => Assert.False(epoch.IsUnchanged(since, $"key_{i}")));
        Assert.True(epoch.IsUnchanged(epoch.Current, "key_1"));
    }

    private static News Of(params RowWrite[] rows)
    {
        var news = new News();
        foreach (var row in rows)
            news.Add(row);
        return news;
    }
}
