// What Coffer is measured against. With a URL to listen at and a token: the least that an API of this shape can do. It
// checks a bearer token, reads the body of a POST to its end, and answers 220 bytes of JSON. With a file as third
// argument: the same, and it keeps in SQLite what it is given, and finds it there (Ceiling).
using System.Buffers;
using System.Text;
using Coffer.Baseline;

var expected = $"Bearer {args[1]}";
var answer = Encoding.ASCII.GetBytes("{\"padding\":\"" + new string('x', 205) + "\"}\n");
var store = args.Length > 2 ? new Ceiling(args[2]) : null;

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
            var body = read.IsCompleted && store is not null ? Encoding.ASCII.GetString(read.Buffer) : null;
            // What is not whole yet is kept for the store.
            context.Request.BodyReader.AdvanceTo(
                store is null || read.IsCompleted ? read.Buffer.End : read.Buffer.Start, read.Buffer.End);
            if (body is not null)
                await SetAsync(store!, body, context.Request.Headers["Idempotency-Key"].ToString());
            if (read.IsCompleted)
                break;
        }
    }
    else if (store is not null && !await FindAsync(store, context.Request.QueryString.Value!))
    {
        context.Response.StatusCode = StatusCodes.Status404NotFound;
        return;
    }

    context.Response.ContentType = "application/json";
    context.Response.ContentLength = answer.Length;
    await context.Response.BodyWriter.WriteAsync(answer);
});
app.Run();

// Name and scope are what stands before the payload, or before the wish for it: as they come, they are the place.
static Task SetAsync(Ceiling store, string body, string key)
{
    var end = body.IndexOf("&payload=", StringComparison.Ordinal);
    return store.SetAsync(body[..end], body[(end + "&payload=".Length)..], key);
}

static async ValueTask<bool> FindAsync(Ceiling store, string query)
{
    var end = query.IndexOf("&expand", StringComparison.Ordinal);
    var place = end < 0 ? query[1..] : query[1..end];
    if (!store.Find(place))
        return false;
    if (end >= 0)
        await store.NoteAsync(place);
    return true;
}
