namespace Coffer.EndToEnd;

/// <summary>What others may do with a store's files: nothing, where they are this user's to change.</summary>
[Trait("Firm ground", "17")]
public sealed class FileModeTests
{
    private const UnixFileMode Directory700 = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode File600 = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode ForAll = UnixFileMode.GroupRead | UnixFileMode.OtherRead;
    private const UnixFileMode IntoForAll = ForAll | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    [Fact]
    public async Task A_directory_and_a_store_that_others_could_read_are_closed_at_the_next_start_and_it_is_said_once()
    {
        using var data = new TemporaryDirectory();
        string key;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            (await client.SetAsync("k", "p")).Is(200);
            await coffer.CrashAsync(); // its log and index stay
        }

        string[] files = ["coffer.db", "coffer.db-wal", "coffer.db-shm", "coffer.lock"];
        foreach (var file in files)
            File.SetUnixFileMode(data.File(file), File600 | ForAll);
        File.SetUnixFileMode(data.Path, Directory700 | IntoForAll);

        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            Assert.Equal(Directory700, File.GetUnixFileMode(data.Path));
            Assert.All(files, file => Assert.Equal(File600, File.GetUnixFileMode(data.File(file))));
            using var client = new WireClient(coffer.Url, key);
            Assert.Equal("p", (await client.FindAsync("k")).Is(200).Payload);
            Assert.Equal(0, await coffer.StopAsync());
            var said = $"{data.Path} could be used by others than its owner (mode 0755). It is now 0700";
            Assert.Equal(1, Times(said, coffer.Stderr));
            Assert.All(files, file => Assert.Equal(1, Times($"{data.File(file)} could be used", coffer.Stderr)));
        }

        await using var again = await CofferProcess.ServeAsync(data);
        Assert.Empty(again.Complaints);
    }

    [Fact]
    public async Task Dev_closes_the_directory_that_it_is_given_too()
    {
        using var data = new TemporaryDirectory();
        File.SetUnixFileMode(data.Path, Directory700 | IntoForAll);
        await using var coffer = await CofferProcess.DevAsync("--data", data.Path);
        Assert.Equal(Directory700, File.GetUnixFileMode(data.Path));
    }

    [Fact]
    public async Task A_refused_start_changes_no_mode()
    {
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.ServeAsync(data))
            Assert.Equal(0, await coffer.StopAsync());
        File.SetUnixFileMode(data.Path, Directory700 | IntoForAll);
        File.SetUnixFileMode(data.File("coffer.db"), File600 | ForAll);
        (await Ran.CofferAsync("dev", "--data", data.Path, "--listen", "http://127.0.0.1:0"))
            .Refused(78, "belongs to coffer serve");
        Assert.Equal(Directory700 | IntoForAll, File.GetUnixFileMode(data.Path));
        Assert.Equal(File600 | ForAll, File.GetUnixFileMode(data.File("coffer.db")));
    }

    [Theory]
    [InlineData(".", "coffer.db")]
    [InlineData("coffer.db", ".")]
    public async Task What_is_another_users_is_left_as_it_is(string theirs, string own)
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Skip("only root gives files to others");
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.ServeAsync(data))
            Assert.Equal(0, await coffer.StopAsync());
        foreach (var name in (string[])[theirs, own])
            File.SetUnixFileMode(data.File(name), Open(name));
        (await Ran.ShellAsync($"chown 65534 {data.File(theirs)}")).EndedWith(0);

        await using var again = await CofferProcess.ServeAsync(data);
        Assert.Equal(Open(theirs), File.GetUnixFileMode(data.File(theirs)));
        Assert.Equal(own == "." ? Directory700 : File600, File.GetUnixFileMode(data.File(own)));

        static UnixFileMode Open(string name) => name == "." ? Directory700 | IntoForAll : File600 | ForAll;
    }

    [Fact]
    public async Task A_directory_that_is_plainly_for_others_too_is_left_open()
    {
        using var data = new TemporaryDirectory();
        const UnixFileMode Temporary = Directory700 | IntoForAll
            | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite | UnixFileMode.StickyBit;
        File.SetUnixFileMode(data.Path, Temporary);
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            Assert.Equal(Temporary, File.GetUnixFileMode(data.Path));
            Assert.Equal(0, await coffer.StopAsync());
        }

        if (!Environment.IsPrivilegedProcess)
            return;
        File.SetUnixFileMode(data.Path, Directory700 | IntoForAll);
        (await Ran.ShellAsync($"mkdir {data.File("theirs")} && chown 65534 {data.File("theirs")}")).EndedWith(0);
        await using var again = await CofferProcess.ServeAsync(data);
        Assert.Equal(Directory700 | IntoForAll, File.GetUnixFileMode(data.Path));
    }

    private static int Times(string text, string within) => within.Split(text).Length - 1;
}
