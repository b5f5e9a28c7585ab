using System.Net;
using System.Net.Sockets;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// Root keys wrapped by real programs, as examples/root-keys has them: age, a TPM, and a Tang server that goes away.
/// </summary>
[Trait("Keys", "S19 S20")]
public sealed class WrapperProgramTests
{
    private const string Root = "/admin/v1/root_keys";

    [Fact]
    public async Task Age_wraps_and_another_identity_opens_nothing()
    {
        using var data = new TemporaryDirectory();
        foreach (var name in (string[])["one.key", "other.key"])
            (await Ran.ProgramAsync(Needs.OnPath("age-keygen"), ["-o", data.File(name)])).EndedWith(0);
        await ServesAndRotatesAsync(data, "age", data.File("one.key"));
        Assert.False(File.Exists(Path.Combine(data.File("store"), "coffer.key")));
        var refused = await Assert.ThrowsAsync<EndedException>(
            () => StartAsync(data, "age", data.File("other.key")));
        Assert.Equal(75, refused.Exit);
        Assert.Contains("no identity matched any of the recipients", refused.Message, StringComparison.Ordinal);
        await ServesAsync(data, "age", data.File("one.key"));
    }

    [Fact]
    public async Task A_TPM_unwraps_until_what_it_measured_is_another()
    {
        using var data = new TemporaryDirectory();
        var port = FreePair();
        await using var tpm = Beside.Start(Needs.OnPath("swtpm"), ["socket", "--tpm2", "--tpmstate",
            $"dir={Made(data, "tpm")}", "--flags", "not-need-init,startup-clear", "--server",
            $"type=tcp,port={port},bindaddr=127.0.0.1,disconnect", "--ctrl",
            $"type=tcp,port={port + 1},bindaddr=127.0.0.1"]);
        await Until.ListensAsync(port, () => tpm.HasEnded, () => tpm.Stderr);
        string[] pin = ["tpm2", """{"pcr_bank":"sha256","pcr_ids":"7"}"""];
        var environment = new Dictionary<string, string> { ["TPM2TOOLS_TCTI"] = $"swtpm:host=127.0.0.1,port={port}" };
        await ServesAndRotatesAsync(data, "clevis", string.Join(' ', pin), environment);
        var measured = $"7:sha256={new string('a', 64)}";
        (await Ran.ProgramAsync(Needs.OnPath("tpm2_pcrextend"), [measured], environment)).EndedWith(0);
        var refused = await Assert.ThrowsAsync<EndedException>(
            () => StartAsync(data, "clevis", string.Join(' ', pin), environment));
        Assert.Equal(75, refused.Exit);
    }

    [Fact]
    public async Task A_key_service_that_goes_away_is_of_no_concern_to_a_server_that_runs_and_is_waited_for_at_a_start()
    {
        using var data = new TemporaryDirectory();
        var (port, keys) = (PostgresPrograms.FreePort(), Made(data, "tang"));
        (await Ran.ProgramAsync("/usr/libexec/tangd-keygen", [keys])).EndedWith(0);
        string[] served = [$"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", $"EXEC:/usr/libexec/tangd {keys}"];
        string pin;
        await using (var tang = Beside.Start(Needs.OnPath("socat"), served))
        {
            await Until.ListensAsync(port, () => tang.HasEnded, () => tang.Stderr);
            var thumbprint = (await Ran.ProgramAsync(Needs.OnPath("tang-show-keys"), [$"{port}"])).EndedWith(0)
                .Stdout.Trim();
            pin = $$"""tang {"url":"http://127.0.0.1:{{port}}","thp":"{{thumbprint}}"}""";
            await using var coffer = await StartAsync(data, "clevis", pin);
            await File.WriteAllTextAsync(data.File("admin"), $"{coffer.AdminKey} {coffer.TestKey}");
            await tang.DisposeAsync();
            using var client = new WireClient(coffer.Url, coffer.TestKey);
            (await client.SetAsync("k", "stored while it is away")).Is(200);
            using var operating = new WireClient(coffer.Url, coffer.AdminKey);
            var refused = (await operating.PostAsync($"{Root}/rotate", [])).Is(503);
            Assert.Equal("key_service_unavailable", refused.ErrorCode);
            (await operating.GetAsync("/readyz")).Is(200);
        }

        var ended = await Assert.ThrowsAsync<EndedException>(
            () => StartAsync(data, "clevis", pin, more: ["--root-key-wait", "1"]));
        Assert.Equal(75, ended.Exit);
        var starting = StartAsync(data, "clevis", pin, more: ["--root-key-wait", "60"]);
        try
        {
            await Task.Delay(TimeSpan.FromSeconds(2), TestContext.Current.CancellationToken);
            Assert.False(starting.IsCompleted);
            await using var back = Beside.Start(Needs.OnPath("socat"), served);
            var key = (await File.ReadAllTextAsync(data.File("admin"))).Split(' ')[1];
            using var reading = new WireClient((await starting).Url, key);
            Assert.Equal("stored while it is away", (await reading.FindAsync("k")).Is(200).Payload);
        }
        finally
        {
            await (await starting).DisposeAsync();
        }
    }

    private static async Task ServesAndRotatesAsync(
        TemporaryDirectory data, string program, string arguments, Dictionary<string, string>? environment = null)
    {
        await using (var coffer = await StartAsync(data, program, arguments, environment))
        {
            await File.WriteAllTextAsync(data.File("admin"), $"{coffer.AdminKey} {coffer.TestKey}");
            using var client = new WireClient(coffer.Url, coffer.TestKey);
            (await client.SetAsync("k", "kept")).Is(200);
            Assert.Contains("done", await new AdminCli(coffer).OkAsync("root-keys", "rotate"),
                StringComparison.Ordinal);
        }

        await ServesAsync(data, program, arguments, environment);
    }

    private static async Task ServesAsync(
        TemporaryDirectory data, string program, string arguments, Dictionary<string, string>? environment = null)
    {
        await using var coffer = await StartAsync(data, program, arguments, environment);
        using var client = new WireClient(coffer.Url, (await File.ReadAllTextAsync(data.File("admin"))).Split(' ')[1]);
        Assert.Equal("kept", (await client.FindAsync("k")).Is(200).Payload);
    }

    private static Task<CofferProcess> StartAsync(TemporaryDirectory data, string program, string arguments,
        Dictionary<string, string>? environment = null, params string[] more) => CofferProcess.StartAsync(
        [
            "serve", "--data", data.File("store"), "--root-key",
            $"exec:{Path.Combine(Needs.Repository, "examples", "root-keys", program)}",
            "--root-key-exec-arguments", arguments, "--root-key-exec-environment", "TPM2TOOLS_TCTI", .. more,
        ], environment: environment);

    private static string Made(TemporaryDirectory data, string name) =>
        Directory.CreateDirectory(data.File(name)).FullName;

    /// <summary>The first of two free ports that follow each other.</summary>
    private static int FreePair()
    {
        while (true)
        {
            var port = PostgresPrograms.FreePort();
            try
            {
                using var next = new TcpListener(IPAddress.Loopback, port + 1);
                next.Start();
                return port;
            }
            catch (SocketException)
            {
                // Somebody has that one.
            }
        }
    }
}
