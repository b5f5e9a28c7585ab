namespace Coffer.EndToEnd;

/// <summary>
/// Durable is what the system confirmed: a sync that fails is a fault like a write that fails, of files and of the
/// directories that have their names.
/// </summary>
[Trait("Reports from the field", "R2-54")]
public sealed class DurableFileTests
{
    [Theory]
    [InlineData("coffer.key.new", "EIO")]
    [InlineData("coffer.key.new", "ENOSPC")]
    [InlineData("coffer.key.new", "EDQUOT")]
    [InlineData("", "EIO")] // the directory that has the key file's name
    public async Task A_first_start_whose_key_file_cannot_be_synced_makes_no_store_and_the_next_one_does(string file,
        string error)
    {
        using var data = new TemporaryDirectory();
        var ended = await Strace.EndedAsync(
            data.Path, "fsync", $"error={error}", Path.TrimEndingDirectorySeparator(data.File(file)));
        Assert.True(ended.Exit == 74, ended.Message);
        Assert.Contains("cannot be synced to the disk", ended.Message, StringComparison.Ordinal);

        await using var coffer = await CofferProcess.ServeAsync(data);
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("k", "p")).Is(200);
    }

    [Fact]
    public async Task The_directory_that_has_the_name_of_a_new_data_directory_is_synced()
    {
        using var parent = new TemporaryDirectory();
        var ended = await Strace.EndedAsync(parent.File("store"), "fsync", "error=EIO", parent.Path);
        Assert.Contains($"{parent.Path} cannot be synced to the disk", ended.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_checkpoint_that_cannot_be_synced_is_not_counted_as_written()
    {
        using var data = new TemporaryDirectory();
        var under = Strace.Under("fsync", "error=EIO", data.File("audit-checkpoints.jsonl"));
        await using var coffer = await CofferProcess.StartAsync(["serve", "--data", data.Path], under: under);
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("k", "p")).Is(200);
        Assert.Equal(0, await coffer.StopAsync()); // it writes one when it stops
        Assert.Contains("Checkpoints of the audit log cannot be written", coffer.Stderr, StringComparison.Ordinal);
        Assert.Contains("cannot be synced to the disk", coffer.Stderr, StringComparison.Ordinal);
    }
}
