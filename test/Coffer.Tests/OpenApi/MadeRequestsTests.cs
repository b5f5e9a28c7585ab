using System.Net.Http.Headers;
using System.Text;

namespace Coffer.Tests.OpenApi;

/// <summary>
/// Requests that are made of the documents: none of them is answered with a fault, what a document allows is never an
/// unknown parameter, and what it does not allow is refused. TEST_SEED makes others.
/// </summary>
public sealed class MadeRequestsTests : ServerTests
{
    private const ulong Seed = 20_261_130;
    private const int Each = 18;

    // What needs more than a request can say: a key made beside the server, a wrapper that is set, words of people.
    private static readonly string[] NeverDone =
    [
        "POST /admin/v1/root_keys/confirmation", "POST /admin/v1/root_keys/wrappers",
        "POST /admin/v1/root_keys/wrappers/remove", "POST /admin/v1/root_keys/shares",
        "DELETE /admin/v1/root_keys/{version}",
    ];

    /// <summary>The account that the app is uninstalled from.</summary>
    private const string Leaving = "acct_3";

    private Dictionary<string, string[]> ids = [];
    private string ephemeral = "", ephemeralId = "";

    [Fact]
    public async Task What_the_documents_do_not_allow_is_refused()
    {
        await BeginAsync();
        var wrong = new List<string>();
        var count = 0;
        foreach (var operation in Operations())
        {
            var made = Of(operation);
            foreach (var (fault, form) in made.Invalid(operation))
            {
                count++;
                var answer = await SendAsync(operation, made.Path(operation), form);
                if (answer.Status != 400)
                    wrong.Add($"{operation}, {fault}: {answer.Status} {form[..Math.Min(form.Length, 200)]}");
            }
        }

        Assert.True(wrong.Count == 0, $"{string.Join('\n', wrong)}");
        Assert.InRange(count, 300, 3_000);
    }

    [Fact]
    public async Task What_the_documents_allow_is_known_and_never_a_fault()
    {
        await BeginAsync();
        var wrong = new List<string>();
        var done = new HashSet<string>();
        foreach (var operation in Operations())
        {
            var made = Of(operation);
            for (var i = 0; i < Each; i++)
            {
                var form = MadeRequests.Form(i % 3 == 0 ? made.Least(operation) : made.Valid(operation));
                var answer = await SendAsync(operation, made.Path(operation), form);
                if (answer.Status == 200)
                    done.Add(operation.ToString());
                if (answer.Status >= 500 || answer.Text.Contains("parameter_unknown", StringComparison.Ordinal))
                    wrong.Add($"{operation}: {answer.Status} {form[..Math.Min(form.Length, 200)]}\n{answer.Text}");
            }
        }

        Assert.True(wrong.Count == 0, $"{string.Join('\n', wrong)}");
        Assert.Empty(Operations().Select(operation => operation.ToString()).Except(done).Except(NeverDone));
    }

    // What others need comes before what takes it away.
    private static IEnumerable<ApiOperation> Operations() => ApiDocument.Own
        .SelectMany(document => document.Operations)
        .Where(operation => KnownRoutes.All.Any(route => $"{route.Method} {route.Path}" == operation.ToString()))
        .OrderBy(operation => operation switch
        {
            { Path: var path } when path.Contains("root_keys", StringComparison.Ordinal) => 2,
            { Method: "DELETE", Path: "/admin/v1/apps/{app}" or "/admin/v1/webhook_endpoints/{endpoint}" } => 1,
            { Path: var path } when path.EndsWith("/forget", StringComparison.Ordinal)
                || path.EndsWith("}/installs/{install}/uninstall", StringComparison.Ordinal) => 1,
            _ => 0,
        });

    // Choices of its own for each, so that a new operation changes none of the others.
    private MadeRequests Of(ApiOperation operation) => new(
        new Choices(operation.ToString().Aggregate(Seed, (seed, letter) => (seed * 31) + letter)),
        operation.Document == ApiDocument.Api ? new(ids) { ["key"] = [ephemeralId] } : ids);

    private async Task BeginAsync()
    {
        var app = await Server.AppIdAsync();
        (await Server.Admin.Post($"{Operator.Apps}/{app}", [("events", "true")])).IsOk();
        var client = Server.Client(account: "acct_1");
        var kept = (await client.Set("kept")).IsOk().Id!;
        (await client.Set("my-api-key")).IsOk();
        ephemeral = await Server.MintAsync("usr_1", "acct_1");
        ephemeralId = (await client.Post(Operator.Ephemeral, [("user", "usr_1")])).IsOk().Id!;
        var (keys, endpoints) = (new List<string>(), new List<string>());
        for (var i = 0; i < 8; i++)
            keys.Add((await Server.NewKeyAsync("secret", app)).Id());
        for (var i = 0; i < 3; i++)
            endpoints.Add((await Server.Admin.Post("/admin/v1/webhook_endpoints",
                [("app", app), ("livemode", "false"), ("url", "https://hooks.invalid/")])).IsOk().Id!);
        var installs = new List<string>();
        foreach (var account in (string[])["acct_1", Leaving, "acct_4", "acct_5"])
            installs.Add((await Server.Client(account: account).Post("/v1/apps/installs", [("app", app)])).IsOk().Id!);

        ids = new Dictionary<string, string[]>
        {
            ["app"] = [app, app, await Server.NewAppAsync(), await Server.NewAppAsync()],
            ["account"] = ["acct_1"],
            ["secret"] = [kept],
            ["starting_after"] = [kept],
            ["key"] = [.. keys],
            ["install"] = [.. installs],
            ["event"] = [.. (await client.Get("/v1/events")).Ids()],
            ["endpoint"] = [.. endpoints],
            ["receipt"] = [(string)(await Server.ForgetAsync("acct_2")).IsOk().Json["receipt_id"]!],
            ["version"] = ["1", "2"],
        };
    }

    private async Task<Answer> SendAsync(ApiOperation operation, string path, string form)
    {
        var isQuery = operation.Method != "POST";
        var isOfLeaving = operation.Path.EndsWith("/uninstall", StringComparison.Ordinal);
        // As it is: no URI corrects what is wrong on purpose.
        using var request = new HttpRequestMessage(new HttpMethod(operation.Method),
            new Uri($"{Server.Url.GetLeftPart(UriPartial.Authority)}{path}{(isQuery ? $"?{form}" : "")}",
                new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
        if (!isQuery)
            request.Content = new StringContent(form, Encoding.ASCII,
                new MediaTypeHeaderValue("application/x-www-form-urlencoded"));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", KeyOf(operation));
        if (operation.Document == ApiDocument.Api)
            request.Headers.Add("Stripe-Account", isOfLeaving ? Leaving : "acct_1");
        return await Server.SendAsync(request);
    }

    private string KeyOf(ApiOperation operation)
    {
        if (operation.Document == ApiDocument.Admin)
            return Server.Keys.AdminKey!;
        return operation.Path.EndsWith("_signature", StringComparison.Ordinal) ? ephemeral : Server.Keys.TestSecretKey;
    }
}
