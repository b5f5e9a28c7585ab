using System.Net;
using System.Security.Cryptography;
using System.Text;
using BenchmarkDotNet.Attributes;
using Coffer.Api;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Hosting;
using Coffer.Http;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Storage;
using Coffer.Telemetry;
using Microsoft.AspNetCore.Http;

namespace Coffer.Micro;

/// <summary>The parts of a request, each alone, over a secret of 200 bytes: time and what it allocates.</summary>
[MemoryDiagnoser(displayGenColumns: false)]
public class Parts : IDisposable
{
    private const string Account = "acct_1032D82eZvKYlo2C", App = "app_1", User = "usr_00000042";
    private const int Batch = 64;

    private readonly SealingKey key = new(1, RandomNumberGenerator.GetBytes(SealingKey.Size));
    private readonly byte[] payload = RandomNumberGenerator.GetBytes(200), bound = Bound();
    private readonly byte[] body = Encoding.ASCII.GetBytes(
        $"name=api_key&scope[type]=user&scope[user]={User}&payload={new string('p', 200)}&expand[]=payload");
    private readonly string token = Tokens.Generate("sk_test_");
    private readonly RowWriter writer;
    private readonly ChainPlace place;
    private readonly AuditEntry[] entries;
    private readonly Owned secret;
    private readonly DefaultHttpContext answered = new();
    private readonly RequestMetrics metrics = new(mostApps: 0);
    private byte[] envelope = [];

    public Parts()
    {
        var generation = StoreGeneration.After(0, 1_780_000_000);
        var log = new LogKeys(MacKey.Derived(RandomNumberGenerator.GetBytes(32), "micro"u8));
        var keys = new AuditKeys(() => log, () => throw new NotSupportedException("nothing is signed"), new byte[16])
        {
            Generation = () => generation,
        };
        writer = new RowWriter(keys);
        var tenant = new TenantId(App, Livemode: false, Account);
        entries = [.. Enumerable.Range(0, Batch).Select(n => new AuditEntry("set", "ok")
        {
            Request = $"req_{n:00000000000000}",
            Remote = "192.0.2.1",
            Key = "key_0123456789abcdef",
            Tenant = tenant,
            Scope = "user",
            Name = RandomNumberGenerator.GetBytes(16),
            Version = n + 1,
        })];
        // In the segment of the generation, as all rows but its first are.
        place = writer.Write(new ChainPlace("node_1", AuditChain.Start(log, keys.Store, "node_1"), 0), entries,
            DateTimeOffset.UnixEpoch, last: null).After;
        var row = new SecretRow(new SecretKey(1, new byte[16]), new byte[16], "secret_0123456789abcdef0123", 7,
            1_780_000_000, ExpiresAt: null, []);
        secret = new Owned(tenant, row, new Secret(row.Id, new SecretName("api_key"u8),
            Scope.ForUser(Encoding.ASCII.GetBytes(User)), Livemode: false, row.Created, ExpiresAt: null, row.Version,
            Encoding.ASCII.GetBytes(new string('p', 200))));
        answered.Request.Method = "GET";
        answered.Request.Scheme = "http";
        answered.Connection.RemoteIpAddress = IPAddress.Loopback;
        Metrics.TurnOn();
    }

    /// <summary>The keys are hot, as those of an account that is in use.</summary>
    [GlobalSetup]
    public void Warm()
    {
        for (var i = 0; i < 10; i++)
            envelope = SealEnvelope();
    }

    [GlobalCleanup]
    public void Dispose()
    {
        key.Dispose();
        writer.Dispose();
        secret.Dispose();
        GC.SuppressFinalize(this);
    }

    [Benchmark]
    public byte[] SealEnvelope() => Envelope.Seal(SealedKind.Secret, key, payload, bound);

    [Benchmark]
    public bool ProveEnvelope() => Envelope.Proves(key, envelope, bound);

    [Benchmark]
    public void OpenEnvelope() => Envelope.Open(key, envelope, bound)!.Dispose();

    /// <summary>Query and body of a set, and its five parameters.</summary>
    [Benchmark]
    public int ReadForm()
    {
        using var form = new StripeForm("", body);
        form.Only("name", "scope", "payload", "expand");
        return form.RequiredText("name", 5_000).Length + form.RequiredText("scope[type]", 5_000).Length
            + form.RequiredText("scope[user]", 5_000).Length
            + form.RequiredText("payload", 5_000, isSecret: true).Length;
    }

    [Benchmark]
    public int WriteJson()
    {
        using var json = StripeJson.Begin();
        SecretsApi.WriteOwned(json.Writer, secret, wantsPayload: true);
        return json.Finish().Length;
    }

    [Benchmark]
    public bool CheckToken() => Tokens.IsWellFormed(token);

    /// <summary>One entry of a batch of 64, in both chains.</summary>
    [Benchmark(OperationsPerInvoke = Batch)]
    public object ChainEntry() => writer.Write(place, entries, DateTimeOffset.UnixEpoch, last: null).Row;

    /// <summary>What metrics do for each request, but for the timestamps.</summary>
    [Benchmark]
    public void CountRequest()
    {
        var exchange = new Exchange(answered, 0) { RequestId = "req_00000000000042", Route = "/v1/apps/secrets/find" };
        exchange.End(TimeProvider.System, isAnswered: true);
        metrics.Count(exchange);
    }

    private static byte[] Bound()
    {
        using var fields = new AssociatedData("coffer v1 secret"u8);
        fields.Add(new byte[16]);
        fields.Add(App);
        fields.Add(Account);
        fields.Add(new byte[16]);
        fields.Add(new byte[16]);
        fields.Add(1_780_000_000);
        return fields.Span.ToArray();
    }
}
