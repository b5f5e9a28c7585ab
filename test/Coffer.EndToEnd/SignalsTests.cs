using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>What a server does at the signals of a system that starts and stops it.</summary>
[Trait("Firm edges", "6")]
[Trait("Build", "both")]
public sealed class SignalsTests
{
    [Fact]
    public async Task SIGHUP_has_serve_read_its_certificate_again_and_SIGTERM_drains_first()
    {
        using var data = new TemporaryDirectory();
        using var files = new TemporaryDirectory();
        var pem = PemPair.Make(files);
        await using var coffer = await CofferProcess.ServeAsync(data, "--listen", "https://127.0.0.1:0", "--tls-cert",
            pem.Cert, "--tls-key", pem.Key, "--drain", "60");
        using var client = pem.Client(coffer.Url);
        coffer.Signal(Signals.Hup);
        await Until.SoAsync("the certificate is read again",
            () => coffer.Stderr.Contains("was read again", StringComparison.Ordinal), TimeSpan.FromSeconds(10),
            () => coffer.Stderr);
        Assert.Equal(HttpStatusCode.OK, await ReadyAsync());
        coffer.Signal();
        await Until.SoAsync("it is not ready", async () => await ReadyAsync() == HttpStatusCode.ServiceUnavailable,
            TimeSpan.FromSeconds(10), () => coffer.Stderr);
        using var alive = await client.GetAsync(new Uri("/healthz", UriKind.Relative),
            TestContext.Current.CancellationToken);
        Assert.Equal((HttpStatusCode.OK, true), (alive.StatusCode, alive.Headers.ConnectionClose));
        var began = Stopwatch.StartNew();
        coffer.Signal(); // a second one: at once
        Assert.Equal(0, await coffer.ExitAsync());
        Assert.True(began.Elapsed < TimeSpan.FromSeconds(8), $"{began.Elapsed}");

        async Task<HttpStatusCode> ReadyAsync()
        {
            using var answer = await client.GetAsync(new Uri("/readyz", UriKind.Relative),
                TestContext.Current.CancellationToken);
            return answer.StatusCode;
        }
    }

    [Theory]
    [InlineData(Signals.Hup)]
    [InlineData(Signals.Int)]
    public async Task The_temporary_store_of_dev_is_gone_after_each_signal_that_ends_it(int signal)
    {
        await using var coffer = await CofferProcess.DevAsync();
        Assert.Single(coffer.TemporaryStores);
        coffer.Signal(signal);
        Assert.Equal(0, await coffer.ExitAsync());
        Assert.Empty(coffer.TemporaryStores);
    }

    [Fact]
    public async Task SIGTERM_ends_a_start_that_waits_for_a_database()
    {
        using var data = new TemporaryDirectory();
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        var port = ((IPEndPoint)silent.LocalEndpoint).Port;
        await using var starting = Beside.Start(Needs.Program, ["serve", "--data", data.Path, "--listen",
            "http://127.0.0.1:0", "--store", $"Host=127.0.0.1;Port={port};Timeout=60;Username=u"]);
        await Until.SoAsync("the database is asked", silent.Pending, instead: () => starting.Stderr);
        using var asked = await silent.AcceptTcpClientAsync(TestContext.Current.CancellationToken);
        var began = Stopwatch.StartNew();
        starting.Signal(Signals.Term);
        Assert.Equal(0, await starting.ExitAsync());
        Assert.True(began.Elapsed < TimeSpan.FromSeconds(5), $"{began.Elapsed}");
    }

    [Fact]
    [Trait("Firm edges", "5")]
    public async Task A_second_start_that_is_refused_leaves_the_ready_file_of_the_first()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        var before = await File.ReadAllTextAsync(coffer.ReadyFile, TestContext.Current.CancellationToken);
        (await Ran.CofferAsync("serve", "--data", data.Path, "--listen", "http://127.0.0.1:0", "--ready-file",
            coffer.ReadyFile)).Refused(78, "another process uses");
        using var other = new TemporaryDirectory();
        (await Ran.CofferAsync("serve", "--data", other.Path, "--listen", coffer.Url.ToString().TrimEnd('/'),
            "--ready-file", coffer.ReadyFile)).Refused(78, "cannot listen");
        Assert.Equal(before, await File.ReadAllTextAsync(coffer.ReadyFile, TestContext.Current.CancellationToken));
    }
}
