using System.Net.Sockets;
using System.Text;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>With an embedded store the threads that read connections answer by themselves what is brief.</summary>
[Trait("Build", "both")]
[Trait("Fast", "1")]
public sealed class ReadingThreadTests
{
    private const string Switch = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";

    private const long MostMeanwhile = 10_000_000;

    [Fact]
    public async Task There_is_one_for_each_processor_unless_who_starts_the_program_or_the_store_has_it_otherwise()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "It is Linux that names threads.");
        Assert.SkipUnless(Environment.ProcessorCount is > 1 and < 32, "The runtime has one anyway, or several.");
        Assert.Equal(Environment.ProcessorCount, await ReadersAsync(null));
        Assert.Equal(1, await ReadersAsync("0"));
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        Assert.Equal(1, await ReadersAsync(null, "--store", cluster.Store()));
    }

    [Fact]
    public async Task Who_sends_requests_without_end_on_one_connection_keeps_nobody_else_waiting()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data, "--rate-per-key", "1000000");
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("k", "p")).Is(200);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        // More of them than threads that read, so that all of those have some.
        var flood = new Flood();
        var floods = Enumerable.Range(0, 2 * Environment.ProcessorCount)
            .Select(_ => flood.RunAsync(coffer, stop.Token)).ToList();
        await Until.SoAsync("all are answered", () => flood.Bytes > 1_000_000);
        var most = 0L;
        for (var round = 0; round < 20; round++)
        {
            using var other = new WireClient(coffer.Url, coffer.TestKey); // by a new connection each time
            var before = flood.Bytes;
            (await other.FindBareAsync("k")).Is(200);
            most = Math.Max(most, flood.Bytes - before);
        }

        await stop.CancelAsync();
        await Task.WhenAll(floods);
        TestContext.Current.TestOutputHelper?.WriteLine($"at most {most} bytes of answers meanwhile");
        // Not by the clock: what slows this down slows them too. An answer has about 1,300 bytes.
        Assert.InRange(most, 0, MostMeanwhile);
    }

    // Sends finds as fast as the server reads them, and reads what comes.
    private sealed class Flood
    {
        private long bytes;

        public long Bytes => Volatile.Read(ref bytes);

        public async Task RunAsync(CofferProcess coffer, CancellationToken ct)
        {
            var request = "GET /v1/apps/secrets/find?name=k&scope[type]=account HTTP/1.1\r\nHost: a\r\n"
                + $"Authorization: Bearer {coffer.TestKey}\r\n\r\n";
            var many = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(request, 200)));
            using var connection = new TcpClient();
            await connection.ConnectAsync(coffer.Url.Host, coffer.Url.Port, ct);
            var stream = connection.GetStream();
            var buffer = new byte[64 * 1024];
            var sending = Task.Run(async () =>
            {
                while (!ct.IsCancellationRequested)
                    await stream.WriteAsync(many, ct);
            }, CancellationToken.None);
            try
            {
                while (await stream.ReadAsync(buffer, ct) is var count and > 0)
                    Interlocked.Add(ref bytes, count);
            }
            catch (OperationCanceledException)
            {
                // It is over.
            }

            await sending.ContinueWith(static _ => { }, TaskScheduler.Default);
        }
    }

    private static async Task<int> ReadersAsync(string? asked, params string[] more)
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.StartAsync(["serve", "--data", data.Path, .. more],
            environment: asked is null ? null : new Dictionary<string, string> { [Switch] = asked });
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("k", "p")).Is(200);
        return Directory.EnumerateDirectories($"/proc/{coffer.Pid}/task")
            .Select(thread => File.ReadAllText(Path.Combine(thread, "comm")))
            .Count(name => name.StartsWith(".NET Sockets", StringComparison.Ordinal));
    }
}
