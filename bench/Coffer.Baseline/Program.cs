// What Coffer is measured against: the least that an API of this shape can do. It checks a bearer token, reads the
// body of a POST to its end, and answers 220 bytes of JSON. The arguments are the URL to listen at and the token.

using System.Text;

var expected = $"Bearer {args[1]}";
var answer = Encoding.ASCII.GetBytes("{\"padding\":\"" + new string('x', 205) + "\"}\n");

var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
builder.WebHost.UseKestrelCore().UseUrls(args[0]);
var app = builder.Build();
app.Run(async context =>
{
    if (context.Request.Headers.Authorization != expected)
    {
        context.Response.StatusCode = StatusCodes.Status401Unauthorized;
        return;
    }

    if (HttpMethods.IsPost(context.Request.Method))
    {
        while (true)
        {
            var read = await context.Request.BodyReader.ReadAsync();
            context.Request.BodyReader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
                break;
        }
    }

    context.Response.ContentType = "application/json";
    context.Response.ContentLength = answer.Length;
    await context.Response.BodyWriter.WriteAsync(answer);
});
app.Run();
