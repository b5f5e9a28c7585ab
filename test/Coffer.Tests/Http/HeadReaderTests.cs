using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Security.Cryptography;
using System.Text;
using Coffer.Http;
using Coffer.Settings;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Http;

/// <summary>
/// Heads are given on whole, wherever the packets of a client end; nothing of a request or a body is lost or moved.
/// </summary>
[Trait("Firm ground", "7")]
public sealed class HeadReaderTests
{
    private static readonly CofferOptions Options = new() { Data = ".", Listen = "http://127.0.0.1:0" };

    [Fact]
    public async Task Requests_in_a_row_are_answered_in_order_wherever_their_packets_end()
    {
        await using var server = await WebServer.StartAsync(Options, answer: EchoAsync);
        var choose = new Choices();
        for (var round = 0; round < 60; round++)
        {
            var (requests, expected) = (new StringBuilder(), new StringBuilder());
            for (var count = 1 + choose.Next(6); count > 0; count--)
                Add(choose, requests, expected, isLast: count == 1);
            using var connection = await RawConnection.OpenAsync(server.Url);
            var answers = new StreamReader(connection.Stream, Encoding.Latin1).ReadToEndAsync();
            var text = requests.ToString();
            for (var at = 0; at < text.Length;)
            {
                var count = Math.Min(choose.Next(10) == 0 ? 20_000 : 1 + choose.Next(100), text.Length - at);
                await connection.SendAsync(text.Substring(at, count));
                at += count;
                if (choose.Next(4) == 0)
                    await Task.Yield();
            }

            var bodies = string.Concat((await answers.WaitAsync(TimeSpan.FromSeconds(30))).Split("HTTP/1.1 200 OK\r\n")
                .Skip(1).Select(answer => answer[(answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..]));
            Assert.True(expected.ToString() == bodies, $"{choose}, round {round}\n{expected}\n{bodies}");
        }
    }

    [Fact]
    public async Task A_body_that_nobody_read_is_passed_over_and_the_next_head_is_a_head()
    {
        await using var server = await WebServer.StartAsync(Options); // it reads no body
        using var connection = await RawConnection.OpenAsync(server.Url);
        foreach (var request in (string[])[
                     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nGET / HTTP/1.1\r\nHost: smuggled",
                     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\nX: y\r\n\r\n",
                     "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"])
            Assert.Equal(200, await connection.AskAsync(request));
        await connection.SendAsync("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
        Assert.Equal(200, await connection.StatusAsync());
        await connection.SendAsync("67890GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        Assert.Equal(200, await connection.StatusAsync());
    }

    [Theory]
    [InlineData("nonsense\r\n", 400)]
    [InlineData("\x16\x03\x01\x02\x00\x01\x00", 400)]
    [InlineData("GET / HTTP/3.0\r\n", 505)]
    [InlineData("GET /\r\n", 400)]
    [InlineData("{\"name\": 1}\r\n", 400)]
    public async Task What_is_no_head_is_refused_at_once(string bytes, int status)
    {
        await using var server = await WebServer.StartAsync(Options);
        using var connection = await RawConnection.OpenAsync(server.Url);
        await connection.SendAsync(bytes);
        Assert.Equal(status, await connection.StatusAsync().WaitAsync(TimeSpan.FromSeconds(4)));
    }

    [Fact]
    public async Task Limits_are_those_of_the_server_though_heads_are_held()
    {
        await using var server = await WebServer.StartAsync(Options);
        foreach (var (bytes, status) in ((string, int)[])[
                     ($"GET /?{new string('q', 66_000)}", 414),
                     ($"GET / HTTP/1.1\r\nHost: a\r\nX: {new string('x', 33_000)}", 431),
                     ($"GET / HTTP/1.1\r\nHost: a\r\n{string.Concat(Enumerable.Repeat("X: y\r\n", 6_000))}", 431)])
        {
            using var connection = await RawConnection.OpenAsync(server.Url);
            await connection.SendAsync(bytes); // and the head is not finished
            Assert.Equal(status, await connection.StatusAsync().WaitAsync(TimeSpan.FromSeconds(4)));
        }
    }

    [Fact]
    public async Task Over_HTTP_2_a_head_in_pieces_is_read_and_what_comes_in_between_is_refused()
    {
        using var files = new PemFiles();
        await using var server = await WebServer.StartAsync(files);
        byte[] host = [0x41, 1, (byte)'a'];
        byte[] request =
        [
            .. Frames.Preface, .. Frames.Of(4, 0, 0), .. Frames.Of(1, 1, 1, 0x82),
            .. Frames.Of(9, 0, 1), .. Frames.Of(9, 0, 1, 0x87, 0x84),
            .. Frames.Of(9, 4, 1, host), .. Frames.Of(1, 5, 3, [0x82, 0x87, 0x84, .. host]),
        ];
        foreach (var size in (int[])[1, 2, 7, request.Length])
        {
            await using var stream = await Frames.ConnectAsync(server.Url, files.Root);
            for (var at = 0; at < request.Length; at += size)
                await stream.WriteAsync(request.AsMemory(at, Math.Min(size, request.Length - at)));
            Assert.Equal(0x88, (await Frames.ReadAsync(stream, 1))[0]); // :status 200
            Assert.Equal(0x88, (await Frames.ReadAsync(stream, 1))[0]);
        }

        await using var broken = await Frames.ConnectAsync(server.Url, files.Root);
        await broken.WriteAsync((byte[])[
            .. Frames.Preface, .. Frames.Of(4, 0, 0), .. Frames.Of(1, 1, 1, 0x82), .. Frames.Of(6, 0, 0, new byte[8])]);
        var away = await ReadToGoAwayAsync(broken).WaitAsync(TimeSpan.FromSeconds(4));
        Assert.Equal(1, away[7]); // PROTOCOL_ERROR
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1460)]
    [InlineData(2049)] // of a block of 4 KiB the rest would stay empty
    [InlineData(65_000)]
    public async Task An_unfinished_head_costs_its_own_bytes_however_it_is_cut(int packet)
    {
        const int Size = 65_000;
        var blocks = new CountingPool();
        var pipe = new Pipe(new PipeOptions(
            blocks, minimumSegmentSize: 4096, pauseWriterThreshold: 0, useSynchronizationContext: false));
        var reader = new HeadReader(pipe.Reader, new Pipe().Writer, TimeProvider.System);
        var reading = reader.ReadAsync();
        var head = Encoding.ASCII.GetBytes($"GET /?{new string('q', Size)}");
        for (var at = 0; at < Size; at += packet)
        {
            // As the transport does it: half a block at least for each packet.
            var count = Math.Min(packet, Size - at);
            for (var from = 0; from < count;)
            {
                var memory = pipe.Writer.GetMemory(2048);
                var part = Math.Min(memory.Length, count - from);
                head.AsSpan(at + from, part).CopyTo(memory.Span);
                pipe.Writer.Advance(part);
                from += part;
            }

            await pipe.Writer.FlushAsync();
        }

        for (var waited = 0; waited < 500 && Cost() > Size + 8 * 1024; waited++)
            await Task.Delay(20); // the reader is behind
        Assert.InRange(Cost(), Size, Size + 8 * 1024);
        Assert.False(reading.IsCompleted);
        reader.End();
        Assert.Equal(0, reader.Cost);

        long Cost() => blocks.Bytes + reader.Cost;
    }

    /// <summary>
    /// The server copies 4 KiB at a time: what is left is not looked at again, from the middle of a frame on.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(4_096)]
    [InlineData(1_000_000)]
    public async Task Over_HTTP_2_what_is_consumed_in_parts_comes_whole_whatever_its_bytes_look_like(int part)
    {
        // Within the frames stands what would be the beginning of one: HEADERS that never end, and a frame of no type.
        byte[] looksLikeFrames = [.. Enumerable.Repeat(Frames.Of(1, 0, 1, 0, 0, 0), 1_000).SelectMany(frame => frame)];
        byte[][] chunks = [.. looksLikeFrames.Chunk(11_000)];
        byte[] sent =
        [
            .. Frames.Preface, .. Frames.Of(4, 0, 0), .. Frames.Of(1, 0, 1, chunks[0]),
                .. Frames.Of(9, 4, 1, chunks[1]),
            .. Frames.Of(0, 0, 1, chunks[0]), .. Frames.Of(8, 0, 0, 0, 0, 0, 1), .. Frames.Of(4, 1, 0),
        ];
        foreach (var packet in (int[])[7, 1_000, 16_000, sent.Length])
        {
            var (pipe, read) = (new Pipe(new PipeOptions(pauseWriterThreshold: 0)), new List<byte>());
            await using var connection = new DefaultConnectionContext
            {
                Transport = new Duplex(pipe.Reader, new Pipe().Writer),
            };
            var reader = new FrameReader(connection, new ManualTime());
            foreach (var some in sent.Chunk(packet))
            {
                await pipe.Writer.WriteAsync(some);
                while (reader.TryRead(out var result))
                {
                    var taken = result.Buffer.Slice(0, Math.Min(part, result.Buffer.Length));
                    read.AddRange(taken.ToArray());
                    reader.AdvanceTo(taken.End);
                }
            }

            Assert.True(sent.AsSpan().SequenceEqual(read.ToArray()),
                $"{read.Count} of {sent.Length} in packets of {packet}");
        }
    }

    private static async Task<byte[]> ReadToGoAwayAsync(Stream stream)
    {
        var head = new byte[9];
        while (true)
        {
            await stream.ReadExactlyAsync(head);
            var payload = new byte[(head[0] << 16) | (head[1] << 8) | head[2]];
            await stream.ReadExactlyAsync(payload);
            if (head[3] == 7)
                return payload;
        }
    }

    private static void Add(Choices choose, StringBuilder requests, StringBuilder expected, bool isLast)
    {
        var length = choose.Next(choose.Next(3) == 0 ? 30_000 : 50);
        var body = new string((char)('a' + choose.Next(26)), length);
        var path = $"/{new string('p', choose.Next(5) == 0 ? choose.Next(60_000) : choose.Next(20))}";
        var close = isLast ? "Connection: close\r\n" : "";
        if (choose.Next(5) == 0)
            requests.Append("\r\n");
        switch (choose.Next(4))
        {
            case 0:
                requests.Append($"GET {path} HTTP/1.1\r\nHost: a\r\n{close}\r\n");
                body = "";
                break;
            case 1:
                requests.Append($"POST {path} HTTP/1.1\r\nHost: a\r\n{close}Transfer-Encoding: chunked\r\n\r\n");
                if (body.Length > 0)
                    requests.Append($"{body.Length:x}\r\n{body}\r\n");
                requests.Append("0\r\n\r\n");
                break;
            case 2: // a body that looks like a request
                body += "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
                goto default;
            default:
                requests.Append($"POST {path} HTTP/1.1\nHost: a\r\n{close}Content-Length: {body.Length}\r\n\r\n{body}");
                break;
        }

        expected.Append($"{path.Length}:{body};");
    }

    // The length of the path, and the body.
    private static async Task EchoAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body);
        var text = $"{context.Request.Path.Value!.Length}:{Encoding.Latin1.GetString(body.ToArray())};";
        context.Response.ContentLength = text.Length;
        await context.Response.WriteAsync(text);
    }

    /// <summary>The same numbers for the same seed.</summary>
    private sealed class CountingPool : MemoryPool<byte>
    {
        private long bytes;

        public long Bytes => Volatile.Read(ref bytes);

        public override int MaxBufferSize => 4096;

        public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
        {
            Interlocked.Add(ref bytes, 4096);
            return new Block(this);
        }

        protected override void Dispose(bool disposing)
        {
        }

        private sealed class Block(CountingPool pool) : IMemoryOwner<byte>
        {
            public Memory<byte> Memory { get; } = new byte[4096];

            public void Dispose() => Interlocked.Add(ref pool.bytes, -4096);
        }
    }
}
