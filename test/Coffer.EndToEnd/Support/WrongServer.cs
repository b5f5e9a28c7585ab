using System.Net;
using System.Text;

namespace Coffer.EndToEnd;

/// <summary>
/// Another program at the address that somebody wrote: what it answers depends on the first part of the path.
/// </summary>
public sealed class WrongServer : HttpAnswers
{
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

    public string Url(string answer) => $"{Root}/{answer}";

    protected override async Task AnswerAsync(HttpListenerContext context)
    {
        var name = context.Request.Url!.Segments[1].Trim('/');
        if (name == "followed")
            Followed++;
        var (status, type, body) = Answers.GetValueOrDefault(name, (500, "text/plain", ""));
        await context.Request.InputStream.CopyToAsync(Stream.Null);
        (context.Response.StatusCode, context.Response.ContentType) = (status, type);
        if (name == "elsewhere")
            context.Response.Headers["Location"] = $"{Root}/followed{context.Request.RawUrl}";
        context.Response.Close(Encoding.UTF8.GetBytes(body), willBlock: true);
    }
}
