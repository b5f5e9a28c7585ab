using System.Diagnostics;
using System.Text.Json;
using static Coffer.EndToEnd.AdminCli;

namespace Coffer.EndToEnd;

/// <summary>
/// <c>coffer accounts forget</c> and <c>coffer receipt show</c> beside a program that reads the store.
/// </summary>
[Trait("Firm ground", "10")]
public sealed class ReceiptCliTests : IAsyncLifetime
{
    private const string Reading = """
        import signal, sqlite3, sys
        store = sqlite3.connect(sys.argv[1])
        store.execute("BEGIN")
        store.execute("SELECT count(*) FROM tenants").fetchone()
        print("reading", flush=True)
        signal.pause()
        """;

    private readonly TemporaryDirectory data = new();
    private CofferProcess coffer = null!;

    private AdminCli Cli => new(coffer);

    public async ValueTask InitializeAsync() => coffer = await CofferProcess.ServeAsync(data);

    public async ValueTask DisposeAsync()
    {
        await coffer.DisposeAsync();
        data.Dispose();
    }

    [Fact]
    public async Task What_is_not_signed_in_time_is_shown_later_even_after_the_server_was_killed()
    {
        var app = await Cli.AppAsync("read");
        var key = await Cli.KeyAsync(app);
        (await Cli.WithKeyAsync(key, "secrets", "set", "k", "--payload", "p", "--account", "acct_1")).EndedWith(0);
        string id;
        await using (var reader = Beside.Start(Needs.OnPath("python3"), ["-c", Reading, data.File("coffer.db")]))
        {
            await reader.PrintedAsync("reading\n");
            var begun = Stopwatch.GetTimestamp();
            var forgotten = await Cli.RunAsync("accounts", "forget", "acct_1", "--app", app, "--yes", "--json");
            Assert.InRange(Stopwatch.GetElapsedTime(begun), TimeSpan.FromSeconds(9), TimeSpan.FromSeconds(40));
            var answer = JsonElement.Parse(forgotten.EndedWith(0).Stdout);
            (id, var status) = (Text(answer, "receipt_id"), Text(answer, "receipt_status"));
            Assert.Equal("pending", status);
            Assert.Contains($"coffer receipt show {id}", forgotten.Stderr, StringComparison.Ordinal);
            Assert.Contains("write_ahead_log_emptied", forgotten.Stderr, StringComparison.Ordinal);
            (await Cli.WithKeyAsync(key, "secrets", "find", "k", "--account", "acct_1")).EndedWith(1);

            var waiting = await Cli.RunAsync("receipt", "show", id);
            Assert.Contains("write_ahead_log_emptied", waiting.EndedWith(69).Stdout, StringComparison.Ordinal);
            Assert.Contains("is not signed yet", waiting.Stderr, StringComparison.Ordinal);
            await coffer.CrashAsync();
        }

        var adminKey = coffer.AdminKey;
        await using var again = await CofferProcess.ServeAsync(data);
        var environment = new Dictionary<string, string>
        { ["COFFER_URL"] = again.Url.ToString(), ["COFFER_ADMIN_KEY"] = adminKey };
        for (var tries = 0; ; tries++)
        {
            var shown = await Ran.ProgramAsync(Needs.Program, ["receipt", "show", id, "--json"], environment);
            if (shown.ExitCode == 69 && tries < 60)
                continue;
            var receipt = JsonElement.Parse(shown.EndedWith(0).Stdout);
            Assert.Equal(("signed", 3), (Text(receipt, "status"), Text(receipt, "receipt").Split('.').Length));
            break;
        }

        Assert.Contains("The receipt, for the person who asked:",
            (await Ran.ProgramAsync(Needs.Program, ["receipt", "show", id], environment)).EndedWith(0).Stdout,
            StringComparison.Ordinal);
    }
}
