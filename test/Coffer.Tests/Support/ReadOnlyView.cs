using System.Diagnostics;

namespace Coffer.Tests.Support;

/// <summary>
/// A directory as a medium that is read only shows it, while it can be written where it is. Only root may mount one; it
/// is gone with the test.
/// </summary>
internal sealed class ReadOnlyView : IDisposable
{
    private readonly TemporaryDirectory parent = new();

    private ReadOnlyView() => Path = Directory.CreateDirectory(parent.File("view")).FullName;

    public string Path { get; }

    public static ReadOnlyView Of(string directory)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess, "only root may mount");
        var view = new ReadOnlyView();
        if (Run("mount", "--bind", "-o", "ro", directory, view.Path) == 0)
            return view;
        view.parent.Dispose();
        Assert.Skip("mount is refused although this is root, as in an unprivileged container");
        return view;
    }

    public void Dispose()
    {
        Assert.Equal(0, Run("umount", "--lazy", Path));
        parent.Dispose();
    }

    private static int Run(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        process.WaitForExit();
        return process.ExitCode;
    }
}
