using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Tests.Api;

/// <summary>
/// Bodies whose length is sent, and those whose length is not: over HTTP/2 the official Go SDK tells none, and a proxy
/// that passes a body on as it comes sends it in chunks. Over HTTP/1.0, 1.1 and 2, and over TLS.
/// </summary>
[Trait("Firm ground", "9")]
public sealed class BodiesTests : IAsyncLifetime
{
    private const string Secrets = "/v1/apps/secrets";
    private const string Set = "name=k&payload=p&scope[type]=account";

    private readonly PemFiles files = new();
    private readonly TemporaryDirectory directory = new();
    private Server server = null!;

    public async ValueTask InitializeAsync() => server = await Server.StartAsync(new CofferOptions
    {
        Data = directory.Path,
        Listen = "https://127.0.0.1:0",
        AdminListen = "http://127.0.0.1:0",
        TlsCert = files.Cert,
        TlsKey = files.Key,
    }, new ManualTime(), default);

    public async ValueTask DisposeAsync()
    {
        await server.DisposeAsync();
        directory.Dispose();
        files.Dispose();
    }

    [Theory]
    [InlineData("1.1", true)]
    [InlineData("1.1", false)]
    [InlineData("2.0", true)]
    [InlineData("2.0", false)]
    public async Task A_body_is_read_whether_or_not_its_length_is_told(string version, bool tellsLength)
    {
        var form = $"name=k&payload={new string('p', 4_000)}&scope[type]=user&scope[user]=usr_1";
        var (status, json) = await SendAsync(HttpMethod.Post, Secrets, version, Content(form, tellsLength));
        Assert.Equal((200, "k"), (status, (string?)json["name"]));
        var named = Content("name=k&scope[type]=user&scope[user]=usr_1", tellsLength);
        (status, json) = await SendAsync(HttpMethod.Post, $"{Secrets}/delete", version, named);
        Assert.Equal((200, true), (status, (bool?)json["deleted"]));
    }

    [Theory]
    [InlineData("1.1")]
    [InlineData("2.0")]
    public async Task A_body_that_comes_a_byte_at_a_time_is_read_to_its_end(string version)
    {
        var form = new SlowStream(Encoding.ASCII.GetBytes("name=slow&payload=p&scope[type]=account"));
        var content = Form(new StreamContent(form, bufferSize: 1));
        var (status, json) = await SendAsync(HttpMethod.Post, Secrets, version, content);
        Assert.Equal((200, "slow"), (status, (string?)json["name"]));
    }

    [Theory]
    [InlineData("1.1", true)]
    [InlineData("1.1", false)]
    [InlineData("2.0", true)]
    [InlineData("2.0", false)]
    public async Task A_body_without_bytes_is_none_whatever_its_type(string version, bool tellsLength)
    {
        var content = Content("", tellsLength);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        var target = $"{Secrets}?name=k&payload=p&scope[type]=account";
        Assert.Equal(200, (await SendAsync(HttpMethod.Post, target, version, content)).Status);
    }

    [Theory]
    [InlineData("1.1", true)]
    [InlineData("1.1", false)]
    [InlineData("2.0", true)]
    [InlineData("2.0", false)]
    public async Task A_body_of_another_type_is_refused_and_the_connection_goes_on(string version, bool tellsLength)
    {
        foreach (var (type, encoding) in ((string, string?)[])[
                     ("application/json", null), ("application/x-www-form-urlencoded", "gzip")])
        {
            var content = Content(Set, tellsLength);
            content.Headers.ContentType = new MediaTypeHeaderValue(type);
            if (encoding is not null)
                content.Headers.ContentEncoding.Add(encoding);
            Assert.Equal(400, (await SendAsync(HttpMethod.Post, Secrets, version, content)).Status);
        }

        Assert.Equal(200, (await SendAsync(HttpMethod.Post, Secrets, version, Content(Set, tellsLength))).Status);
    }

