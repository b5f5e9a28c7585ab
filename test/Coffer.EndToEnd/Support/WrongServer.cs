using System.Net;
using System.Text;

namespace Coffer.EndToEnd;

/// <summary>
/// Another program at the address that somebody wrote: what it answers depends on the first part of the path.
/// </summary>
public sealed class WrongServer : IAsyncLifetime
{
    private readonly HttpListener listener = new();
    private readonly int port = Coffer.Shared.PostgresPrograms.FreePort();
    private Task serving = Task.CompletedTask;

    /// <summary>How it answers, by name: status, media type, body.</summary>
    public static IReadOnlyDictionary<string, (int Status, string Type, string Body)> Answers { get; } =
        new Dictionary<string, (int, string, string)>
        {
            ["health"] = (200, "application/json", """{"status":"ok"}"""),
            ["types"] = (200, "application/json",
                """{"object":["list"],"id":{},"data":[[1],null],"has_more":"no","revoked":1,"deleted":0}"""),
            ["page"] = (200, "text/html", "<!doctype html>\n<title>Sign in</title>\n"),
            ["elsewhere"] = (307, "text/plain", ""),
            ["gateway"] = (404, "application/json", """{"message":["no","route"]}"""),
        };

    /// <summary>How many requests it had for what a redirect names.</summary>
    public int Followed { get; private set; }

    public string Url(string answer) => $"http://127.0.0.1:{port}/{answer}";

    public ValueTask InitializeAsync()
    {
        listener.Prefixes.Add($"http://127.0.0.1:{port}/");
        listener.Start();
        serving = Task.Run(ServeAsync);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        listener.Stop();
        await serving;
        listener.Close();
    }

    private async Task ServeAsync()
    {
        while (listener.IsListening)
        {
            HttpListenerContext context;
            try
            {
                context = await listener.GetContextAsync();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                return;
            }

            var name = context.Request.Url!.Segments[1].Trim('/');
            if (name == "followed")
                Followed++;
            var (status, type, body) = Answers.GetValueOrDefault(name, (500, "text/plain", ""));
            await context.Request.InputStream.CopyToAsync(Stream.Null);
            (context.Response.StatusCode, context.Response.ContentType) = (status, type);
            if (name == "elsewhere")
                context.Response.Headers["Location"] = $"http://127.0.0.1:{port}/followed{context.Request.RawUrl}";
            context.Response.Close(Encoding.UTF8.GetBytes(body), willBlock: true);
        }
    }
}
