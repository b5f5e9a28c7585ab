using System.Diagnostics;
using System.Net.Security;
using Coffer.Http;
using Coffer.Settings;
using Coffer.Shared;

namespace Coffer.Tests.Http;

/// <summary>What is begun and not finished is ended after five seconds: heads of both protocols, and TLS.</summary>
[Trait("Firm ground", "7")]
public sealed class ConnectionTimeTests
{
    private static readonly CofferOptions Options = new() { Data = ".", Listen = "http://127.0.0.1:0" };

    [Fact]
    public async Task What_never_ends_is_ended_after_five_seconds_and_what_is_idle_is_not()
    {
        using var files = new PemFiles();
        await using var plain = await WebServer.StartAsync(Options);
        await using var tls = await WebServer.StartAsync(files);
        using var idle = await RawConnection.UsedAsync(plain.Url);
        using var untouched = await RawConnection.OpenAsync(plain.Url);
        using var heads = await RawConnection.OpenAsync(plain.Url);
        using var second = await RawConnection.UsedAsync(plain.Url);
        using var slow = await RawConnection.OpenAsync(plain.Url);
        using var handshake = await RawConnection.OpenAsync(tls.Url);
        var http2 = await Task.WhenAll(
            Http2("PRI * HT"u8.ToArray()), Http2(Frames.Preface), Http2([.. Frames.Preface, 0, 0, 9]),
            Http2([.. Frames.Preface, .. Frames.Of(4, 0, 0), .. Frames.Of(1, 1, 1, 0x82, 0x87)]));
        await heads.SendAsync("GET / HTTP/1.1\r\nHost: a\r\nX:");
        await second.SendAsync("GET / HTTP/1.1\r\n");
        await handshake.SendAsync("\x16\x03\x01\x02\x00");
        var began = Stopwatch.GetTimestamp();
        using var stop = new CancellationTokenSource();
        var dripping = DripAsync(slow, stop.Token);

        var answers = await Task.WhenAll(heads.StatusAsync(), second.StatusAsync(), slow.StatusAsync());
        Assert.All(answers, status => Assert.Equal(408, status));
        var ends = await Task.WhenAll(Ends(handshake.Stream), Ends(http2[0]), Ends(http2[2]), Ends(http2[3]));
        Assert.All(ends, Assert.True);
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 4, 15); // the machine may be busy
        await Until.SoAsync("each of them was counted", () =>
            (3, 3, 1) == (plain.Observers.CountOf(EarlyRefusal.SlowHead), tls.Observers.CountOf(EarlyRefusal.SlowHead),
                tls.Observers.CountOf(EarlyRefusal.TlsFailed)));
        await stop.CancelAsync();
        await dripping;
        Assert.Equal(200, await idle.AskAsync());
        Assert.Equal(200, await untouched.AskAsync());
        Assert.False(await IsEndedAsync(http2[1], TimeSpan.FromMilliseconds(200))); // a whole preface begins no request
        foreach (var stream in http2)
            await stream.DisposeAsync();

        async Task<SslStream> Http2(byte[] bytes)
        {
            var stream = await Frames.ConnectAsync(tls.Url, files.Root);
            await stream.WriteAsync(bytes);
            return stream;
        }

        static Task<bool> Ends(Stream stream) => IsEndedAsync(stream, TimeSpan.FromSeconds(20));
    }

    // A byte now and then must not buy more time.
    private static async Task DripAsync(RawConnection connection, CancellationToken ct)
    {
        try
        {
            foreach (var c in "GET / HTTP/1.1\r\nHost: a\r\nX-Header: " + new string('x', 100))
            {
                await connection.SendAsync(c.ToString());
                await Task.Delay(300, ct);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // closed
        }
    }

    private static async Task<bool> IsEndedAsync(Stream stream, TimeSpan within)
    {
        using var late = new CancellationTokenSource(within);
        try
        {
            var buffer = new byte[1024];
            while (await stream.ReadAsync(buffer, late.Token) > 0)
            {
                // what the server said before
            }

            return true;
        }
        catch (IOException)
        {
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}
