using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>How much of the process's memory a client can take with requests that it does not finish.</summary>
public sealed partial class HeldHeadTests
{
    [Fact]
    [Trait("Firm ground", "7")]
    public async Task A_thousand_unfinished_heads_cost_their_own_bytes_and_little_more()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "It is Linux that is asked.");
        const int Connections = 1_000;
        var head = Encoding.ASCII.GetBytes($"GET /?{new string('q', 65_000)} HTTP/1.1\r\nHost: a\r\nX: ");
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        using (var client = new WireClient(coffer.Url, coffer.TestKey))
            (await client.SetAsync("k", "p")).Is(200);
        var before = await MemoryAsync(coffer);
        var sockets = new List<Socket>();
        var most = 0L;
        for (var number = 0; number < Connections; number++)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Parse($"127.0.1.{1 + number % 50}"), 0));
            await socket.ConnectAsync(IPAddress.Parse(coffer.Url.Host), coffer.Url.Port,
                TestContext.Current.CancellationToken);
            await socket.SendAsync(head);
            sockets.Add(socket);
            if (number % 50 == 0)
                most = Math.Max(most, await MemoryAsync(coffer));
        }

        most = Math.Max(most, await MemoryAsync(coffer)) - before;
        sockets.ForEach(socket => socket.Dispose());
        // 8 KiB more each, and young memory that is not collected yet. It was four times the bytes of the heads.
        Assert.InRange(most, 0, Connections * (head.Length + 8L * 1024) + 32L * 1024 * 1024);
        using var after = new WireClient(coffer.Url, coffer.TestKey);
        (await after.SetAsync("k", "p")).Is(200);
    }

    private static async Task<long> MemoryAsync(CofferProcess coffer) => 1024 * long.Parse(
        Anonymous().Match(
            await File.ReadAllTextAsync(
                $"/proc/{coffer.Pid}/status")).Groups["kib"].Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"RssAnon:\s+(?<kib>\d+) kB")]
    private static partial Regex Anonymous();
}
