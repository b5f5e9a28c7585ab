// Webhooks: what Coffer sends by itself. This room decides nothing about who may know of what; it asks Secrets for an
// event as the endpoint may have it, signs and sends it, and goes where Destinations allows and nowhere else.

using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using Coffer.Access;

namespace Coffer.Webhooks;

/// <summary>
/// Sends an event to an endpoint. A name is resolved once for each connection, all of its addresses have to be allowed,
/// and the connection goes to what was resolved; no redirect is followed, no proxy asked, no credential sent, and at
/// most 64 KB of an answer are read, within 10 seconds in all (S25).
/// </summary>
internal sealed class Sender : IDisposable
{
    /// <summary>How long an attempt takes at most.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Says that a later event of the account was sent before, or an earlier one was not accepted yet.
    /// </summary>
    public const string OutOfOrder = "Coffer-Out-Of-Order";

    private const int LongestAnswer = 64 * 1024, AtOnce = 256;

    private readonly Destinations destinations;
    private readonly TimeProvider time;
    private readonly HttpClient client;
    private readonly SemaphoreSlim room = new(AtOnce);

    public Sender(Destinations destinations, TimeProvider time)
    {
        (this.destinations, this.time) = (destinations, time);
        client = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            ActivityHeadersPropagator = DistributedContextPropagator.CreateNoOutputPropagator(),
            MaxResponseHeadersLength = LongestAnswer / 1024,
            ConnectCallback = ConnectAsync,
            // What a name stands for is asked again by then.
            PooledConnectionLifetime = TimeSpan.FromMinutes(2),
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(30),
        })
        {
            Timeout = Timeout.InfiniteTimeSpan, // each attempt has its own
        };
    }

    /// <summary>What an address stands for is asked here.</summary>
    public Func<string, CancellationToken, Task<IPAddress[]>> Resolve { get; init; } = Dns.GetHostAddressesAsync;

    /// <summary>What is thrown where a name stands for an address that may not be called.</summary>
    public sealed class RefusedException() : IOException("an address of its name may not be called");

    /// <summary>Sends an event.</summary>
    /// <returns>The status that was answered; 0 is none.</returns>
    public async Task<int> SendAsync(WebhookEndpoint endpoint, byte[] body, bool isOutOfOrder, CancellationToken ct)
    {
        await room.WaitAsync(ct);
        try
        {
            using var end = CancellationTokenSource.CreateLinkedTokenSource(ct);
            end.CancelAfter(Patience);
            using var request = new HttpRequestMessage(HttpMethod.Post, endpoint.Url)
            {
                Content = new ByteArrayContent(body),
            };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json", "utf-8");
            request.Headers.TryAddWithoutValidation("User-Agent", $"Coffer/{Product.Version}");
            request.Headers.TryAddWithoutValidation("Stripe-Signature", Signature(endpoint, body));
            if (isOutOfOrder)
                request.Headers.TryAddWithoutValidation(OutOfOrder, "true");
            using var answer = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, end.Token);
            await DrainAsync(answer, end.Token);
            return (int)answer.StatusCode;
        }
        catch (Exception e) when (IsOfReceiver(e, ct))
        {
            return 0;
        }
        finally
        {
            room.Release();
        }
    }

    public void Dispose()
    {
        client.Dispose();
        room.Dispose();
    }

    /// <summary>
    /// A signature in the scheme of Stripe's webhooks, by all secrets in use, with the time of this attempt: what is
    /// older than the receiver accepts is not sent again, but signed again.
    /// </summary>
    private string Signature(WebhookEndpoint endpoint, byte[] body)
    {
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        var at = now.ToString(CultureInfo.InvariantCulture);
        byte[] signed = [.. Encoding.ASCII.GetBytes($"{at}."), .. body];
        return $"t={at}" + string.Concat(
            endpoint.SecretsAt(now).Select(secret => $",v1={Convert.ToHexStringLower(secret.Sign(signed))}"));
    }

    private static bool IsOfReceiver(Exception e, CancellationToken ct) => !ct.IsCancellationRequested
        && e is HttpRequestException or IOException or OperationCanceledException or SocketException;

    // So that the connection can be used again; what is longer is cut off with it. The status stands.
    private static async Task DrainAsync(HttpResponseMessage answer, CancellationToken ct)
    {
        var buffer = new byte[4 * 1024];
        try
        {
            await using var content = await answer.Content.ReadAsStreamAsync(ct);
            for (var read = 0; read < LongestAnswer;)
            {
                var count = await content.ReadAsync(buffer, ct);
                if (count == 0)
                    return;
                read += count;
            }
        }
        catch (Exception e) when (e is IOException or HttpRequestException or OperationCanceledException)
        {
            // It was answered.
        }
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken ct)
    {
        var isTls = context.InitialRequestMessage.RequestUri!.Scheme == Uri.UriSchemeHttps;
        var addresses = await Resolve(context.DnsEndPoint.Host.Trim('[', ']'), ct);
        // One that is refused is reason enough: which of them a name gives first is not for it to choose.
        if (addresses.Length == 0 || !addresses.All(address => destinations.May(address, isTls)))
            throw new RefusedException();
        Exception? failure = null;
        foreach (var address in addresses)
        {
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(new IPEndPoint(address, context.DnsEndPoint.Port), ct);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch (SocketException e)
            {
                socket.Dispose();
                failure = e;
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }

        throw failure!;
    }
}
