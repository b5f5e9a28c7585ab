
namespace Coffer.Tests;

/// <summary>A file is there whole under its name, or not at all, whatever stood where it is written.</summary>
public sealed class NewFileTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    private string Path => directory.File("a");

    private string Written => directory.File("a.new");

    public void Dispose() => directory.Dispose();

    [Fact]
    public void It_has_its_name_once_it_is_whole_and_may_be_read_at_once()
    {
        using var file = new NewFile(Path);
        file.Content.Write("whole"u8);
        Assert.False(File.Exists(Path));
        file.Keep(overwrite: false);
        Assert.Equal("whole", File.ReadAllText(Path));
        Assert.False(File.Exists(Written));
    }

    [Fact]
    public void What_a_crash_left_behind_is_none_of_it()
    {
        File.WriteAllText(Written, "what was there before, and is longer");
        DurableFile.Write(Path, "new"u8, overwrite: false);
        Assert.Equal("new", File.ReadAllText(Path));
    }

    [Fact]
    public void A_link_is_not_followed()
    {
        var other = directory.File("other");
        File.WriteAllText(other, "other");
        File.CreateSymbolicLink(Written, other);
        DurableFile.Write(Path, "new"u8, overwrite: false);
        Assert.Equal(("new", "other"), (File.ReadAllText(Path), File.ReadAllText(other)));
        Assert.Null(File.ResolveLinkTarget(Path, returnFinalTarget: false));
    }

    [Fact]
    public void One_that_another_process_writes_is_left_to_it()
    {
        using var first = new NewFile(Path);
        first.Content.Write("first"u8);
        Assert.Throws<IOException>(() => new NewFile(Path));
        first.Keep(overwrite: false);
        Assert.Equal("first", File.ReadAllText(Path));
    }

    [Fact]
    public void One_that_fails_leaves_nothing_and_what_was_there()
    {
        File.WriteAllText(Path, "before");
        Assert.Throws<IOException>(() => DurableFile.Write(Path, "new"u8, overwrite: false));
        Assert.Equal("before", File.ReadAllText(Path));
        Assert.False(File.Exists(Written));
    }
}
