using System.Text.Json;
using Coffer.Cli;
using Coffer.Hosting;

namespace Coffer.Tests.Cli;

/// <summary>A ready file replaces nothing but a ready file, and is removed by nobody but its writer.</summary>
[Trait("Firm edges", "5")]
public sealed class ReadyFileTests : IDisposable
{
    private const int First = 1; // a process that always runs

    private static readonly Started Some = new(new Uri("http://127.0.0.1:1/"), null, "/data", "5701e1",
        new FirstKeys("sk_test_x", "sk_live_x", "ak_x", "absec_t", "absec_l"));

    private readonly TemporaryDirectory directory = new();

    private string Path => directory.File("ready.json");

    [Fact]
    public void It_is_its_owners_alone_and_whole()
    {
        var ready = ReadyFile.At(Path)!;
        ready.Write(Some);
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path));
        Assert.Equal("http://127.0.0.1:1", json.RootElement.GetProperty("url").GetString());
        Assert.Equal("ak_x", json.RootElement.GetProperty("admin_key").GetString());
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path));
        Assert.Equal(Path, Assert.Single(Directory.EnumerateFiles(directory.Path)));
    }

    [Fact]
    public void A_device_a_link_and_a_directory_are_refused_and_left_alone()
    {
        Refuses("/dev/null", "a device or a pipe");
        Assert.Equal("a device or a pipe", FileStatus.SpecialAt("/dev/null"));

        var target = directory.File("target");
        File.WriteAllText(target, "kept");
        File.CreateSymbolicLink(Path, target);
        Refuses(Path, "a link");
        Assert.Equal("kept", File.ReadAllText(target));

        Refuses(directory.Path, "a directory");
    }

    [Fact]
    public void What_came_there_while_the_server_started_is_left_alone_too()
    {
        var ready = ReadyFile.At(Path)!;
        File.CreateSymbolicLink(Path, directory.File("target"));
        Assert.Throws<ConfigurationException>(() => ready.Write(Some));
        Assert.False(File.Exists(directory.File("target")));
    }

    [Fact]
    public void A_link_under_the_name_that_it_is_written_by_leads_nowhere()
    {
        var target = directory.File("target");
        File.WriteAllText(target, "kept");
        File.CreateSymbolicLink(Path + ".new", target);
        ReadyFile.At(Path)!.Write(Some);
        Assert.Equal("kept", File.ReadAllText(target));
        Assert.Null(new FileInfo(Path).LinkTarget);
    }

    [Fact]
    public void No_other_file_is_written_over_a_device_either()
    {
        var refused = Assert.Throws<IOException>(() => DurableFile.Write("/dev/null", "x"u8, overwrite: true));
        Assert.Contains("/dev/null is a device", refused.Message, StringComparison.Ordinal);
        Assert.Equal("a device or a pipe", FileStatus.SpecialAt("/dev/null"));
    }

    [Theory]
    [InlineData(First, true)]
    [InlineData(0, false)] // this process: in a container the one before had its number
    [InlineData(int.MaxValue, false)]
    public void One_of_a_process_that_runs_stays_and_one_that_was_left_goes(int pid, bool stays)
    {
        var process = pid == 0 ? Environment.ProcessId : pid;
        File.WriteAllText(Path, $$"""{"url":"http://127.0.0.1:1","pid":{{process}}}""");
        ReadyFile.At(Path)!.RemoveStale();
        Assert.Equal(stays, File.Exists(Path));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    public void One_that_says_nothing_is_left_by_somebody(string content)
    {
        File.WriteAllText(Path, content);
        ReadyFile.At(Path)!.RemoveStale();
        Assert.False(File.Exists(Path));
    }

    [Fact]
    [Trait("Firm edges", "2")]
    public void First_keys_are_kept_beside_it_until_it_is_there_even_if_the_start_is_killed()
    {
        var kept = Path + ".keys";
        ReadyFile.At(Path)!.Keep(Some);
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(kept));
        Assert.False(File.Exists(Path));

        ReadyFile.At(Path)!.Write(Some with { FirstKeys = null });
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path));
        Assert.Equal("ak_x", json.RootElement.GetProperty("admin_key").GetString());
        Assert.False(File.Exists(kept));
    }

    [Theory]
    [InlineData("""{"store":"07e501","admin_key":"ak_y"}""")]
    [InlineData("""{"store":5701,"admin_key":"ak_y"}""")]
    [InlineData("""{"admin_key":"ak_y"}""")]
    [InlineData("""{"store":"5701e1","admin""")]
    public void First_keys_of_another_store_are_not_shown_as_this_ones_and_stay(string content)
    {
        var kept = Path + ".keys";
        File.WriteAllText(kept, content);
        var ready = ReadyFile.At(Path)!;
        ready.Write(Some with { FirstKeys = null });
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path));
        Assert.Equal(["url", "pid"], json.RootElement.EnumerateObject().Select(field => field.Name));
        Assert.Equal(content, File.ReadAllText(kept));
        Assert.Equal(kept, ready.OthersKeys);
    }

    [Fact]
    public void First_keys_of_another_store_are_put_aside_by_those_of_a_new_one_and_found_by_their_own()
    {
        var aside = Path + ".keys." + Some.StoreId;
        ReadyFile.At(Path)!.Keep(Some);
        var other = Some with { StoreId = "07e501", FirstKeys = Some.FirstKeys! with { AdminKey = "ak_y" } };
        var ready = ReadyFile.At(Path)!;
        ready.Keep(other);
        Assert.Contains("ak_x", File.ReadAllText(aside), StringComparison.Ordinal);
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(aside));
        ready.Write(other);
        Assert.Contains("ak_y", File.ReadAllText(Path), StringComparison.Ordinal);
        Assert.Equal(aside, ready.OthersKeys);

        ready = ReadyFile.At(Path)!;
        ready.Write(Some with { FirstKeys = null });
        Assert.Contains("ak_x", File.ReadAllText(Path), StringComparison.Ordinal);
        Assert.Equal(Path, Assert.Single(Directory.EnumerateFiles(directory.Path)));
        Assert.Null(ready.OthersKeys);
    }

    [Theory]
    [InlineData("""{"store":"../07e501","admin_key":"ak_y"}""")]
    [InlineData("""{"store":5701,"admin_key":"ak_y"}""")]
    [InlineData("""{"admin_key":"ak_y"}""")]
    [InlineData("""{"store":"5701e1","admin""")]
    public void What_does_not_say_whose_it_is_is_put_aside_too_and_replaces_nothing(string content)
    {
        foreach (var name in (string[])["old", "old-2"])
        {
            File.WriteAllText(Path + ".keys", content);
            ReadyFile.At(Path)!.Keep(Some);
            Assert.Equal(content, File.ReadAllText($"{Path}.keys.{name}"));
            Assert.Contains("ak_x", File.ReadAllText(Path + ".keys"), StringComparison.Ordinal);
        }
    }

    public void Dispose() => directory.Dispose();

    private static void Refuses(string path, string what)
    {
        var refused = Assert.Throws<ConfigurationException>(() => ReadyFile.At(path));
        Assert.Contains(path, refused.Message, StringComparison.Ordinal);
        Assert.Contains(what, refused.Message, StringComparison.Ordinal);
    }
}
