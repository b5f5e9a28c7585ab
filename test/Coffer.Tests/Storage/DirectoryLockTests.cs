using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>
/// One process a data directory: "Firm edges", 9. What comes of a file system without locks is in RefusedLockTests.
/// </summary>
[Trait("Firm edges", "9")]
public sealed class DirectoryLockTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    [Fact]
    public async Task It_is_a_lock_of_the_system_that_keeps_other_programs_away_until_it_is_let_go()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "flock(1) is of Linux");
        using (DirectoryLock.TryTake(directory.Path))
        {
            Assert.Equal(1, await FlockAsync());
            Assert.Null(DirectoryLock.TryTake(directory.Path));
            Assert.Equal(Environment.ProcessId, DataDirectory.HolderOf(directory.Path));
        }

        Assert.Equal(0, await FlockAsync());
        Assert.Null(DataDirectory.HolderOf(directory.Path));
    }

    [Theory]
    [InlineData("08:01", 131_090ul, 4711)]
    [InlineData("08:02", 131_090ul, 815)]
    [InlineData("08:03", 131_090ul, null)] // the same number on another device
    [InlineData("08:01", 31_090ul, null)]
    [InlineData("08:01", 7ul, null)] // locked to be read
    [InlineData(null, 131_090ul, 4711)]
    public void Who_holds_a_lock_is_found_by_device_and_number(string? device, ulong number, int? holder) =>
        Assert.Equal(holder, FileStatus.HolderIn(
            [
                "1: FLOCK  ADVISORY  READ 42 08:01:7 0 EOF",
                "2: POSIX  ADVISORY  WRITE 43 08:01:131090 0 EOF",
                "3: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF",
                "4: FLOCK  ADVISORY  WRITE 815 08:02:131090 0 EOF",
            ], device, number));

    [Fact]
    public void Where_the_store_cannot_be_made_the_lock_is_let_go()
    {
        Directory.CreateDirectory(directory.File("coffer.db")); // no file can be made there
        Assert.Throws<ConfigurationException>(() => DataDirectory.TryOpen(directory.Path));
        Directory.Delete(directory.File("coffer.db"));
        using var open = DataDirectory.TryOpen(directory.Path);
        Assert.NotNull(open);
    }

    public void Dispose() => directory.Dispose();

    private async Task<int> FlockAsync()
    {
        using var flock = System.Diagnostics.Process.Start(
            "flock", ["--nonblock", directory.File("coffer.lock"), "true"]);
        await flock.WaitForExitAsync(TestContext.Current.CancellationToken);
        return flock.ExitCode;
    }
}
