using System.Net.Http.Headers;
using System.Text;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// No payload, name, user id, idempotency key or API key is in plaintext in the store's files or in what the server
/// prints.
/// </summary>
public sealed class LeakTests
{
    private static readonly string[] ApiKeys = ["test key", "live key", "admin key"];

    private readonly Canaries canaries = new();

    [Fact]
    public async Task Nothing_that_went_through_any_flow_is_in_the_files_or_the_output()
    {
        using var data = new TemporaryDirectory();
        var (name, user) = (canaries.Plant("name"), canaries.Plant("user id"));
        string test, live, admin;
        await using (var first = await CofferProcess.ServeAsync(data))
        {
            test = canaries.Watch("test key", first.TestKey);
            live = canaries.Watch("live key", first.LiveKey);
            admin = canaries.Watch("admin key", first.AdminKey);
            await SucceedAsync(first.Url, test, name, user);
            await SucceedAsync(first.Url, live, canaries.Plant("name in live mode"),
                canaries.Plant("user id in live mode"));
            await FailAsync(first.Url, test, admin);

            var running = data.Contents();
            Assert.NotEmpty(running["coffer.db-wal"]); // or there would be nothing to search in while it runs
            canaries.AssertNotIn(running);
            Assert.Equal(0, await first.StopAsync());
            canaries.AssertNotIn("the first start's standard error", first.Stderr);
            // it shows them, once
            canaries.AssertNotIn("the first start's standard output", first.Stdout, excepting: ApiKeys);
        }

        var stopped = data.Contents();
        canaries.AssertNotIn(stopped);
        // account ids are no secret: what is searched is what was written
        Assert.True(stopped["coffer.db"].AsSpan().IndexOf("acct_1"u8) >= 0);

        await using var second = await CofferProcess.ServeAsync(data);
        await SucceedAsync(second.Url, test, name, user);
        await FailAsync(second.Url, live, admin);
        canaries.AssertNotIn(data.Contents());
        Assert.Equal(0, await second.StopAsync());
        canaries.AssertNotIn("the second start's output", second.Stdout + second.Stderr);
        canaries.AssertNotIn(data.Contents());
    }

    [Fact]
    public async Task No_key_that_is_managed_and_nothing_that_is_revealed_is_in_the_files_or_the_output()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        using var admin = new WireClient(coffer.Url, canaries.Watch("admin key", coffer.AdminKey));
        canaries.Watch("first test signing secret", coffer.Ready.GetProperty("signing_secret_test").GetString()!);
        canaries.Watch("first live signing secret", coffer.Ready.GetProperty("signing_secret_live").GetString()!);
        var (name, user, payload, retry) =
            (canaries.Plant("name"), canaries.Plant("user id"), canaries.Plant("payload"),
                canaries.Plant("idempotency key"));

        var created = (await admin.PostAsync("/admin/v1/apps", [("name", "Acme")], $"{retry} app")).Is(200).Body;
        var app = created.GetProperty("id").GetString()!;
        Watch("test signing secret", created, "signing_secret_test");
        Watch("live signing secret", created, "signing_secret_live");
        var roll = $"/admin/v1/apps/{app}/signing_secret/roll";
        var newSecret = (await admin.PostAsync(roll, [("grace_period", "60")], $"{retry} roll")).Is(200).Body;
        Watch("rolled signing secret", newSecret, "signing_secret_test");
        var key = (await admin.PostAsync("/admin/v1/api_keys", [("type", "secret"), ("app", app)],
            $"{retry} key")).Is(200).Body;
        Watch("secret key", key, "secret");
        Watch(
            "restricted key",
            (await admin.PostAsync("/admin/v1/api_keys",
                [("type", "restricted"), ("app", app), ("permissions[]", "secret_read")], $"{retry} rk")).Is(200).Body,
            "secret");
        var rolled = (await admin.PostAsync($"/admin/v1/api_keys/{key.GetProperty("id").GetString()}/roll",
            [("grace_period", "60")], $"{retry} rolled")).Is(200).Body;

