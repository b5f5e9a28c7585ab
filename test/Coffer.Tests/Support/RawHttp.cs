using System.Net.Sockets;
using System.Text;

namespace Coffer.Tests.Support;

/// <summary>HTTP as bytes on a socket, for what a well-behaved client would never send.</summary>
internal static class RawHttp
{
    /// <summary>Sends a request with exactly these header lines and reads the answer to its end.</summary>
    public static async Task<Answer> SendAsync(Uri url, HttpRequestMessage request,
        IEnumerable<(string Name, string Value)> headers)
    {
        var text = new StringBuilder(
            $"{request.Method} {request.RequestUri} HTTP/1.1\r\nHost: {url.Authority}\r\nConnection: "
                + $"close\r\nAuthorization: {request.Headers.Authorization}\r\n");
        foreach (var (name, value) in headers)
            text.Append($"{name}: {value}\r\n");
        return await SendAsync(url, Encoding.UTF8.GetBytes(text.Append("\r\n").ToString()));
    }

    public static async Task<Answer> SendAsync(Uri url, byte[] request)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(url.Host, url.Port);
        await using var stream = client.GetStream();
        await stream.WriteAsync(request);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        var text = await reader.ReadToEndAsync();

        var (head, body) = text.Split("\r\n\r\n", 2) is [var first, var second] ? (first, second) : (text, "");
        using var response = new HttpResponseMessage();
        var lines = head.Split("\r\n");
        foreach (var line in lines.Skip(1))
        {
            var (name, value) = (line[..line.IndexOf(':')], line[(line.IndexOf(':') + 1)..].Trim());
            if (!response.Headers.TryAddWithoutValidation(name, value))
                response.Content.Headers.TryAddWithoutValidation(name, value);
        }

        var answer = new Answer(int.Parse(lines[0].Split(' ')[1]), body, response.Headers, response.Content.Headers);
        // One that is whole, to a request whose first line can be read.
        if (answer.Header("Content-Length") == $"{Encoding.UTF8.GetByteCount(body)}"
            && Encoding.ASCII.GetString(request).Split("\r\n")[0].Split(' ') is [var method, var target, _])
            AnswerCheck.Require(method, target, answer.Status, body, answer.Header);
        return answer;
    }
}
