using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Coffer.Tests.Client;

/// <summary>A request as a client sent it.</summary>
internal sealed record Seen(string Method, string Target, string Body, string? Authorization, string? IdempotencyKey);

/// <summary>
/// A web server on a free port that gives the answers it was told to, one after the other, and remembers the requests.
/// </summary>
internal sealed class ScriptedServer : IAsyncDisposable
{
    private readonly WebApplication app;
    private readonly Queue<(int Status, string Body)?> answers;

    private ScriptedServer(WebApplication app, IEnumerable<(int, string)?> answers) =>
        (this.app, this.answers) = (app, new(answers));

    public List<Seen> Requests { get; } = [];

    public Uri Url => new(app.Urls.Single());

    /// <param name="answers">Status and body; null breaks the connection.</param>
    public static async Task<ScriptedServer> StartAsync(params (int Status, string Body)?[] answers)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        var server = new ScriptedServer(builder.Build(), answers);
        server.app.Urls.Add("http://127.0.0.1:0");
        server.app.Run(server.AnswerAsync);
        await server.app.StartAsync();
        return server;
    }

    public async ValueTask DisposeAsync() => await app.DisposeAsync();

    private async Task AnswerAsync(HttpContext http)
    {
        using var body = new StreamReader(http.Request.Body);
        Requests.Add(new Seen(http.Request.Method, http.Request.Path + http.Request.QueryString.Value,
            await body.ReadToEndAsync(),
            http.Request.Headers.Authorization, http.Request.Headers["Idempotency-Key"]));
        if (answers.Dequeue() is not { } answer)
        {
            http.Abort();
            return;
        }

        http.Response.StatusCode = answer.Status;
        http.Response.Headers["Request-Id"] = "req_1";
        await http.Response.WriteAsync(answer.Body);
    }
}
