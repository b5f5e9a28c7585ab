using System.Diagnostics;

namespace Coffer.EndToEnd;

/// <summary>
/// A disk of its own that is soon full: a tmpfs, which only root may mount. It is gone with the test.
/// </summary>
public sealed class SmallDisk : IAsyncDisposable
{
    private readonly TemporaryDirectory parent = new();

    private SmallDisk() => Path = Directory.CreateDirectory(parent.File("disk")).FullName;

    public string Path { get; }

    private string Filler => System.IO.Path.Combine(Path, "filler");

    /// <param name="size">As mount(8) reads it: <c>3m</c>.</param>
    public static async Task<SmallDisk> MountAsync(string size)
    {
        var mount = Needs.OnPath("mount");
        if (!Environment.IsPrivilegedProcess)
        {
            const string Reason = "only root may mount a small disk: run the tests as root";
            Assert.SkipWhen(string.IsNullOrEmpty(Environment.GetEnvironmentVariable("CI")), Reason);
            Assert.Fail(Reason);
        }

        var disk = new SmallDisk();
        var mounted = await Ran.ProgramAsync(mount, ["-t", "tmpfs", "-o", $"size={size}", "coffer-test", disk.Path]);
        if (mounted.ExitCode != 0)
        {
            disk.parent.Dispose();
            // Root within an unprivileged container is not told apart beforehand: it cannot, in CI or elsewhere.
            Assert.Skip(
                $"mount is refused although this is root, as in an unprivileged container: {mounted.Stderr.Trim()}");
        }

        return disk;
    }

    public Task ResizeAsync(string size) => RemountAsync($"size={size}");

    /// <param name="options">
    /// As mount(8) reads them: <c>ro</c>, which it refuses while a file is open for writing.
    /// </param>
    public async Task RemountAsync(string options) =>
        (await Ran.ProgramAsync(Needs.OnPath("mount"), ["-o", $"remount,{options}", Path])).EndedWith(0);

    /// <summary>Takes every byte that is free.</summary>
    public void Fill()
    {
        using var filler = new FileStream(Filler, FileMode.Append, FileAccess.Write, FileShare.None, bufferSize: 0);
        var page = new byte[4096];
        try
        {
            while (true)
                filler.Write(page);
        }
        catch (IOException)
        {
            // full
        }
    }

    /// <summary>Gives back what <see cref="Fill"/> took.</summary>
    public void Free() => File.Delete(Filler);

    public async ValueTask DisposeAsync()
    {
        // Lazily, so that a server that a failing test left behind does not keep the mount; and also when the test was
        // cancelled.
        using var umount = Process.Start(Ran.Start(Needs.OnPath("umount"), ["--lazy", Path], environment: null))!;
        await umount.WaitForExitAsync(CancellationToken.None);
        Assert.Equal(0, umount.ExitCode);
        parent.Dispose();
    }
}
