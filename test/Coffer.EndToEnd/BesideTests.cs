using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>What the tests run beside them is gone when they end, however they end.</summary>
public sealed class BesideTests
{
    [Fact]
    public async Task What_a_program_has_started_ends_with_it_and_a_second_end_does_nothing()
    {
        await using var shell = Beside.Start("/bin/sh", ["-c", "sleep 600 & echo \"child $!\"; wait"]);
        await shell.PrintedAsync("\n");
        var child = int.Parse(shell.Stdout.Split(' ')[1]);
        await shell.DisposeAsync();
        await Until.SoAsync("what it has started is gone", () => IsGone(child));
        await shell.DisposeAsync();

        await using var coffer = await CofferProcess.DevAsync();
        await coffer.DisposeAsync();
        await coffer.DisposeAsync();
    }

    [Fact]
    public async Task What_a_program_that_takes_too_long_has_started_ends_with_it()
    {
        using var files = new TemporaryDirectory();
        await Assert.ThrowsAsync<TimeoutException>(() => Ran.ProgramAsync("/bin/sh",
            ["-c", $"sleep 600 & echo $! >{files.File("child")}; wait"], patience: TimeSpan.FromSeconds(1)));
        var child = await File.ReadAllTextAsync(files.File("child"), TestContext.Current.CancellationToken);
        await Until.SoAsync("what it has started is gone", () => IsGone(int.Parse(child)));
    }

    // One that was killed may be there until whoever has inherited it waits for it.
    private static bool IsGone(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/stat").Contains(") Z ", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return true;
        }
    }
}
