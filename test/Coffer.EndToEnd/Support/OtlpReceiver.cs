using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>Takes OTLP over HTTP, and keeps what is posted to it.</summary>
internal sealed class OtlpReceiver : IDisposable
{
    private readonly HttpListener listener = new();
    private readonly ConcurrentQueue<string> received = new();
    private readonly Task serving;

    public OtlpReceiver()
    {
        Url = $"http://127.0.0.1:{PostgresPrograms.FreePort()}";
        listener.Prefixes.Add($"{Url}/");
        listener.Start();
        serving = Task.Run(ServeAsync);
    }

    /// <summary>What OTEL_EXPORTER_OTLP_ENDPOINT is to be, with the protocol http/protobuf.</summary>
    public string Url { get; }

    /// <summary>All that came, a character for each byte.</summary>
    public string Text => string.Concat(received);

    public void Dispose()
    {
        listener.Stop();
        serving.Wait();
        listener.Close();
    }

    private async Task ServeAsync()
    {
        while (listener.IsListening)
        {
            try
            {
                var context = await listener.GetContextAsync();
                using var body = new MemoryStream();
                await context.Request.InputStream.CopyToAsync(body);
                received.Enqueue(Encoding.Latin1.GetString(body.ToArray()));
                context.Response.Close();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                return;
            }
        }
    }
}