    [Theory]
    [InlineData("1.1", true)]
    [InlineData("1.1", false)]
    [InlineData("2.0", true)]
    [InlineData("2.0", false)]
    public async Task A_body_that_is_too_large_is_413_whoever_tells_its_length(string version, bool tellsLength)
    {
        for (var tries = 1; ; tries++)
        {
            try
            {
                var large = Content($"name=k&payload={new string('p', 70_000)}", tellsLength);
                var (status, json) = await SendAsync(HttpMethod.Post, Secrets, version, large);
                Assert.Equal((413, "invalid_request_error"), (status, (string?)json["error"]!["type"]));
                return;
            }
            catch (HttpRequestException) when (tries < 10)
            {
                // The server answers and closes before it has read all: who is still sending may not see the answer.
            }
        }
    }

    [Theory]
    [InlineData("1.1")]
    [InlineData("2.0")]
    public async Task A_body_of_a_GET_or_DELETE_counts_as_its_query_does(string version)
    {
        Assert.Equal(200, (await SendAsync(HttpMethod.Post, Secrets, version, Content(Set, false))).Status);
        foreach (var tellsLength in (bool[])[true, false])
        {
            var scope = Content("scope[type]=account", tellsLength);
            var (status, json) = await SendAsync(HttpMethod.Get, $"{Secrets}/find?name=k", version, scope);
            Assert.Equal((200, "k"), (status, (string?)json["name"]));
            var foo = Content("foo=1", tellsLength);
            (status, json) = await SendAsync(HttpMethod.Delete, "/v1/ephemeral_keys/ephkey_1", version, foo);
            Assert.Equal((400, "foo"), (status, (string?)json["error"]!["param"]));
        }
    }

    [Fact]
    public async Task Over_HTTP_1_0_and_through_a_proxy_that_cuts_bodies_up_they_are_read()
    {
        await using var plain = await TestServer.StartAsync();
        var key = $"Authorization: Bearer {plain.Keys.TestSecretKey}\r\n";
        var old = await RawHttp.SendAsync(plain.Url, Encoding.ASCII.GetBytes(
            $"POST {Secrets} HTTP/1.0\r\n{key}Content-Length: {Set.Length}\r\n\r\n{Set}"));
        Assert.Equal((200, "k"), (old.IsOk().Status, (string?)old.Json["name"]));
        var chunks = string.Concat(
            Set.Chunk(5).Select(chunk => $"{chunk.Length:x};why=not\r\n{new string(chunk)}\r\n"));
        var proxied = await RawHttp.SendAsync(plain.Url, Encoding.ASCII.GetBytes(
            $"POST {Secrets} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{key}Transfer-Encoding: chunked\r\n" +
            $"X-Forwarded-For: 192.0.2.1\r\n\r\n{chunks}0\r\nX-Trailer: t\r\n\r\n"));
        Assert.Equal((200, "k"), (proxied.IsOk().Status, (string?)proxied.Json["name"]));
    }

    private static HttpContent Content(string form, bool tellsLength)
    {
        var bytes = Encoding.ASCII.GetBytes(form);
        return Form(tellsLength ? new ByteArrayContent(bytes) : new StreamContent(new SlowStream(bytes)));
    }

    private static HttpContent Form(HttpContent content)
    {
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-www-form-urlencoded");
        return content;
    }

    private async Task<(int Status, JsonNode Json)> SendAsync(
        HttpMethod method, string target, string version, HttpContent content)
    {
        using var client = WebServer.Client(files.Root, Version.Parse(version));
        using var request = new HttpRequestMessage(method, new Uri(server.Url, target))
        {
            Version = Version.Parse(version),
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", server.FirstKeys!.TestSecretKey);
        using var answer = await client.SendAsync(request);
        Assert.Equal(Version.Parse(version), answer.Version);
        return ((int)answer.StatusCode, JsonNode.Parse(await answer.Content.ReadAsStringAsync())!);
    }

    /// <summary>A stream that cannot tell how long it is, and gives its bytes after a turn of others.</summary>
    private sealed class SlowStream(byte[] bytes) : Stream
    {
        private int at;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            return Read(buffer.Span);
        }

        public override int Read(Span<byte> buffer)
        {
            var count = Math.Min(buffer.Length, bytes.Length - at);
            bytes.AsSpan(at, count).CopyTo(buffer);
            at += count;
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
