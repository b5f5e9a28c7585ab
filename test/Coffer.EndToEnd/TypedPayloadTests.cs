namespace Coffer.EndToEnd;

/// <summary>What is typed or pasted at the prompt is kept whole, or nothing of it is.</summary>
[Trait("Reports from the field", "R2-18")]
public sealed class TypedPayloadTests(ServedStore store) : IClassFixture<ServedStore>
{
    private const string Pem = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";

    [Fact]
    public async Task One_line_is_the_payload_and_is_not_shown()
    {
        var ran = (await TypeAsync("tok en\r", "secrets", "set", "typed")).EndedWith(0);
        Assert.Contains("Payload:", ran.Stdout, StringComparison.Ordinal);
        Assert.DoesNotContain("tok en", ran.Stdout.Replace("^M", "", StringComparison.Ordinal).Split("Payload:")[^1],
            StringComparison.Ordinal);
        Assert.Equal("tok en", await FindAsync("typed"));
    }

    [Theory]
    [InlineData(Pem)]
    [InlineData("one\ntwo")]
    [InlineData("one\r\rthree\r")]
    public async Task More_than_one_line_is_refused_and_nothing_of_it_is_stored_or_run(string pasted)
    {
        var name = $"pasted {pasted.Length}";
        // What is left of it would be read by what comes after it at the same terminal.
        var ran = await ShellAtTerminalAsync(pasted, $"coffer secrets set '{name}'; echo \"ended with $?\"; "
            + "IFS= read -r -t 1 left; echo \"left [$left]\"");
        Assert.Contains("more than one line was given", ran.Stdout, StringComparison.Ordinal);
        Assert.Contains("ended with 65", ran.Stdout, StringComparison.Ordinal);
        Assert.Contains("left []", ran.Stdout, StringComparison.Ordinal);
        Assert.Null(await FindAsync(name));
    }

    [Fact]
    public async Task Through_a_pipe_or_from_a_file_several_lines_are_the_payload()
    {
        using var directory = new TemporaryDirectory();
        await File.WriteAllTextAsync(directory.File("pem"), Pem, TestContext.Current.CancellationToken);
        (await Ran.ProgramAsync(Needs.Program, ["secrets", "set", "piped"], Variables(),
            System.Text.Encoding.UTF8.GetBytes(Pem))).EndedWith(0);
        (await Ran.ProgramAsync(Needs.Program, ["secrets", "set", "filed", "--payload-file", directory.File("pem")],
            Variables())).EndedWith(0);
        Assert.Equal((Pem, Pem), (await FindAsync("piped"), await FindAsync("filed")));
    }

    [Theory]
    [InlineData("token\n", true)]
    [InlineData("token\r\n", true)]
    [InlineData("token", false)]
    [InlineData("two\nlines\n", false)]
    [InlineData("\n", false)]
    public async Task A_line_break_after_one_line_is_stored_and_said(string payload, bool isSaid)
    {
        var name = $"ends {payload.Length} {isSaid}";
        var ran = (await Ran.ProgramAsync(Needs.Program, ["secrets", "set", name, "--json"], Variables(),
            System.Text.Encoding.UTF8.GetBytes(payload))).EndedWith(0);
        Assert.Equal(isSaid ? "coffer: note: the payload ends in a line break, which is stored too\n" : "", ran.Stderr);
        Assert.StartsWith("{", ran.Stdout, StringComparison.Ordinal);
        Assert.Equal(payload, await FindAsync(name));
    }

    private Task<Ran> TypeAsync(string typed, params string[] arguments) =>
        ShellAtTerminalAsync(typed, $"coffer {string.Join(' ', arguments)}");

    private Task<Ran> ShellAtTerminalAsync(string typed, string line) => AtTerminal.RunAsync(
        Needs.OnPath("bash"), ["-c", line],
        new Dictionary<string, string>(Variables())
        {
            ["PATH"] = $"{Path.GetDirectoryName(Needs.Program)}:{Environment.GetEnvironmentVariable("PATH")}",
        }, ("Payload:", typed));

    private async Task<string?> FindAsync(string name)
    {
        var ran = await Ran.ProgramAsync(Needs.Program, ["secrets", "find", name, "--raw"], Variables());
        return ran.ExitCode == 1 ? null : ran.EndedWith(0).Stdout;
    }

    private Dictionary<string, string> Variables() =>
        new() { ["COFFER_URL"] = store.Coffer.Url.ToString(), ["COFFER_API_KEY"] = store.Coffer.TestKey };
}
