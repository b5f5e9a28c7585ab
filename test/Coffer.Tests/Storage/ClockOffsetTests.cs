using System.Text;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Storage;

/// <summary>
/// A node whose clock is not the database's (S33): what it decides goes by that, and what it reads by both.
/// </summary>
[Trait("Firm edges", "22")]
public sealed class ClockOffsetTests : IAsyncLifetime
{
    private static readonly Caller Admin = new("key_1", KeyKind.Admin, null, new Origin("req_1", ""))
    {
        Role = Role.Owner,
    };

    private readonly TemporaryDirectory directory = new();
    private readonly ManualTime time = new();
    private OffsetEngine engine = null!;
    private Committer committer = null!;
    private Instance instance = null!;
    private Tenants tenants = null!;
    private Gate gate = null!;
    private Refusals refusals = null!;
    private string app = "";

    public async ValueTask InitializeAsync()
    {
        var key = directory.File("coffer.key");
        KeyFile.Create(key, time.Now);
        (instance, var rows) = await Instance.CreateAsync(KeyWrappers.OfFile(key), time.Seconds, default);
        engine = new OffsetEngine(SqliteEngine.Open(directory.File("coffer.db")));
        committer = new Committer(
            engine, 100, new AuditChain(AuditKeys.Of(instance), "node_1", null, time).InLoop(engine));
        var made = App.Create(instance, "app", time.Seconds).App.ToRow(instance);
        app = made.Id;
        await committer.CommitAsync(new Change.Plain([.. rows, new RowWrite.PutApp(made)]));
        refusals = new Refusals(time);
        var recorder = new Recorder(committer, static () => new AuditPolicy(Buffered: false, MetadataReads: false),
            NullLogger<Recorder>.Instance);
        gate = new Gate(refusals, recorder, engine);
        tenants = new Tenants(engine, committer, instance, time, CofferOptions.DefaultOpenTenants);
    }

    public ValueTask DisposeAsync()
    {
        committer.Dispose();
        refusals.Dispose();
        engine.Dispose();
        directory.Dispose();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_node_ahead_replays_what_the_management_plane_keeps_and_decides_by_the_databases_clock()
    {
        var management = new ManagementWriter(committer, tenants, time);
        var began = time.Seconds;
        var first = await WriteAsync("a key");
        Assert.Equal(($"{began}", null), first);

        var ahead = TimeSpan.FromHours(25);
        time.Step(ahead);
        engine.Ahead = ahead;
        Assert.Equal(($"{began}", "req_1"), await WriteAsync("a key"));
        Assert.Equal(($"{began}", null), await WriteAsync("another key"));
        long? decided = null;
        await management.WriteAsync(new Change.ManagementKey(), (_, now) =>
        {
            decided = now;
            return [];
        }, Admin.Entry("test", "ok"));
        Assert.Equal(began, decided);

        // That it is a day later by the database's clock too has both forgotten.
        engine.Ahead = TimeSpan.Zero;
        Assert.Equal(($"{time.Seconds}", null), await WriteAsync("a key"));

        async Task<(string Body, string? Original)> WriteAsync(string key)
        {
            var entry = Admin.Entry("test", "ok");
            var reply = await management.WriteAsync(
                new ManagementWriter.Request<string>(
                    Admin, key, [1], static body => SecretBytes.Copy(Encoding.UTF8.GetBytes(body))),
                new Change.ManagementKey(), entry,
                (_, now) => new ManagementWriter.Decision<string>($"{now}", [], entry));
            using var body = reply.Body;
            return (Encoding.UTF8.GetString(body.Span), reply.OriginalRequest);
        }
    }

    [Fact]
    public async Task A_node_behind_lists_counts_exports_and_reveals_nothing_that_has_expired_by_the_databases_clock()
    {
        using var scans = new Scans();
        var ids = new SecretId(time);
        var store = new SecretStore(engine, committer, gate, tenants, ids, time)
        {
            SecretsPerScope = static () => 3,
            Room = Room.OfThisMachine(),
        };
        var management = new ManagementWriter(committer, tenants, time);
        var accounts = new Accounts(engine, instance, gate, management, tenants, time) { Room = store.Room };
        var search = new SecretSearch(engine, scans, instance, gate, tenants, time);
        var owner = new Caller("key_2", KeyKind.Secret, new TenantId(app, false, "acct_1"), Origin.Internal);
        var set = await store.SetAsync(owner, Scope.Account, new SecretName("k"u8.ToArray()), "p"u8.ToArray(),
            time.Seconds + 10, null, null, default);

        foreach (var (ahead, isThere) in ((int, bool)[])[(0, true), (-9, true), (-10, false), (20, true)])
        {
            engine.Ahead = TimeSpan.FromSeconds(ahead);
            var listed = Assert.Single(await accounts.ListAsync(Admin, app, null, 10, default));
            Assert.Equal(isThere ? 1 : 0, listed.Test);
            var (exported, _, room) = await accounts.ExportAsync(
                Admin, app, "acct_1", livemode: false, "r", null, 10, default);
            room?.Dispose();
            Assert.Equal(isThere ? 1 : 0, exported.Count);
            Assert.Equal(isThere ? 1 : 0,
                (await search.SearchAsync(Admin, app, null, null, null, null, 10, default)).Secrets.Count);
            var revealed = () => accounts.RevealAsync(Admin, app, "acct_1", set.Secret!.Id, "r", default);
            if (isThere)
                Assert.Equal("p"u8.ToArray(), (await revealed()).Secret!.Payload!.Value.ToArray());
            else
                Assert.Equal(404, (await Assert.ThrowsAsync<ApiError>(revealed)).Status);
        }
    }

    /// <summary>A real engine, and this machine's clock as far ahead of its own as is said.</summary>
    private sealed class OffsetEngine(Engine real) : Engine
    {
        public TimeSpan Ahead { get; set; }

        public override TimeSpan? ClockOffset => Ahead;

        public override string Name => real.Name;

        public override Reach Reach => real.Reach;

        public override ValueTask<string> FindReleaseAsync(CancellationToken ct) => real.FindReleaseAsync(ct);

        public override ValueTask<(long Found, long Known)> ProveSchemaAsync(CancellationToken ct) =>
            real.ProveSchemaAsync(ct);

        public override ValueTask<T?> FindAsync<T>(
            Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values) where T : class =>
            real.FindAsync(query, ct, values);

        public override ValueTask<IReadOnlyList<T>> ListAsync<T>(
            Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values) =>
            real.ListAsync(query, ct, values);

        public override T? FindByWriter<T>(Query<T> query, params ReadOnlySpan<SqlValue> values) where T : class =>
            real.FindByWriter(query, values);

        public override ValueTask<bool> EraseAsync(CancellationToken ct) => real.EraseAsync(ct);

        public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain) =>
            real.Write([.. changes.Select(change => new Offset(change, Ahead))], chain);

        public override void Dispose() => real.Dispose();
    }

    /// <summary>A change that finds how far the clock is ahead.</summary>
    private sealed class Offset(Change of, TimeSpan ahead) : Change
    {
        public override SecretKey? SecretAt => of.SecretAt;

        public override long? TenantAt => of.TenantAt;

        public override ScopeKey? ScopeAt => of.ScopeAt;

        public override ManagementKey? ManagementAt => of.ManagementAt;

        public override IReadOnlyList<RowWrite> Decide(Found found) => of.Decide(found with { Ahead = ahead });

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => of.NotesOn(refusal);
    }
}
