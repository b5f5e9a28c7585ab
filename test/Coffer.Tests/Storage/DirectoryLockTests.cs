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
