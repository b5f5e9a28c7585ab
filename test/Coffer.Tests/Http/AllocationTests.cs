using System.Net;
using System.Net.Sockets;
using System.Text;
using Coffer.Tests.Support;

namespace Coffer.Tests.Http;

/// <summary>
/// What a request allocates, over a real connection and a real store: it does not depend on what else the machine does,
/// as its time would.
/// </summary>
[Collection(nameof(Alone))]
public sealed class AllocationTests(ITestOutputHelper output) : ServerTests
{
    private const int Rounds = 4, Requests = 300;

    private readonly byte[] answer = new byte[16 * 1024];

    /// <summary>
    /// Bytes a request, with a little room. A number that falls is to be written here; one that has to grow, with a
    /// reason.
    /// </summary>
    private const int MostOfFind = 2_000, MostOfPayload = 7_500, MostOfSet = 11_400;

    [Fact]
    public void A_request_allocates_no_more_than_it_did()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "the driver's part is not ours");
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        client.Connect(IPAddress.Loopback, Server.Url.Port);
        byte[][] sets = [.. Enumerable.Range(0, (1 + Rounds) * Requests).Select(Set)];
        byte[] find = Find(""), payload = Find("&expand[]=payload");

        var number = 0;
        Assert.Multiple(
            () => Assert.InRange(Measure("set", () => Ask(client, sets[number++])), 1, MostOfSet),
            () => Assert.InRange(Measure("find", () => Ask(client, find)), 1, MostOfFind),
            () => Assert.InRange(Measure("find with payload", () => Ask(client, payload)), 1, MostOfPayload));
    }

    // The least of some rounds: what else runs in this process allocates too.
    private long Measure(string what, Action ask)
    {
        var least = long.MaxValue;
        for (var round = 0; round <= Rounds; round++)
        {
            var before = GC.GetTotalAllocatedBytes(precise: true);
            for (var i = 0; i < Requests; i++)
                ask();
            if (round > 0)
                least = Math.Min(least, (GC.GetTotalAllocatedBytes(precise: true) - before) / Requests);
        }

        output.WriteLine($"{what}: {least} bytes");
        return least;
    }

    // Blocks, and makes nothing itself.
    private void Ask(Socket client, byte[] request)
    {
        client.Send(request);
        for (var length = 0; !IsWhole(answer.AsSpan(0, length));)
            length += client.Receive(answer, length, answer.Length - length, SocketFlags.None);
        Assert.True(answer.AsSpan().StartsWith("HTTP/1.1 200 "u8));
    }

    private static bool IsWhole(ReadOnlySpan<byte> answer)
    {
        var end = answer.IndexOf("\r\n\r\n"u8);
        if (end < 0)
            return false;
        var length = answer[(answer.IndexOf("Content-Length: "u8) + 16)..end];
        length = length[..(length.IndexOf("\r"u8) is var at and >= 0 ? at : length.Length)];
        return answer.Length == end + 4 + int.Parse(length, provider: null);
    }

    private byte[] Find(string more) => Request(
        $"GET /v1/apps/secrets/find?name=name-1&scope[type]=user&scope[user]=usr_1{more} HTTP/1.1", "", "");

    private byte[] Set(int number) => Request("POST /v1/apps/secrets HTTP/1.1",
        $"Content-Type: application/x-www-form-urlencoded\r\nIdempotency-Key: key-{number}\r\n",
        $"name=name-1&scope[type]=user&scope[user]=usr_1&payload={new string('p', 200)}");

    private byte[] Request(string line, string headers, string body) => Encoding.ASCII.GetBytes(
        $"{line}\r\nHost: coffer\r\nAuthorization: Bearer {Server.Keys.TestSecretKey}\r\n{headers}"
            + $"Content-Length: {body.Length}\r\n\r\n{body}");

    /// <summary>Tests beside which no other runs.</summary>
    [CollectionDefinition(nameof(Alone), DisableParallelization = true)]
    public sealed class Alone;
}
