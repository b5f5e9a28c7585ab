using System.Text;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Tests.Keys;

/// <summary>
/// A program that wraps: what it is given, what it may answer, and who may have written it (docs/keys.md).
/// </summary>
[Trait("Keys", "S19 S20")]
public sealed class ExecWrapperTests : IDisposable
{
    private static readonly RootKeyName Name = new(new byte[16], 3);

    private readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public async Task It_is_given_one_line_and_its_answer_is_what_it_wrapped()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no programs of this kind here");
        var wrapper = Program($$"""
            read -r line; printf '%s\n' "$line" >> {{directory.File("asked")}}
            data=$(printf '%s' "$line" | sed 's/.*"data":"\([^"]*\)".*/\1/')
            printf '{"data":"%s"}\n' "$(printf '%s' "$data" | base64 -d | tr 'a-y' 'b-z' | base64 -w0)"
            """);
        using var text = SecretBytes.Copy("abc"u8);
        var wrapped = await wrapper.WrapAsync(Name, text, default);
        Assert.Equal("bcd"u8.ToArray(), wrapped);
        using var unwrapped = await wrapper.UnwrapAsync(Name, wrapped, default);
        Assert.Equal("cde"u8.ToArray(), unwrapped!.Span.ToArray());
        var store = new string('0', 32);
        Assert.Equal(
        [
            $$"""{"v":1,"op":"wrap","store":"{{store}}","version":3,"data":"YWJj"}""",
            $$"""{"v":1,"op":"unwrap","store":"{{store}}","version":3,"data":"YmNk"}""",
        ], File.ReadLines(directory.File("asked")));
    }

    [Fact]
    public async Task Its_environment_is_clean_and_its_arguments_are_those_that_are_set()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no programs of this kind here");
        Environment.SetEnvironmentVariable("EXEC_WRAPPER_TOKEN", "named");
        Environment.SetEnvironmentVariable("COFFER_EXEC_WRAPPER_TEST", "named, and kept back");
        var wrapper = Program($$"""
            env > {{directory.File("env")}}; pwd > {{directory.File("pwd")}}
            printf '%s\n' "$@" > {{directory.File("args")}}
            cat > /dev/null; echo '{"data":"AA=="}'
            """, ["-a", "b c; touch /tmp/x"], ["EXEC_WRAPPER_TOKEN", "COFFER_EXEC_WRAPPER_TEST"]);
        using var text = SecretBytes.Copy("abc"u8);
        await wrapper.WrapAsync(Name, text, default);
        var names = File.ReadLines(directory.File("env")).Select(line => line.Split('=')[0])
            .Except(["PWD", "SHLVL", "_", "OLDPWD"]).Order().ToList();
        Assert.Subset(new HashSet<string> { "EXEC_WRAPPER_TOKEN", "HOME", "PATH" }, names.ToHashSet());
        Assert.Contains("EXEC_WRAPPER_TOKEN", names);
        Assert.Equal(["-a", "b c; touch /tmp/x"], File.ReadLines(directory.File("args")));
        Assert.Equal("/\n", File.ReadAllText(directory.File("pwd")));
    }

    [Theory]
    [InlineData("""echo '{"error":"it is locked","retry":true}'""", "the program says: it is locked", true)]
    [InlineData("""echo '{"error":"denied"}'; exit 1""", "the program says: denied", false)]
    [InlineData("echo not json", "no answer", false)]
    [InlineData("echo '[1,2]'", "no answer", false)]
    [InlineData("echo '{\"data\":\"?\"}'", "no answer", false)]
    [InlineData("echo '{\"data\":\"AA==\"}'; exit 3", "ended with 3", false)]
    [InlineData("echo broken >&2; exit 1", "ended with 1 (broken)", false)]
    [InlineData("head -c 200000 /dev/zero", "no answer", false)]
    [InlineData("head -c 200000 /dev/zero >&2; exit 1", "ended with 1", false)]
    [InlineData("exit 0", "no answer", false)]
    public async Task What_it_does_not_do_is_said_in_a_sentence(string script, string expected, bool mayPass)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no programs of this kind here");
        using var text = SecretBytes.Copy("abc"u8);
        var failed = await Assert.ThrowsAsync<KeyServiceException>(
            () => Program(script).WrapAsync(Name, text, default));
        Assert.Contains(expected, failed.Message, StringComparison.Ordinal);
        Assert.Equal(mayPass, failed.MayPass);
        Assert.DoesNotContain(failed.Message, char.IsControl);
        Assert.InRange(failed.Message.Length, 1, 700);
    }

    [Fact]
    public async Task One_that_hangs_is_ended_with_its_children()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no programs of this kind here");
        var wrapper = Program($"sleep 300 & echo $! > {directory.File("child")}; wait");
        wrapper.Patience = TimeSpan.FromSeconds(1);
        using var text = SecretBytes.Copy("abc"u8);
        var failed = await Assert.ThrowsAsync<KeyServiceException>(() => wrapper.WrapAsync(Name, text, default));
        Assert.True(failed.MayPass);
        var child = File.ReadAllText(directory.File("child")).Trim();
        for (var tries = 0; Directory.Exists($"/proc/{child}") && tries < 50; tries++)
            await Task.Delay(100);
        Assert.False(Directory.Exists($"/proc/{child}")
            && !File.ReadAllText($"/proc/{child}/status").Contains("Z (zombie)", StringComparison.Ordinal));
    }

    [Fact]
    public async Task One_that_others_may_write_or_that_is_a_link_is_not_started()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no programs of this kind here");
        if (OperatingSystem.IsWindows())
            return;
        var script = "touch " + directory.File("started");
        using var text = SecretBytes.Copy("abc"u8);
        var writable = Program(script);
        File.SetUnixFileMode(directory.File("program"), (UnixFileMode)0b111_111_111);
        var link = directory.File("link");
        File.CreateSymbolicLink(link, directory.File("program"));
        var below = Path.Combine(directory.File("open"), "program");
        Directory.CreateDirectory(directory.File("open"));
        File.SetUnixFileMode(directory.File("open"), (UnixFileMode)0b111_111_111);
        File.WriteAllText(below, "#!/bin/sh\n" + script);
        File.SetUnixFileMode(below, (UnixFileMode)0b111_000_000);
        foreach (var (wrapper, expected) in ((ExecWrapper, string)[])[
            (writable, "can be written by others"), (new ExecWrapper(link, [], []), "is a link"),
            (new ExecWrapper(below, [], []), "can be written by others"),
            (new ExecWrapper(directory.File("none"), [], []), "does not exist")])
        {
            var failed = await Assert.ThrowsAsync<KeyServiceException>(() => wrapper.WrapAsync(Name, text, default));
            Assert.Contains(expected, failed.Message, StringComparison.Ordinal);
        }

        Assert.False(File.Exists(directory.File("started")));
    }

    [Fact]
    public async Task A_start_asks_again_while_a_wrapper_may_come_back_and_takes_the_first_that_is_right()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no programs of this kind here");
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var there = directory.File("there");
        Program($$"""
            read -r line
            if [ ! -e {{there}} ]; then echo '{"error":"away","retry":true}'; exit; fi
            printf '{"data":"%s"}\n' "$(printf '%s' "$line" | sed 's/.*"data":"\([^"]*\)".*/\1/')"
            """);
        var urls = (WrapperUrl[])[WrapperUrl.Of(Path.Combine(server.Data, "coffer.key")),
            new WrapperUrl(WrapperUrl.Exec, directory.File("program"))];
        File.WriteAllText(there, "");
        await server.StartAgainAsync(with: options => options with { RootKey = new KeySettings(urls) });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"{urls[1]}")])).IsOk();
        await server.StopAsync();

        File.Delete(there);
        // The file opens it, whoever is away.
        await server.StartAgainAsync(with: options => options with { RootKey = new KeySettings([urls[1], urls[0]]) });
        (await server.Client().Set("k")).IsOk();
        var refused = (await server.Admin.Post("/admin/v1/root_keys/rotate", [])).IsError(
            503, "key_service_unavailable", null, type: "api_error");
        Assert.Contains("away", refused.Text, StringComparison.Ordinal);
        await server.StopAsync();

        var only = new KeySettings([urls[1]]) { Patience = TimeSpan.FromSeconds(1) };
        var failed = await Assert.ThrowsAsync<KeyServiceException>(
            () => server.StartAgainAsync(with: options => options with { RootKey = only }));
        Assert.Contains("away", failed.Message, StringComparison.Ordinal);
        _ = Task.Delay(1500).ContinueWith(_ => File.WriteAllText(there, ""), TaskScheduler.Default);
        await server.StartAgainAsync(with: options => options with
        {
            RootKey = only with { Patience = TimeSpan.FromSeconds(30) },
        });
        (await server.Client().Find("k")).IsOk();
    }

    [Fact]
    public async Task A_wrapper_that_gives_another_key_is_named_and_the_next_is_asked()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no programs of this kind here");
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var liar = directory.File("lies");
        Program($$"""
            read -r line
            if [ -e {{liar}} ]; then echo '{"data":"{{Convert.ToBase64String(Text(9))}}"}'; exit; fi
            printf '{"data":"%s"}\n' "$(printf '%s' "$line" | sed 's/.*"data":"\([^"]*\)".*/\1/')"
            """);
        var urls = (WrapperUrl[])[new WrapperUrl(WrapperUrl.Exec, directory.File("program")),
            WrapperUrl.Of(Path.Combine(server.Data, "coffer.key"))];
        await server.StartAgainAsync(with: options => options with { RootKey = new KeySettings(urls) });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"{urls[0]}")])).IsOk();
        await server.StopAsync();
        File.WriteAllText(liar, "");
        await server.StartAgainAsync(with: options => options with { RootKey = new KeySettings(urls) });
        (await server.Admin.Post("/admin/v1/root_keys/rewrap", [])).IsError(
            503, "key_service_unavailable", null, type: "api_error");
        await server.StopAsync();
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => server.StartAgainAsync(
            with: options => options with { RootKey = new KeySettings([urls[0]]) }));
        Assert.Contains("does not give root key 1", refused.Message, StringComparison.Ordinal);
    }

    private static byte[] Text(uint version)
    {
        using var key = RootKeys.Generate(version);
        using var copy = key.Copy();
        using var text = new RootKeyName(new byte[16], version).Text(copy.Span);
        return text.Span.ToArray();
    }

    private ExecWrapper Program(string script, string[]? arguments = null, string[]? environment = null)
    {
        var path = directory.File("program");
        File.WriteAllText(path, "#!/bin/sh\n" + script + "\n", new UTF8Encoding(false));
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return new ExecWrapper(path, arguments ?? [], environment ?? []);
    }
}
