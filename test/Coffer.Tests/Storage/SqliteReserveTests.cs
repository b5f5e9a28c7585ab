using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>Room that is kept on a disk, given up and kept again: never so that it takes what others need.</summary>
[Trait("Firm edges", "14")]
public sealed class SqliteReserveTests : IDisposable
{
    private const long Megabyte = 1024 * 1024;

    private readonly TemporaryDirectory directory = new();
    private (long Total, long Free) disk = (1024 * Megabyte, 900 * Megabyte);

    private string Reserve => directory.File("coffer.reserve");

    private long Size => new FileInfo(Reserve).Length;

    [Fact]
    public void It_is_a_share_of_the_disk_within_bounds_and_readable_by_its_owner_alone()
    {
        Assert.Equal(
            [256 * 1024, Megabyte, 8 * Megabyte],
            ((long[])[3 * Megabyte, 12 * Megabyte, 1024 * Megabyte]).Select(SqliteReserve.SizeOn));
        Assert.False(New().IsGivenUp);
        Assert.False(File.Exists(Reserve)); // a start that is refused leaves nothing
        Refilled();
        Assert.Equal(8 * Megabyte, Size);
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Reserve));
    }

    [Fact]
    public void What_was_given_up_is_known_to_the_next_start_and_is_kept_again_only_where_there_is_twice_the_room()
    {
        Refilled();
        Assert.Equal(8 * Megabyte, New().GiveUp());
        Assert.Equal(0, Size);
        disk.Free = 16 * Megabyte - 1;
        var next = Refilled();
        Assert.True(next.IsGivenUp);
        Assert.Equal(0, next.GiveUp());

        disk.Free = 16 * Megabyte;
        next.Refill(); // it was tried a moment ago
        Assert.True(next.IsGivenUp);
        Assert.False(Refilled().IsGivenUp);
        Assert.Equal(8 * Megabyte, Size);
    }

    [Fact]
    public void Where_there_was_never_room_for_it_nothing_is_refused()
    {
        disk.Free = Megabyte;
        var none = Refilled();
        Assert.Equal((false, 0, false), (none.IsGivenUp, none.GiveUp(), File.Exists(Reserve)));
    }

    [Fact]
    public void What_could_not_be_filled_is_not_taken_for_given_up_unless_it_was()
    {
        const string Full = "/dev/full"; // has room by what is said of it, and for no byte
        Assert.SkipUnless(File.Exists(Full), "there is no device here that is full");
        var first = New();
        File.CreateSymbolicLink(Reserve, Full);
        first.Refill();
        Assert.False(first.IsGivenUp);
        Assert.False(File.Exists(Reserve));
        Assert.False(New().IsGivenUp);

        File.WriteAllText(Reserve, ""); // what is there and has nothing in it was given up
        var again = New();
        File.Delete(Reserve);
        File.CreateSymbolicLink(Reserve, Full);
        again.Refill();
        Assert.True(again.IsGivenUp);
        Assert.True(File.Exists(Reserve));
    }

    public void Dispose() => directory.Dispose();

    private SqliteReserve New() => new(Reserve, () => disk);

    private SqliteReserve Refilled()
    {
        var reserve = New();
        reserve.Refill();
        return reserve;
    }
}