        using var backend = new WireClient(coffer.Url, Watch("rolled key", rolled, "secret"), "acct_1");
        var secret = (await backend.SetAsync(name, payload, user)).Is(200).Body.GetProperty("id").GetString();
        var minted = (await backend.PostAsync("/v1/ephemeral_keys", [("user", user)], $"{retry} mint")).Is(200).Body;
        using var page = new WireClient(coffer.Url, Watch("ephemeral key", minted, "secret"));
        Assert.Equal(payload, (await page.FindAsync(name, user)).Is(200).Payload);
        (await page.FindAsync(name, canaries.Plant("another user id"))).Is(403);
        var signed = $$"""{"of":"{{canaries.Plant("signed payload")}}"}""";
        (await page.GetAsync("/v1/apps/app_embedded_backend_signature", ("payload", signed))).Is(200);

        var account = $"/admin/v1/apps/{app}/accounts/acct_1";
        Assert.Equal(payload,
            (await admin.PostAsync($"{account}/secrets/{secret}/reveal", [("reason", "a test")])).Is(200).Payload);
        Assert.Contains(
            payload, (await admin.PostAsync($"{account}/export", [("reason", "a test")])).Is(200).Body.ToString(),
            StringComparison.Ordinal);
        Assert.Contains(name, (await admin.GetAsync("/admin/v1/secrets/search", ("app", app))).Is(200).Body.ToString(),
            StringComparison.Ordinal);
        Assert.Contains("reveal", (await admin.GetAsync("/admin/v1/audit", ("limit", "100"))).Is(200).Body.ToString(),
            StringComparison.Ordinal);
        canaries.AssertNotIn(data.Contents());
        (await admin.PostAsync($"{account}/forget", [], $"{retry} forget")).Is(200);

        Assert.Equal(0, await coffer.StopAsync());
        canaries.AssertNotIn(data.Contents());
        canaries.AssertNotIn("standard error", coffer.Stderr);
        canaries.AssertNotIn("standard output", coffer.Stdout,
            excepting: ["admin key", "first test signing secret", "first live signing secret"]); // it shows them, once

