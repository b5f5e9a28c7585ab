using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>Which SQLite is used, and which are refused (sqlite.org/wal.html#walresetbug).</summary>
[Trait("Firm ground", "1")]
public sealed class SqliteNativeTests
{
    [Theory]
    [InlineData("3.7.0")]
    [InlineData("3.35.5")]
    [InlineData("3.40.1")]
    [InlineData("3.51.2")]
    [InlineData("3.52.9")]
    [InlineData("2.99.99")]
    [InlineData("unknown")]
    [InlineData("")]
    public void An_older_SQLite_is_refused_with_a_sentence_that_says_so(string release)
    {
        var refused = Assert.Throws<ConfigurationException>(() => SqliteNative.Require(release));
        var says = $"the SQLite library is version {release}, and Coffer needs 3.53 or newer";
        Assert.StartsWith(says, refused.Message, StringComparison.Ordinal);
        Assert.Contains("Nothing was changed.", refused.Hint, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("3.53.0")]
    [InlineData("3.53.4")]
    [InlineData("3.54.0")]
    [InlineData("3.100.0")]
    [InlineData("4.0.0")]
    public void A_newer_SQLite_is_accepted(string release) => SqliteNative.Require(release);

    [Fact]
    public void The_SQLite_in_use_is_recent_and_is_the_one_that_comes_with_Coffer()
    {
        using var directory = new TemporaryDirectory();
        using var session = new SqliteSession(directory.File("coffer.db"));
        using var row = session.Query("SELECT sqlite_version()");
        Assert.True(row.Read());
        Assert.Equal(SqliteNative.Release, row.Text(0));
        SqliteNative.Require(row.Text(0));

        if (!OperatingSystem.IsLinux())
            return;
        var loaded = File.ReadLines("/proc/self/maps").Where(line => line.Contains('/', StringComparison.Ordinal))
            .Select(line => line[line.IndexOf('/', StringComparison.Ordinal)..]).Distinct()
            .Where(file => file.Contains("sqlite3.so", StringComparison.Ordinal));
        Assert.StartsWith(AppContext.BaseDirectory, Assert.Single(loaded), StringComparison.Ordinal);
    }
}
