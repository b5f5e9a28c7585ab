using System.Net;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>A server of the tests' own on a free port of loopback, which answers one request after the other.</summary>
public abstract class HttpAnswers : IAsyncDisposable
{
    private readonly HttpListener listener = new();
    private readonly Task serving;

    protected HttpAnswers()
    {
        Root = $"http://127.0.0.1:{PostgresPrograms.FreePort()}";
        listener.Prefixes.Add($"{Root}/");
        listener.Start();
        serving = Task.Run(ServeAsync);
    }

    /// <summary>Where it is, without a slash at the end.</summary>
    protected string Root { get; }

    public async ValueTask DisposeAsync()
    {
        listener.Stop();
        await serving;
        listener.Close();
        GC.SuppressFinalize(this);
    }

    protected abstract Task AnswerAsync(HttpListenerContext context);

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

            await AnswerAsync(context);
        }
    }
}
