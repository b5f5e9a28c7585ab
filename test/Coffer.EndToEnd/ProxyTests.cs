using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Coffer.EndToEnd;

/// <summary>A key goes through a proxy if that is asked for, and else never.</summary>
[Trait("Firm edges", "4")]
public sealed class ProxyTests : IDisposable
{
    private static readonly string[] Variables = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"];

    private readonly TcpListener proxy = new(IPAddress.Loopback, 0);

    public ProxyTests() => proxy.Start();

    private string Url => $"http://127.0.0.1:{((IPEndPoint)proxy.LocalEndpoint).Port}";

    [Theory]
    [InlineData("http://127.0.0.1:1")]
    [InlineData("http://localhost:1")]
    [InlineData("http://nobody.invalid:1")]
    public async Task A_variable_that_other_programs_know_sends_no_key_anywhere(string server)
    {
        var environment = Variables.ToDictionary(name => name, _ => Url);
        (await RunAsync(server, environment)).Refused(69, "no answer from");
        Assert.False(proxy.Pending());
    }

    [Theory]
    [InlineData("http://127.0.0.1:1")]
    [InlineData("http://[::1]:1")]
    [InlineData("http://[::ffff:127.0.0.1]:1")]
    public async Task For_a_server_of_this_machine_none_is_used(string server)
    {
        (await RunAsync(server, new Dictionary<string, string> { ["COFFER_PROXY"] = Url })).Refused(69, "no answer");
        Assert.False(proxy.Pending());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task One_that_is_asked_for_is_used(bool isFlag)
    {
        var asked = ReadAsync();
        var ran = isFlag
            ? await RunAsync("http://coffer.invalid", [], "--proxy", Url)
            : await RunAsync("http://coffer.invalid", new Dictionary<string, string> { ["COFFER_PROXY"] = Url });
        ran.Refused(69, "not what was asked for");
        Assert.StartsWith("GET http://coffer.invalid/v1/apps/secrets", await asked, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_certificate_that_is_not_trusted_is_named_and_one_of_an_authority_that_is_given_is_accepted()
    {
        using var data = new TemporaryDirectory();
        using var files = new TemporaryDirectory();
        var pem = PemPair.Make(files);
        await using var coffer = await CofferProcess.ServeAsync(data, "--listen", "https://127.0.0.1:0", "--tls-cert",
            pem.Cert, "--tls-key", pem.Key);
        var server = coffer.Url.ToString();
        var refused = (await RunAsync(server, [])).Refused(69, "its certificate is not trusted", "--ca FILE");
        Assert.DoesNotContain("inner exception", refused.Stderr, StringComparison.Ordinal);
        foreach (var (more, environment) in ((string[], Dictionary<string, string>)[])[
            (["--ca", pem.Cert], []), ([], new() { ["COFFER_CA"] = pem.Cert })])
        {
            environment["COFFER_API_KEY"] = coffer.TestKey;
            (await RunAsync(server, environment, more)).EndedWith(0);
        }

        (await RunAsync(server, [], "--ca", pem.Key)).Refused(78, "there is no certificate in");
        (await RunAsync(server, [], "--ca", files.File("none"))).Refused(78, files.File("none"));
    }

    public void Dispose() => proxy.Dispose();

    private static Task<Ran> RunAsync(
        string server, Dictionary<string, string> environment, params string[] more) => Ran.ProgramAsync(Needs.Program,
        ["secrets", "list", "--url", server, .. more],
        new Dictionary<string, string> { ["COFFER_API_KEY"] = "sk_test_x", ["NO_PROXY"] = "", ["no_proxy"] = "" }
            .Concat(environment).GroupBy(each => each.Key).ToDictionary(each => each.Key, each => each.Last().Value));

    private async Task<string> ReadAsync()
    {
        using var client = await proxy.AcceptTcpClientAsync(TestContext.Current.CancellationToken);
        var bytes = new byte[4096];
        var length = await client.GetStream().ReadAsync(bytes, TestContext.Current.CancellationToken);
        await client.GetStream().WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"u8.ToArray(),
            TestContext.Current.CancellationToken);
        return Encoding.ASCII.GetString(bytes, 0, length);
    }
}
