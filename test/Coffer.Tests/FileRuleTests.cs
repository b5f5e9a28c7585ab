using static Coffer.FileRule.Verdict;

namespace Coffer.Tests;

/// <summary>Whose files are used, as platforms hand them out: "Firm edges", 8.</summary>
[Trait("Firm edges", "8")]
public sealed class FileRuleTests
{
    private const uint Coffer = 1000, Mounted = 4242, Else = 1001;
    private static readonly FileRule.Users Server = new(Coffer, [Coffer, Mounted]);

    [Theory]
    // Its own: closed at a start, whatever a mount has made of it.
    [InlineData(Coffer, Coffer, 0x180, Private, Private)] // 0600
    [InlineData(Coffer, Coffer, 0x100, Private, Private)] // 0400
    [InlineData(Coffer, Mounted, 0x1B0, ToClose, ToClose)] // 0660, a volume with fsGroup
    [InlineData(Coffer, Else, 0x1A0, ToClose, ToClose)] // 0640
    [InlineData(Coffer, Coffer, 0x1A4, ToClose, Refused)] // 0644: who may have read a key is not known
    [InlineData(Coffer, Coffer, 0x182, ToClose, Refused)] // 0602
    // Root's: a Secret of Kubernetes, a key of ssl-cert, the top of a volume.
    [InlineData(0u, 0u, 0x180, Private, Private)] // 0600
    [InlineData(0u, Mounted, 0x120, OfOwnGroup, OfOwnGroup)] // 0440
    [InlineData(0u, Mounted, 0x1A0, OfOwnGroup, OfOwnGroup)] // 0640
    [InlineData(0u, Mounted, 0x1B0, OfOwnGroup, OfOwnGroup)] // 0660
    [InlineData(0u, Mounted, 0x5F8, OfOwnGroup, OfOwnGroup)] // 2770
    [InlineData(0u, Else, 0x1A0, Refused, Refused)] // a group that it is not in
    [InlineData(0u, 0u, 0x1A0, Refused, Refused)]
    [InlineData(0u, Mounted, 0x1A4, Refused, Refused)] // 0644
    [InlineData(0u, Mounted, 0x124, Refused, Refused)] // 0444
    [InlineData(0u, Mounted, 0x1B1, Refused, Refused)] // 0661
    // Somebody else's, who may change it at any time.
    [InlineData(Else, Mounted, 0x1A0, Refused, Refused)]
    [InlineData(Else, Else, 0x180, Refused, Refused)]
    internal void The_rule(
        uint owner, uint group, int mode, FileRule.Verdict ofStore, FileRule.Verdict ofKey)
    {
        var file = new FileRule.Facts(owner, group, (UnixFileMode)mode);
        Assert.Equal(ofStore, FileRule.Judge(file, Server, isSecret: false).Verdict);
        var (verdict, wrong) = FileRule.Judge(file, Server, isSecret: true);
        Assert.Equal(ofKey, verdict);
        Assert.Equal(verdict == Refused, wrong is not null);
    }

    [Theory]
    [InlineData(Coffer, Mounted, 0x1B0, OfOwnGroup)]
    [InlineData(Coffer, Else, 0x1A0, Refused)]
    [InlineData(Coffer, Coffer, 0x1A4, Refused)]
    [InlineData(Coffer, Coffer, 0x180, Private)]
    internal void Its_own_on_a_medium_that_is_read_only_cannot_be_closed_and_is_as_good_as_roots(
        uint owner, uint group, int mode, FileRule.Verdict verdict) => Assert.Equal(verdict, FileRule.Judge(
            new FileRule.Facts(owner, group, (UnixFileMode)mode, IsFixed: true), Server, isSecret: true).Verdict);

    [Theory]
    [InlineData(Else, Else, 0x180, "belongs to another user (uid 1001)")]
    [InlineData(0u, Else, 0x1A0, "a group (gid 1001, mode 0640) that the user who runs Coffer is not in")]
    [InlineData(0u, Mounted, 0x124, "by other users than its owner (mode 0444)")]
    internal void What_is_refused_says_why(uint owner, uint group, int mode, string why) => Assert.Contains(
        why, FileRule.Judge(new FileRule.Facts(owner, group, (UnixFileMode)mode), Server, isSecret: true).Wrong,
        StringComparison.Ordinal);

    [Fact]
    public void Root_closes_its_own_as_well_and_uses_nobody_elses_key()
    {
        var root = new FileRule.Users(0, [0]);
        Assert.Equal(ToClose, FileRule.Judge(new(0, Mounted, (UnixFileMode)0x1B0), root, isSecret: true).Verdict);
        Assert.Equal(Refused, FileRule.Judge(new(Coffer, Coffer, (UnixFileMode)0x180), root, isSecret: true).Verdict);
    }

    [Theory]
    [InlineData(Coffer, 0x1A0, ToClose, ToClose)] // 0640: the system lets only its owner close it
    [InlineData(Coffer, 0x1A4, ToClose, Refused)]
    [InlineData(0u, 0x180, Private, Private)]
    [InlineData(0u, 0x1A0, Refused, Refused)]
    [InlineData(0u, 0x1ED, Refused, Refused)] // 0755
    internal void Root_closes_nothing_of_which_the_system_does_not_say_whose_it_is(
        uint user, int mode, FileRule.Verdict ofStore, FileRule.Verdict ofKey)
    {
        var by = new FileRule.Users(user, [user]);
        var file = FileRule.Facts.OfUnknown((UnixFileMode)mode, by);
        Assert.Equal(ofStore, FileRule.Judge(file, by, isSecret: false).Verdict);
        Assert.Equal(ofKey, FileRule.Judge(file, by, isSecret: true).Verdict);
    }

    [Fact]
    public void What_the_system_says_of_a_file_is_what_the_rule_goes_by()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no Unix modes here");
        using var directory = new TemporaryDirectory();
        var file = directory.File("f");
        File.WriteAllText(file, "");
        if (OperatingSystem.IsWindows())
            return;
        File.SetUnixFileMode(file, (UnixFileMode)0x1A0);
        File.CreateSymbolicLink(directory.File("link"), file);
        Assert.Equal("0640", FileStatus.FactsOf(directory.File("link")).Octal);
        Assert.Equal(FileStatus.FactsOf(file).Owner, FileRule.Users.OfThisProcess.User);
        Assert.Contains(FileStatus.FactsOf(file).Group, FileRule.Users.OfThisProcess.Groups);
        Assert.False(FileStatus.FactsOf(file).IsFixed);
        using var open = File.OpenHandle(file);
        Assert.Equal(FileStatus.FactsOf(file), FileStatus.FactsOf(open));
        if (OperatingSystem.IsLinux())
            Assert.True(FileStatus.FactsOf("/proc/self/status") is { IsForAll: true }); // proc is written by nobody
    }
}
