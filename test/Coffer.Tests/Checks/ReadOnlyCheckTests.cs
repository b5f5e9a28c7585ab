using System.Runtime.Versioning;
using Coffer.Checks;
using Coffer.Settings;

namespace Coffer.Tests.Checks;

/// <summary>
/// A store with a log and without its index, as a copy of two files is, where no server can make the index: it is read
/// from a copy.
/// </summary>
[Trait("Firm edges", "12")]
[UnsupportedOSPlatform("windows")]
public sealed class ReadOnlyCheckTests
{
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
