using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The pages of docs/operate, each run as it stands in one shell, where <c>systemctl</c> starts and stops a server as a
/// unit of that name would.
/// </summary>
public sealed class OperateTests
{
    // A page starts the program two dozen times.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    // The unit: its settings are a file, and it is ready when it says so.
    private const string Unit = """
        set -eu
        exec 2>&1
        coffer() { "$PROGRAM" "$@"; }
        systemctl() {
          case $1 in
            start)
              rm -f ready.json
              "$PROGRAM" serve --config "$CONFIG" --ready-file ready.json > server.log 2>&1 & SERVER=$!
              until [ -s ready.json ]; do
                kill -0 $SERVER 2>/dev/null || { cat server.log; return 1; }
                sleep 0.05
              done ;;
            stop)
              kill $SERVER
              for i in $(seq 600); do
                kill -0 $SERVER 2>/dev/null || { wait $SERVER; return 0; }
                sleep 0.05
              done
              echo "the server does not stop"; cat server.log; return 1 ;;
            restart) systemctl stop && systemctl start ;;
          esac
        }
        trap 'kill $SERVER 2>/dev/null && wait $SERVER || true' EXIT
        systemctl start
        export COFFER_ADMIN_KEY=$(jq -r .admin_key ready.json) COFFER_API_KEY=$(jq -r .test_secret_key ready.json)
        APP=$(coffer apps list --json | jq -r '.[0].id')
        printf %s "token of one" | coffer secrets set crm-token --account acct_1
        # Here the page begins.

        """;

    [Theory]
    [InlineData("back-up-and-restore")]
    [InlineData("rotate-keys")]
    [InlineData("move-to-a-kms")]
    [InlineData("lost-and-leaked")]
    public async Task A_page_for_operators_does_what_it_says(string page)
    {
        Needs.OnPath("jq");
        var transcript = new Transcript($"docs/operate/{page}.md");
        using var folder = new TemporaryDirectory();
        var variables = new Dictionary<string, string>
        {
            ["PROGRAM"] = Needs.Program,
            ["CONFIG"] = folder.File("coffer.conf"),
            ["DATA"] = folder.File("data"),
            ["NEW"] = folder.File("new"),
            ["SHARES"] = folder.File("shares"),
        };
        foreach (var name in (string[])["BACKUPS", "SAFE"])
            variables[name] = Directory.CreateDirectory(folder.File(name)).FullName;
        var url = $"http://127.0.0.1:{PostgresPrograms.FreePort()}";
        variables["COFFER_URL"] = url;
        string[] settings = [$"data = {folder.File("data")}", $"listen = {url}", "drain = 0"];
        if (page == "move-to-a-kms")
        {
            (await Ran.ProgramAsync(Needs.OnPath("age-keygen"), ["-o", folder.File("age.key")])).EndedWith(0);
            variables["KMS"] = $"exec:{Path.Combine(Needs.Repository, "examples", "root-keys", "age")}";
            settings = [.. settings, $"root-key-exec-arguments = {folder.File("age.key")}"];
        }

        await File.WriteAllLinesAsync(folder.File("coffer.conf"), settings, TestContext.Current.CancellationToken);
        Assert.InRange(transcript.Expected.Count, 6, 30);
        Assert.All(transcript.Blocks, block => Assert.Equal("sh", block.Language));
        var script = $"cd '{folder.Path}'\n{Unit}{string.Concat(transcript.Blocks.Select(block => block.Text))}";
        var ran = await Ran.ProgramAsync("/bin/sh", ["-c", script], variables, patience: Patience);
        transcript.AssertPrinted(ran.Stdout, $"ended with {ran.ExitCode}");
        ran.EndedWith(0);
    }
}
