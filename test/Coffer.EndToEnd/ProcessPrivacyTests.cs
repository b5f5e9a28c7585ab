using System.Net;
using System.Net.Sockets;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// What is in a server's memory stays there: no core dump, no debugger, no diagnostics socket, unless asked for.
/// </summary>
[Trait("Build", "both")]
[Trait("Firm ground", "17")]
public sealed class ProcessPrivacyTests
{
    private static readonly Dictionary<string, string> AskedFor = new() { ["DOTNET_EnableDiagnostics"] = "1" };

    [Theory]
    [InlineData("serve")]
    [InlineData("dev")]
    public async Task A_server_has_no_diagnostics_socket_and_leaves_no_core_dump(string verb)
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.StartAsync([verb, "--data", data.Path]);
        Assert.Empty(Sockets(coffer));
        Assert.Equal("0", CoreLimit(coffer));
        // What a process may not be dumped by is root's: nobody else's debugger attaches.
        Assert.Equal("0", await OwnerAsync($"/proc/{coffer.Pid}/mem"));
        Assert.Equal(verb, Arguments(coffer)[1]);
        Assert.Empty(coffer.Complaints);
    }

    [Fact]
    public async Task A_server_that_is_asked_for_them_has_both()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.StartAsync(["serve", "--data", data.Path], environment: AskedFor);
        Assert.Equal(Needs.IsNative, !Sockets(coffer).Any()); // a native build has none to give
        Assert.Equal(await LimitOfTestsAsync(), CoreLimit(coffer));
    }

    [Fact]
    public async Task A_server_that_was_told_so_already_begins_once()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.StartAsync(
            ["serve", "--data", data.Path],
            environment: new Dictionary<string, string> { ["DOTNET_EnableDiagnostics"] = "0" });
        Assert.Empty(Sockets(coffer));
        Assert.Equal("0", CoreLimit(coffer));
    }

    [Theory]
    [Trait("Reports from the field", "R2-16")]
    [InlineData("--key", "sk_test_canary")]
    [InlineData("--key=sk_test_canary")]
    public async Task A_key_among_the_arguments_is_used_and_not_listed(params string[] key)
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.StartAsync(["dev", "--data", data.Path, .. key]);
        Assert.Equal(key.Length == 2 ? "--key [redacted]" : "--key=[redacted]",
            string.Join(' ', Arguments(coffer).SkipWhile(word => !word.StartsWith("--key", StringComparison.Ordinal))
                .TakeWhile(word => word.Contains("--key", StringComparison.Ordinal) || word == "[redacted]")));
        Assert.DoesNotContain("canary", string.Join(' ', Arguments(coffer)), StringComparison.Ordinal);
        Assert.Equal("sk_test_canary", coffer.TestKey);
        Assert.Equal("0", await OwnerAsync($"/proc/{coffer.Pid}/environ"));
    }

    [Fact]
    [Trait("Reports from the field", "R2-16")]
    public async Task A_connection_string_among_the_arguments_is_used_and_not_shown()
    {
        using var data = new TemporaryDirectory();
        const string Store = "Host=127.0.0.1;Port=1;Timeout=1;Database=mine;Password=canary";
        foreach (var arguments in (string[][])[["serve", "--store", Store], ["serve", $"--store={Store}"],
            ["audit", "verify", "--store", Store]])
        {
            var ran = await Ran.CofferAsync([.. arguments, "--data", data.Path]);
            Assert.Equal(78, ran.ExitCode);
            Assert.Contains("the database mine at 127.0.0.1", ran.Stderr, StringComparison.Ordinal);
            Assert.DoesNotContain("canary", ran.Stderr + ran.Stdout, StringComparison.Ordinal);
        }
    }

    [Fact]
    [Trait("Reports from the field", "R2-16")]
    public async Task A_password_of_a_proxy_among_the_arguments_of_any_verb_is_not_listed()
    {
        using var proxy = new TcpListener(IPAddress.Loopback, 0); // it never answers
        proxy.Start();
        var port = ((IPEndPoint)proxy.LocalEndpoint).Port;
        await using var asking = Beside.Start(Needs.Program, ["apps", "list", "--url", "https://coffer.invalid",
            "--proxy", $"http://me:canary@127.0.0.1:{port}"],
            new Dictionary<string, string> { ["COFFER_ADMIN_KEY"] = "ak_x" });
        await Until.SoAsync("the proxy is asked", proxy.Pending, instead: () => asking.Stderr);
        var listed = (await File.ReadAllTextAsync($"/proc/{asking.Pid}/cmdline",
            TestContext.Current.CancellationToken)).Split('\0');
        Assert.Equal("[redacted]", listed[Array.IndexOf(listed, "--proxy") + 1]);
    }

    [Fact]
    public async Task Arguments_pass_as_they_are_and_so_does_what_the_program_ends_with()
    {
        using var data = new TemporaryDirectory();
        var odd = data.File("a b\"c'd\\é");
        Directory.CreateDirectory(odd);
        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", odd]))
        {
            Assert.True(File.Exists(Path.Combine(odd, "coffer.db")));
            Assert.Equal(0, await coffer.StopAsync());
        }

        (await Ran.CofferAsync("serve", "--data", "", "--listen", "http://127.0.0.1:0")).Refused(78, "--data");
    }

    private static IEnumerable<string> Sockets(CofferProcess coffer) =>
        Directory.EnumerateFileSystemEntries(Path.GetDirectoryName(coffer.ReadyFile)!)
            .Select(entry => Path.GetFileName(entry))
            .Where(name => name.StartsWith("dotnet-diagnostic", StringComparison.Ordinal)
                || name.StartsWith("clr-debug", StringComparison.Ordinal));

    private static string CoreLimit(CofferProcess coffer) => File.ReadLines($"/proc/{coffer.Pid}/limits")
        .Single(line => line.StartsWith("Max core file size", StringComparison.Ordinal))
        .Split("  ", StringSplitOptions.RemoveEmptyEntries)[1].Trim();

    private static string[] Arguments(CofferProcess coffer) =>
        File.ReadAllText($"/proc/{coffer.Pid}/cmdline").Split('\0');

    private static async Task<string> OwnerAsync(string path) =>
        (await Ran.ShellAsync($"stat -c %u {path}")).EndedWith(0).Stdout.Trim();

    // A shell counts it in blocks of 512 bytes.
    private static async Task<string> LimitOfTestsAsync()
    {
        var limit = (await Ran.ShellAsync("ulimit -S -c")).EndedWith(0).Stdout.Trim();
        return long.TryParse(limit, out var blocks) ? $"{blocks * 512}" : limit;
    }
}
