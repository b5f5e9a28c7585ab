using System.Text;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Secrets;

/// <summary>
/// The engine fails at its n-th call, for every n there is: before it does the work, or after it did and before it
/// could say so, as a crash between commit and answer. The client repeats with the same idempotency key, as the SDKs
/// do; every operation must then have had one effect, and nothing else may have changed.
/// </summary>
public sealed class FaultTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly ManualTime time = new();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Wherever_the_storage_fails_a_repeated_request_has_one_effect(bool afterwards)
    {
        var n = 0;
        for (var failed = true; failed; n++)
            failed = await RunAsync(n, afterwards);
        // A transaction for each of the twelve operations, and the tenant's: fewer calls would mean that the test sees
        // nothing.
        Assert.InRange(n, 15, 100);
    }

    /// <returns>Whether the n-th call came.</returns>
    private async Task<bool> RunAsync(int n, bool afterwards)
    {
        var data = directory.File($"{n}-{afterwards}");
        Directory.CreateDirectory(data);
        KeyFile.Create(Path.Combine(data, "coffer.key"), time.Now);
        var (instance, rows) = await Instance.CreateAsync(
            KeyWrappers.OfFile(Path.Combine(data, "coffer.key")), time.Seconds, default);
        using var engine = new FaultyEngine(SqliteEngine.Open(Path.Combine(data, "coffer.db")));
        var chain = new AuditChain(AuditKeys.Of(instance), "node_1", null, time);
        using var refusals = new Refusals(time);
        using var committer = new Committer(engine, 100, chain.InLoop(engine));
        var app = App.Create(instance, "app", time.Seconds).App.ToRow(instance);
        await committer.CommitAsync(new Change.Plain([.. rows, new RowWrite.PutApp(app)]));
        var recorder = new Recorder(committer, static () => new AuditPolicy(Buffered: false, MetadataReads: false),
            NullLogger<Recorder>.Instance);
        var tenants = new Tenants(engine, committer, instance, time, CofferOptions.DefaultOpenTenants);
        var gate = new Gate(refusals, recorder, engine);
        var store = new SecretStore(engine, committer, gate, tenants, new SecretId(time), time)
        {
            SecretsPerScope = static () => 3,
            Room = Room.OfThisMachine(),
        };
        var caller = new Coffer.Access.Caller("key_1", KeyKind.Secret, new TenantId(app.Id, false, "acct_1"),
            Origin.Internal);
        var model = new Dictionary<string, (string Payload, long Version)>();

        engine.FailAt(n, afterwards);
        for (var i = 0; i < 12; i++)
        {
            var (name, payload) = ($"k{i * 7 % 5}", $"payload {i}");
            var deletes = i % 4 == 3;
            var outcome = await RepeatAsync(() => deletes
                ? store.DeleteAsync(caller, Scope.Account, Name(name), wantsPayload: true, ifVersion: null,
                    new IdempotencyClaim($"key {i}", $"req_{i}"), default)
                : store.SetAsync(caller, Scope.Account, Name(name), Encoding.UTF8.GetBytes(payload), null, null,
                    new IdempotencyClaim($"key {i}", $"req_{i}"), default));

            // What must have come of it, whether this was the first outcome or its replay.
            var known = model.TryGetValue(name, out var before);
            if (deletes)
            {
                Assert.Equal(known ? before.Payload : null,
                    outcome.Secret is { } gone ? Encoding.UTF8.GetString(gone.Payload!.Value.Span) : null);
                model.Remove(name);
            }
            else if (!known && model.Count == 3)
            {
                Assert.Equal(400, outcome.Error!.Status);
            }
            else
            {
                Assert.Equal(before.Version + 1, outcome.Secret!.Version);
                model[name] = (payload, before.Version + 1);
            }
        }

        var happened = engine.Failed;
        engine.FailAt(null, afterwards);
        var page = await store.ListAsync(caller, Scope.Account, null, null, 100, wantsPayload: true, default);
        Assert.Equal(model.OrderBy(entry => entry.Key), page.Secrets
            .Select(
                secret =>
                    KeyValuePair.Create(secret.Name.Text,
                        (Encoding.UTF8.GetString(secret.Payload!.Value.Span), secret.Version))).OrderBy(entry =>
                        entry.Key));

        // And the log has an entry for each effect, in a chain that holds, wherever it failed.
        var verification = new Verification(AuditKeys.Of(instance).Proof);
        var log = await engine.ListAuditAsync(0, newestFirst: false, long.MaxValue, default);
        foreach (var (_, row) in log)
            verification.Add(row);
        Assert.Empty(verification.Problems);
        Assert.Equal(12, log.SelectMany(row => Verification.Lines(row.Row)).Count(line =>
            Verification.Field(line, "verb") is "set" or "delete"
                && Verification.Field(line, "outcome") is not "replayed"));
        return happened;
    }

    private static async Task<WriteOutcome> RepeatAsync(Func<ValueTask<WriteOutcome>> request)
    {
        try
        {
            return await request();
        }
        catch (ApiError e) when (e.Status == 503)
        {
            Assert.True(e.ShouldRetry);
            return await request();
        }
    }

    private static SecretName Name(string name) => new(Encoding.UTF8.GetBytes(name));

    public void Dispose() => directory.Dispose();

    /// <summary>A real engine, one call of which fails.</summary>
    private sealed class FaultyEngine(Engine real) : Engine
    {
        private int? left;
        private bool after;

        public bool Failed { get; private set; }

        public void FailAt(int? call, bool afterwards) => (left, after, Failed) = (call, afterwards, false);

        public override string Name => real.Name;

        public override ValueTask<string> FindReleaseAsync(CancellationToken ct) =>
            Call(() => real.FindReleaseAsync(ct));

        public override ValueTask<(long Found, long Known)> ProveSchemaAsync(CancellationToken ct) =>
            Call(() => real.ProveSchemaAsync(ct));

        public override ValueTask<T?> FindAsync<T>(
            Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values) where T : class
        {
            var given = values.ToArray();
            return Call(() => real.FindAsync(query, ct, given));
        }

        public override ValueTask<IReadOnlyList<T>> ListAsync<T>(
            Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values)
        {
            var given = values.ToArray();
            return Call(() => real.ListAsync(query, ct, given));
        }

        public override Reach Reach => real.Reach;

        public override ValueTask<bool> EraseAsync(CancellationToken ct) => Call(() => real.EraseAsync(ct));

        public override T? FindByWriter<T>(Query<T> query, params ReadOnlySpan<SqlValue> values) where T : class
        {
            var given = values.ToArray();
            return Call(() => real.FindByWriter(query, given));
        }

        public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain) =>
            Call(() =>
        {
            real.Write(changes, chain);
            return true;
        });

        public override void Dispose() => real.Dispose();

        private T Call<T>(Func<T> work)
        {
            var fails = left-- == 0;
            Failed |= fails;
            if (fails && !after)
                throw ApiError.StorageUnavailable(new IOException("the engine fails before its work"));
            var result = work();
            return fails
                ? throw ApiError.StorageUnavailable(new IOException("the engine fails after its work"))
                : result;
        }
    }
}
