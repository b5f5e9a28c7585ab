using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Coffer.Tests.Client;

/// <summary>A request as a client sent it.</summary>
internal sealed record Seen(string Method, string Target, string Body, string? Authorization, string? IdempotencyKey);

/// <summary>
/// A web server on a free port that gives the answers it was told to, one after the other, and remembers the requests.
/// </summary>
/// <remarks>An answer's body is JSON, unless it begins with a media type and a line break.</remarks>
internal sealed class ScriptedServer : IAsyncDisposable
{
    private readonly WebApplication app;
    private readonly (string Name, string Value)[] headers;
    private readonly Queue<(int Status, string Body)?> answers;

    private ScriptedServer(WebApplication app, (string, string)[] headers, IEnumerable<(int, string)?> answers) =>
        (this.app, this.headers, this.answers) = (app, headers, new(answers));

    public List<Seen> Requests { get; } = [];

    public Uri Url => new(app.Urls.Single());

    /// <param name="answers">Status and body; null breaks the connection.</param>
    public static Task<ScriptedServer> StartAsync(params (int Status, string Body)?[] answers) =>
        WithHeadersAsync([], answers);

    /// <param name="headers">Of each answer.</param>
    /// <param name="answers">Status and body; null breaks the connection.</param>
    public static async Task<ScriptedServer> WithHeadersAsync((string Name, string Value)[] headers,
        params (int Status, string Body)?[] answers)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        var server = new ScriptedServer(builder.Build(), headers, answers);
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
        foreach (var (name, value) in headers)
            http.Response.Headers[name] = value;
        string[] parts = answer.Body.StartsWith("text/", StringComparison.Ordinal)
            ? answer.Body.Split('\n', 2)
            : ["application/json", answer.Body];
        http.Response.ContentType = parts[0];
        await http.Response.WriteAsync(parts[1]);
    }
}
