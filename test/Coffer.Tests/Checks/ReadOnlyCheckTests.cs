using System.Runtime.Versioning;
using Coffer.Checks;
using Coffer.Settings;
using Coffer.Storage;

namespace Coffer.Tests.Checks;

/// <summary>
/// A store with a log and without its index, as a copy of two files is, where no server can make the index: it is read
/// from a copy.
/// </summary>
[Trait("Firm edges", "12")]
[UnsupportedOSPlatform("windows")]
public sealed class ReadOnlyCheckTests
{
    private static readonly Query<string> FileOfStore = new(
        "SELECT file FROM pragma_database_list WHERE name = 'main'", static row => row.Text(0));

    [Fact]
    public async Task A_log_without_its_index_is_read_on_a_medium_that_is_read_only()
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client().Set("k")).IsOk();
        using (var image = await ImageAsync(server))
        using (var view = ReadOnlyView.Of(image.Path))
            (await CheckAsync(server, view)).AndNothingElseBut().Says(Grade.Ok, "chain", "entries verify");

        // What is wrong is said of the store, and not of its copy.
        server.Execute("CREATE TRIGGER t AFTER INSERT ON secrets BEGIN SELECT 1; END");
        using (var image = await ImageAsync(server))
        using (var view = ReadOnlyView.Of(image.Path))
            (await CheckAsync(server, view)).Says(Grade.Problem, "schema", "trigger t of secrets")
                .Says(Grade.Problem, "schema", $"the store {Path.Combine(view.Path, "coffer.db")}");
    }

    [Fact]
    public async Task A_copy_is_removed_even_if_a_check_hangs_that_reads_it()
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client().Set("k")).IsOk();
        using var image = await ImageAsync(server);
        using var view = ReadOnlyView.Of(image.Path);
        string? copied = null;
        var hanging = new TaskCompletionSource();
        Checkup.Check[] checks =
        [
            new("hangs", 1, async (at, _, ct) =>
            {
                using var opened = await at.OpenAsync(ct);
                copied = Path.GetDirectoryName(await opened.FindAsync(FileOfStore, ct));
                Assert.True(Directory.Exists(copied));
                await hanging.Task;
            }),
        ];
        new Checked(await Checkup.RunAsync(checks, new CofferOptions { Data = view.Path }, server.Time,
            TestContext.Current.CancellationToken)).Says(Grade.Warning, "hangs", "it takes longer than 1 seconds");
        Assert.StartsWith("coffer-read-", Path.GetFileName(copied)!, StringComparison.Ordinal);
        Assert.False(Directory.Exists(copied));
        hanging.SetResult();
    }

    private static async Task<TemporaryDirectory> ImageAsync(TestServer server)
    {
        var image = new TemporaryDirectory();
        using var copy = System.Diagnostics.Process.Start("cp", ["-p", "-r", $"{server.Data}/.", image.Path]);
        await copy.WaitForExitAsync(TestContext.Current.CancellationToken);
        File.Delete(image.File("coffer.db-shm"));
        Assert.True(new FileInfo(image.File("coffer.db-wal")).Length > 0);
        return image;
    }

    private static Task<Checked> CheckAsync(TestServer server, ReadOnlyView view) =>
        Checked.RunAsync(new CofferOptions { Data = view.Path }, server.Time);
}
