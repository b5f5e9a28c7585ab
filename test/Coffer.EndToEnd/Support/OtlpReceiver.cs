using System.Collections.Concurrent;
using System.Net;
using System.Text;

namespace Coffer.EndToEnd;

/// <summary>Takes OTLP over HTTP, and keeps what is posted to it.</summary>
internal sealed class OtlpReceiver : HttpAnswers
{
    private readonly ConcurrentQueue<string> received = new();

    /// <summary>What OTEL_EXPORTER_OTLP_ENDPOINT is to be, with the protocol http/protobuf.</summary>
    public string Url => Root;

    /// <summary>All that came, a character for each byte.</summary>
    public string Text => string.Concat(received);

    protected override async Task AnswerAsync(HttpListenerContext context)
    {
        using var body = new MemoryStream();
        await context.Request.InputStream.CopyToAsync(body);
        received.Enqueue(Encoding.Latin1.GetString(body.ToArray()));
        context.Response.Close();
    }
}