        string Watch(string what, System.Text.Json.JsonElement answer, string field) =>
            canaries.Watch(what, answer.GetProperty(field).GetString()!);
    }

    [Fact]
    [Trait("Telemetry", "6")]
    [Trait("Events", "S26")]
    public async Task Nothing_is_in_logs_metrics_and_traces_that_say_all_they_can_nor_in_webhooks()
    {
        using var data = new TemporaryDirectory();
        await using var receiver = new OtlpReceiver();
        await using var webhooks = await Receiver.StartAsync();
        await using var coffer = await CofferProcess.StartAsync(
            [
                "serve", "--data", data.Path, "--access-log", "all", "--log-format", "json", "--metrics-listen",
                "http://127.0.0.1:0", "--metrics-apps", "10", "--webhook-networks", "127.0.0.1",
            ],
            environment: new Dictionary<string, string>
            {
                ["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.Url,
                ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
                ["OTEL_METRIC_EXPORT_INTERVAL"] = "300",
                ["OTEL_BSP_SCHEDULE_DELAY"] = "200",
                ["OTEL_TRACES_SAMPLER"] = "always_on",
            });
        var key = canaries.Watch("test key", coffer.TestKey);
        using var operating = new WireClient(coffer.Url, canaries.Watch("admin key", coffer.AdminKey));
        var app = (await operating.GetAsync("/admin/v1/apps")).Is(200).Body.GetProperty("data")[0]
            .GetProperty("id").GetString()!;
        await ListenAsync(operating, app, webhooks);
        await SucceedAsync(coffer.Url, key, canaries.Plant("name"), canaries.Plant("user id"));
        await FailAsync(coffer.Url, key, coffer.AdminKey);
        var installing = canaries.Plant("idempotency key of an install");
        using (var backend = new WireClient(coffer.Url, key, "acct_9"))
        {
            var install = (await backend.PostAsync("/v1/apps/installs", [("app", app)], installing)).Is(200).Body
                .GetProperty("id").GetString()!;
            (await backend.SetAsync(canaries.Plant("name of an install"), canaries.Plant("its payload"))).Is(200);
            (await backend.PostAsync($"/v1/apps/installs/{install}/uninstall", [], $"{installing} again")).Is(200);
        }

        using var http = new HttpClient();
        var scraped = await http.GetStringAsync(
            $"{coffer.Ready.GetProperty("metrics_url").GetString()}/metrics", TestContext.Current.CancellationToken);
        Assert.Contains("/v1/apps/installs", scraped, StringComparison.Ordinal);
        await Until.SoAsync("metrics and spans come", () => new[]
        {
            "coffer.commit.wait", "GET /v1/apps/secrets/find", "POST /v1/apps/installs",
        }.All(word => receiver.Text.Contains(word, StringComparison.Ordinal)));
        // The last of each account: those of an account come in order, and accounts do not wait for one another.
        await Until.SoAsync("webhooks come",
            () => webhooks.All.Any(static each => each.Type == "apps.install.deleted")
                && webhooks.All.Count(static each => each is { Type: "secret.deleted", Account: "acct_1" }) == 2,
            instead: () => string.Join(' ', webhooks.All.Select(static each => $"{each.Account}:{each.Type}")));
        canaries.AssertNotIn("webhooks", string.Concat(
            webhooks.All.Select(static each => $"{each.Body}{string.Concat(each.Headers)}\n")));
        canaries.AssertNotIn("metrics", scraped);
        canaries.AssertNotIn("OTLP", receiver.Text);
        Assert.Contains("unknown_route", coffer.Stderr, StringComparison.Ordinal);
        canaries.AssertNotIn("the log", coffer.Stderr);
        await coffer.CrashAsync();
        canaries.AssertNotIn("the log after the crash", coffer.Stderr);
        canaries.AssertNotIn(data.Contents());
    }

    // Switches events on, and has them sent by ids.
    private async Task ListenAsync(WireClient admin, string app, Receiver receiver)
    {
        (await admin.PostAsync($"/admin/v1/apps/{app}", [("events", "true")])).Is(200);
        var url = new Uri(receiver.Url, $"?token={canaries.Plant("token of a receiver")}");
        var made = (await admin.PostAsync("/admin/v1/webhook_endpoints",
            [("app", app), ("livemode", "false"), ("url", $"{url}")], canaries.Plant("idempotency key of an endpoint")))
            .Is(200).Body;
        canaries.Watch("secret of an endpoint", made.GetProperty("secret").GetString()!);
        var rolled = (await admin.PostAsync(
            $"/admin/v1/webhook_endpoints/{made.GetProperty("id").GetString()}/secret/roll", [])).Is(200).Body;
        canaries.Watch("rolled secret of an endpoint", rolled.GetProperty("secret").GetString()!);
    }

    [Fact]
    public async Task A_crash_leaves_nothing_readable_behind()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        await SucceedAsync(coffer.Url, canaries.Watch("test key", coffer.TestKey), canaries.Plant("name"),
            canaries.Plant("user id"));
        await coffer.CrashAsync();
        canaries.AssertNotIn(data.Contents());
        canaries.AssertNotIn("the output", coffer.Stdout + coffer.Stderr, excepting: ApiKeys);
    }

    [Fact]
    public async Task A_damaged_record_is_reported_without_what_it_holds()
    {
        using var data = new TemporaryDirectory();
        string key;
        var (name, payload, user) = (canaries.Plant("name"), canaries.Plant("payload"), canaries.Plant("user id"));
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            key = canaries.Watch("test key", coffer.TestKey);
            using var client = new WireClient(coffer.Url, key);
            (await client.SetAsync(name, payload, user)).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        await data.SqlAsync("UPDATE secrets SET created = created - 1");
        await using var restarted = await CofferProcess.ServeAsync(data);
        using (var client = new WireClient(restarted.Url, key))
        {
            var found = (await client.FindAsync(name, user)).Is(500);
            canaries.AssertNotIn("the answer", found.Body.ToString());
            var list = (await client.ListAsync(user)).Is(200); // without it, and it says so
            Assert.Empty(list.Body.GetProperty("data").EnumerateArray());
            Assert.Equal("1", Assert.Single(list.Headers.GetValues("Coffer-Damaged-Secrets")));
            (await client.SetAsync(name, payload, user)).Is(500);
            Assert.Contains(Assert.Single(found.Headers.GetValues("Request-Id")), restarted.Stderr,
                StringComparison.Ordinal);
        }

        Assert.Equal(0, await restarted.StopAsync());
        canaries.AssertNotIn("the output", restarted.Stdout + restarted.Stderr);
        canaries.AssertNotIn(data.Contents());
    }

    [Fact]
    public void The_search_finds_a_canary_in_every_form()
    {
        using var files = new TemporaryDirectory();
        var canary = canaries.Plant("marker");
        var utf8 = Encoding.UTF8.GetBytes(canary);
        foreach (var written in (byte[][])[utf8, Encoding.Unicode.GetBytes(canary), Encoding.ASCII.GetBytes(
            Convert.ToHexString(utf8)),
            Encoding.ASCII.GetBytes(
                Convert.ToHexStringLower(utf8)), Base64("", canary), Base64("1", canary), Base64("12", canary),
                    Base64("123", canary)])
        {
            File.WriteAllBytes(files.File("haystack"), [0xFF, .. written, 0xFF]);
            Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => canaries.AssertNotIn(files.Contents()));
        }

        File.WriteAllBytes(files.File("haystack"), utf8[1..]);
        canaries.AssertNotIn(files.Contents());

        static byte[] Base64(string before, string text) =>
            Encoding.ASCII.GetBytes(Convert.ToBase64String(Encoding.UTF8.GetBytes($"{before}{text}after")));
    }

    private int round;

    // Every verb, with outcomes that are kept under idempotency keys: a set's, a replay's, a delete's with payload, a
    // refusal's.
    private async Task SucceedAsync(Uri url, string key, string name, string user)
    {
        round++;
        var payload = canaries.Plant($"payload of round {round}");
        var setting = canaries.Plant($"idempotency key of set {round}");
        var deleting = canaries.Plant($"idempotency key of delete {round}");
        var missing = canaries.Plant($"idempotency key of refusal {round}");
        using var client = new WireClient(url, key, "acct_1");
        foreach (var of in (string?[])[user, null])
        {
            Assert.Equal(
                name,
                (await client.SetAsync(name, payload, of, $"{setting}{of}")).Is(200).Body.GetProperty("name")
                    .GetString());
            Assert.Equal(
                "true",
                Assert.Single(
                    (await client.SetAsync(name, payload, of,
                        $"{setting}{of}")).Is(200).Headers.GetValues("Idempotent-Replayed")));
            Assert.Equal(payload, (await client.FindAsync(name, of)).Is(200).Payload);
            Assert.Contains(payload, (await client.ListAsync(of)).Is(200).Body.ToString(), StringComparison.Ordinal);
            (await client.SetAsync($"{name} to delete", payload, of)).Is(200);
            Assert.Equal(payload,
                (await client.DeleteAsync($"{name} to delete", of, $"{deleting}{of}")).Is(200).Payload);
            Assert.Equal(payload,
                (await client.DeleteAsync($"{name} to delete", of, $"{deleting}{of}")).Is(200).Payload);
            (await client.DeleteAsync($"{name} missing", of, $"{missing}{of}")).Is(404);
            (await client.DeleteAsync($"{name} missing", of, $"{missing}{of}")).Is(404);
            (await client.SetAsync(name, $"other {payload}", of, $"{setting}{of}")).Is(400);
        }
    }

    private async Task FailAsync(Uri url, string key, string admin)
    {
        round++;
        var word = canaries.Plant($"word of refused requests {round}");
        using var client = new WireClient(url, key);
        (await client.FindAsync(word)).Is(404);
        (await client.FindAsync(word, word)).Is(404);
        (await client.ListAsync(after: word)).Is(400);
        (await client.GetAsync("/v1/apps/secrets", ("scope[type]", word))).Is(400);
        (await client.GetAsync("/v1/apps/secrets", ("scope[type]", "account"), (word, word))).Is(400);
        (await client.SetAsync(word, string.Concat(Enumerable.Repeat(word, 200)))).Is(400);
        (await client.SetAsync(word, word, idempotencyKey: string.Concat(Enumerable.Repeat(word, 10)))).Is(400);
        (await client.GetAsync($"/v1/{word}", ("payload", word))).Is(404);
        (string Type, string Body)[] wrong =
        [
            ("application/json", $$"""{"payload":"{{word}}"}"""),
            ("application/x-www-form-urlencoded", $"payload={word}%zz&name={word}"),
        ];
        foreach (var (type, body) in wrong)
        {
            using var malformed = new HttpRequestMessage(HttpMethod.Post, "/v1/apps/secrets")
            {
                Content = new StringContent(body, new MediaTypeHeaderValue(type)),
            };
            (await client.SendAsync(malformed)).Is(400);
        }

        using var asAdmin = new WireClient(url, admin);
        (await asAdmin.SetAsync(word, word, word, word)).Is(403);
        using var stranger = new WireClient(url, $"sk_test_{word}");
        (await stranger.SetAsync(word, word, word, word)).Is(401);
    }
}
