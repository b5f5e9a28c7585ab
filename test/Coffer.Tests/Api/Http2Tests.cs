using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Tests.Api;

/// <summary>The API as a whole over https and HTTP/2, where bodies arrive in pieces of many requests.</summary>
public sealed class Http2Tests
{
    [Fact]
    public async Task A_hundred_of_the_largest_sets_at_once_on_one_connection_are_all_taken()
    {
        using var files = new PemFiles();
        using var directory = new TemporaryDirectory();
        await using var server = await Server.StartAsync(new CofferOptions
        {
            Data = directory.Path,
            Listen = "https://127.0.0.1:0",
            AdminListen = "http://127.0.0.1:0",
            TlsCert = files.Cert,
            TlsKey = files.Key,
        }, new ManualTime(), default);
        Assert.Equal(("https", "http"), (server.Url.Scheme, server.AdminUrl!.Scheme));
        using var client = WebServer.Client(files.Root, HttpVersion.Version20);
        client.Timeout = TimeSpan.FromSeconds(20);
        var payload = string.Concat(Enumerable.Repeat("🔑", 5_000)); // 60,000 bytes as they are sent
        var answers = await Task.WhenAll(
            Enumerable.Range(0, 100).Select(
                number => SendAsync(HttpMethod.Post, "", $"usr_{number}", ("payload", payload))));
        Assert.All(answers, answer => Assert.Equal(200, answer.Status));
        Assert.Equal(
            payload,
            (string?)JsonNode.Parse(
                (await SendAsync(HttpMethod.Get, "/find", "usr_99", ("expand[]", "payload"))).Text)!["payload"]);

        async Task<(int Status, string Text)> SendAsync(HttpMethod method, string path, string user,
            (string Name, string Value) more)
        {
            using var form = new FormUrlEncodedContent(
                [new("scope[type]", "user"), new("scope[user]", user), new("name", "k"), new(more.Name, more.Value)]);
            using var request = new HttpRequestMessage(
                method,
                new Uri(server.Url,
                    $"/v1/apps/secrets{path}{(method == HttpMethod.Get ? $"?{await form.ReadAsStringAsync()}" : "")}"))
            {
                Version = HttpVersion.Version20,
                VersionPolicy = HttpVersionPolicy.RequestVersionExact,
                Content = method == HttpMethod.Get ? null : form,
            };
            request.Headers.Host = WebServer.Name;
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", server.FirstKeys!.TestSecretKey);
            using var answer = await client.SendAsync(request);
            Assert.Equal(HttpVersion.Version20, answer.Version);
            Assert.True(answer.Headers.Contains("Strict-Transport-Security"));
            return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
        }
    }
}
