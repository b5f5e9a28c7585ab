using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Security.Cryptography;
using Coffer.Http;
using Microsoft.AspNetCore.Connections;

namespace Coffer.Tests.Http;

/// <summary>
/// Over HTTP/2 the server reads what it is given a part at a time, and clients send heads and frames in any pieces:
/// all of it comes through, in order, and no head before it is whole.
/// </summary>
[Trait("Firm ground", "7")]
public sealed class FrameReaderTests
{
    [Fact]
    public async Task All_that_is_sent_comes_through_in_order_however_it_is_cut_and_taken()
    {
        var choices = new Choices();
        for (var round = 0; round < 300; round++)
        {
            var (sent, blocks) = NewFrames();
            var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 0, useSynchronizationContext: false));
            var connection = new DefaultConnectionContext { Transport = new Duplex(pipe.Reader, new Pipe().Writer) };
            var reader = new FrameReader(connection, TimeProvider.System);
            var (written, taken) = (0, new List<byte>());
            if (Next(2) == 0)
                await WithMoreAsync(reader.WaitAsync(TimeSpan.FromSeconds(30)).AsTask());
            while (taken.Count < sent.Length)
            {
                var read = await WithMoreAsync(reader.ReadAsync().AsTask());
                Assert.False(read.Buffer.IsEmpty);
                var reached = taken.Count + (int)read.Buffer.Length;
                Assert.True(blocks.TrueForAll(block => reached <= block.Start || block.End <= reached),
                    $"{choices}, round {round}: a part of a head was given");
                var count = Next(3) == 0 ? (int)read.Buffer.Length : 1 + Next((int)read.Buffer.Length);
                var part = read.Buffer.Slice(0, count);
                foreach (var memory in part)
                    taken.AddRange(memory.ToArray());
                reader.AdvanceTo(part.End);
            }

            Assert.True(sent.AsSpan().SequenceEqual(taken.ToArray()), $"{choices}, round {round}");
            reader.End();

            // A read that finds too little waits, and more is written until it does not.
            async Task<T> WithMoreAsync<T>(Task<T> reading)
            {
                while (!reading.IsCompleted)
                {
                    if (written < sent.Length)
                    {
                        var size = Math.Min(sent.Length - written, 1 + Next(Next(4) == 0 ? 20_000 : 200));
                        await pipe.Writer.WriteAsync(sent.AsMemory(written, size));
                        written += size;
                    }

                    await Task.WhenAny(reading, Task.Delay(written < sent.Length ? 1 : 5_000));
                    Assert.True(reading.IsCompleted || written < sent.Length,
                        $"{choices}, round {round}: it hangs");
                }

                return await reading;
            }
        }

        (byte[] Bytes, List<(int Start, int End)> Blocks) NewFrames()
        {
            var (bytes, blocks) = (new List<byte>(Frames.Preface), new List<(int, int)>());
            for (var count = 1 + Next(8); count > 0; count--)
            {
                var start = bytes.Count;
                if (Next(2) == 0)
                {
                    bytes.AddRange(Frames.Of((byte)(Next(3) == 0 ? 0 : 4 + Next(3)), (byte)Next(2), 1, Payload()));
                    continue;
                }

                var more = Next(3);
                bytes.AddRange(Frames.Of(1, (byte)(more == 0 ? 4 : 0), 1, Payload()));
                for (; more > 0; more--)
                    bytes.AddRange(Frames.Of(9, (byte)(more == 1 ? 4 : 0), 1, Payload()));
                blocks.Add((start, bytes.Count));
            }

            return ([.. bytes], blocks);
        }

        byte[] Payload()
        {
            var payload = new byte[Next(Next(3) == 0 ? 15_000 : 40)];
            payload.AsSpan().Fill((byte)Next(256));
            return payload;
        }

        int Next(int below) => choices.Next(below);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1_000)]
    [InlineData(3_000)]
    [InlineData(100_000)]
    public async Task A_large_head_is_answered_however_it_is_cut(int size)
    {
        using var files = new PemFiles();
        await using var server = await WebServer.StartAsync(files);
        var name = new byte[10_000];
        name.AsSpan().Fill((byte)'v');
        byte[] large = [0, 1, (byte)'x', 0x7F, 0x91, 0x4D, .. name]; // x: v…, of 10,000 bytes
        byte[] request =
        [
            .. Frames.Preface, .. Frames.Of(4, 0, 0), .. Frames.Of(1, 1, 1, 0x82, 0x87, 0x84, 0x41, 1, (byte)'a'),
            .. Frames.Of(9, 0, 1, large), .. Frames.Of(9, 4, 1, large),
        ];
        await using var stream = await Frames.ConnectAsync(server.Url, files.Root);
        for (var at = 0; at < request.Length;)
        {
            // A byte at a time towards the end only: before it, pieces that fill no block.
            var count = Math.Min(size == 1 && at < request.Length - 300 ? 2_049 : size, request.Length - at);
            await stream.WriteAsync(request.AsMemory(at, count));
            at += count;
            await Task.Yield();
        }

        Assert.Equal(0x88, (await Frames.ReadAsync(stream, 1).WaitAsync(TimeSpan.FromSeconds(30)))[0]); // :status 200
    }

    [Fact]
    public async Task A_client_sends_large_heads_again_and_again()
    {
        using var files = new PemFiles();
        await using var server = await WebServer.StartAsync(files);
        using var client = WebServer.Client(files.Root, HttpVersion.Version20);
        client.Timeout = TimeSpan.FromSeconds(30);
        for (var round = 0; round < 20; round++)
        {
            var answers = await Task.WhenAll(Enumerable.Range(0, 10).Select(number =>
                client.GetAsync(new Uri(server.Url, $"/?{new string('q', 30_000 - (number * 2_500))}"))));
            Assert.All(answers, answer => Assert.Equal(HttpStatusCode.OK, answer.StatusCode));
        }
    }
}
