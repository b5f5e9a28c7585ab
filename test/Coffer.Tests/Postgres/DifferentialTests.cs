using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Postgres;

/// <summary>
/// The same random batches of changes on both engines: what each change finds, which are refused or fail, and what
/// every read gives afterwards must be the same. SQLite, which writes one row after the other, is the model of the
/// engine that decides a batch in memory. TEST_SEED repeats a run.
/// </summary>
public sealed class DifferentialTests(PostgresServer server) : IDisposable
{
    // make proof runs many more.
    private static readonly int Batches =
        int.Parse(Environment.GetEnvironmentVariable("DIFFERENTIAL_BATCHES") ?? "200", CultureInfo.InvariantCulture);

    private static readonly TenantId[] Owners =
        [.. from app in (string[])["app_a", "app_b"] from livemode in (bool[])[false,
            true] from account in (string[])["acct_1", "acct_2"] select new TenantId(app, livemode, account)];

    private readonly TemporaryDirectory directory = new();
    private readonly Choices choices = new();
    private long clock = 1_000;
    private long ids;
    private long entries;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Both_engines_do_the_same(bool partitioned)
    {
        var store = await server.NewDatabaseAsync();
        Side[] sides = [new(SqliteEngine.Open(directory.File("coffer.db"))),
            new(await PostgresEngine.OpenAsync(store, default))];
        if (partitioned)
            await Partitions.MakeAsync(store);
        var batch = 0;
        try
        {
            for (; batch < Batches; batch++)
            {
                clock += Next(20);
                var changes = Enumerable.Range(0, 1 + Next(8)).Select(_ => NewChange()).ToList();
                var (audits, first) = (Next(2) == 0, entries + 1);
                foreach (var side in sides)
                    side.Write(changes,
                        audits ? new AuditRow("node_1", first, first, Bytes(first), Bytes(first)) : null);
                Same(sides, side => side.Log);
                if (audits && !sides[0].HasFailed)
                    entries++;
                await CompareReadsAsync(sides);
            }

            // A test that never gets anywhere proves nothing.
            Assert.True(sides[0].Found > Batches, $"only {sides[0].Found} rows were found");
        }
        catch (Exception e)
        {
            Assert.Fail($"{choices}, batch {batch}: {e}");
        }
        finally
        {
            foreach (var side in sides)
                side.Dispose();
        }
    }

    public void Dispose() => directory.Dispose();

    // Made once for both sides, which differ in nothing but the numbers of tenants.
    private Func<Side, Probe> NewChange()
    {
        var (owner, name, scope) = (Owners[Next(Owners.Length)], Bytes(Next(6)), Bytes(100 + Next(2)));
        var (seen, stranger) = (Owners[Next(Owners.Length)], Bytes(Next(6)));
        var (expiry, now, id, key) =
            (Next(3) == 0 ? clock - 50 + Next(200) : (long?)null, clock - 50 + Next(100), $"appsecret_{++ids:d6}",
                Bytes(200 + Next(5)));
        var (value, number, refuses) = (Bytes(1000 + Next(100)), clock, Next(12) == 0);
        var (app, token, account) = (Next(2) == 0 ? "app_a" : "app_b", Next(5), Next(2) == 0 ? "acct_1" : "acct_2");
        var (asksAll, keepsId, limit) = (Next(2) == 0, Next(2) == 0, Next(5));
        switch (Next(39))
        {
            case < 8: // set, as SecretChange does: its scope is counted
                return side => new Probe(side, refuses)
                {
                    Secret = side.Key(owner, name),
                    Scope = side.Scope(owner, scope),
                    Idempotency = asksAll ? new IdempotencyKey(side.Number(owner), key) : null,
                    CountAt = now,
                    Decides = found => found.Counter is null ? [] :
                    [
                        new RowWrite.PutSecret(new SecretRow(side.Key(owner, name), scope,
                            keepsId && found.Secret is { } last ? last.Id : id,
                            (found.Secret?.Version ?? 0) + 1, number, expiry, value)),
                        .. asksAll
                            ? [
                                new RowWrite.PutIdempotency(
                                    new IdempotencyRow(new IdempotencyKey(side.Number(owner), key), value, number,
                                        name))]
                            : (RowWrite[])[],
                    ],
                };
            case < 11: // delete
                return side =>
                    new Probe(side, refuses)
                    {
                        Secret = side.Key(owner, name),
                        Decides = found =>
                            found.Counter is not null ? [new RowWrite.DeleteSecret(side.Key(owner, name))] : [],
                    };
            case 11: // writes to another secret than it asks for
                return side => new Probe(side, refuses)
                {
                    Secret = side.Key(owner, name),
                    Scope = side.Scope(owner, scope),
                    CountAt = now,
                    Decides = found => (found.Counter is not null, keepsId) switch
                    {
                        (false, _) => [],
                        (true, true) => [new RowWrite.DeleteSecret(side.Key(owner, stranger))],
                        (true, false) => [
                            new RowWrite.PutSecret(
                                new SecretRow(side.Key(owner, stranger), scope, id, 1, number, expiry, value))],
                    },
                };
            case 12:
                return side => new Probe(side, refuses)
                {
                    Secret = side.Key(owner, name),
                    Idempotency = new IdempotencyKey(side.Number(owner), key),
                    Decides = found =>
                        found.Counter is not null
                            ? [
                                new RowWrite.PutIdempotency(
                                    new IdempotencyRow(new IdempotencyKey(side.Number(owner), key), value, number,
                                        name))]
                            : [],
                };
            case 13:
                return side => new Probe(side, refuses) { Decides = _ => [new RowWrite.PruneIdempotency(now, limit)] };
            case 34 or 35: // moves to where a secret is stored now from where it was before, as SecretChange does
                return side => new Probe(side, refuses)
                {
                    Secret = side.Key(owner, name),
                    Scope = side.Scope(owner, scope),
                    Older = [new(side.Key(owner, stranger), side.Scope(owner, Bytes(101)),
                        asksAll ? new IdempotencyKey(side.Number(owner), key) : null)],
                    CountAt = now,
                    Decides = found => (found.Counter is not null, found.Older[0].Secret) switch
                    {
                        (true, { } old) when !old.Key.Name.AsSpan().SequenceEqual(name) =>
                        [
                            new RowWrite.DeleteSecret(old.Key),
                            new RowWrite.PutSecret(old with { Key = side.Key(owner, name), Scope = scope, Id = id }),
                        ],
                        _ => [],
                    },
                };
            case 36: // makes a tenant unless its account is closed, or closes it with what it has, or opens it again
            case 37:
            case 38:
                return side => new Probe(side, refuses)
                {
                    Management = new Change.ManagementKey
                    {
                        App = keepsId ? owner.App : null,
                        Account = keepsId ? (owner.Account, now) : null,
                        Closed = Closed(owner),
                        Mint = keepsId || limit > 3 ? null : ($"key_{token}", owner),
                    },
                    Decides = found => (found.Management!, keepsId) switch
                    {
                        ({ Uninstalled: { } gone }, true) => [new RowWrite.DeleteUninstall(gone.Key),
                            new RowWrite.AddTenant(owner, number, value) { Install = gone.Install }],
                        (var managed, true) =>
                        [
                            .. managed.Tenants.Where(tenant => tenant.Livemode == owner.Livemode).Select(
                                tenant => new RowWrite.ShredTenant(tenant.Id, owner)),
                            new RowWrite.PutUninstall(
                                new UninstallRow(Closed(owner), $"install_{token}", limit, number, $"rcpt_{token}")),
                        ],
                        ({ Uninstalled: not null }, _) => [],
                        _ => [new RowWrite.AddTenant(owner, number, value) { Install = $"install_{token}" }],
                    },
                };
            case 31: // gives a tenant other keys
                return side => new Probe(side, refuses)
                {
                    Secret = side.Key(owner, name),
                    Decides = found => found.Counter is { } counter
                        ? [new RowWrite.PutTenantKeys(side.Number(owner), owner, value, counter + 1, 1 + limit)]
                        : [],
                };
            case 32: // seals again what is kept
                return side => new Probe(side, refuses)
                {
                    Idempotency = new IdempotencyKey(side.Number(owner), key),
                    Decides = found => found.Idempotency is { } kept
                        ? [new RowWrite.ResealIdempotency(keepsId ? kept : kept with { Sealed = name }, value)]
                        : [],
                };
            case 33:
                return side => new Probe(side, refuses)
                {
                    Management = new Change.ManagementKey { Reply = key },
                    Decides = found => found.Management!.Reply is { } kept
                        ? [new RowWrite.ResealReply(keepsId ? kept : kept with { Sealed = name }, value)]
                        : [],
                };
            case < 17:
                return side =>
                    new Probe(side, refuses) { Decides = _ => [new RowWrite.AddTenant(owner, number, value)] };
            case 17: // forget
                return side => new Probe(side, refuses)
                {
                    Management =
                        new Change.ManagementKey { App = owner.App, Account = (owner.Account, now), Reply = key },
                    Decides = found =>
                        [.. found.Management!.Tenants.Select(
                            tenant =>
                                new RowWrite.ShredTenant(
                                    tenant.Id,
                                    owner with { Livemode = tenant.Livemode })),
                                        new RowWrite.DeleteReplies(Bytes(token))],
                };
            case < 20:
                return side => new Probe(side, refuses)
                {
                    Management = new Change.ManagementKey { App = app },
                    Decides = found => asksAll || found.Management!.AppHasTenants || keepsId
                        ? [
                            new RowWrite.PutApp(
                                new AppRow(app, $"name {number}", "acct_own", found.Management!.App?.Created ?? number,
                                    keepsId ? value : null))]
                        : [new RowWrite.DeleteApp(app)],
                };
            case < 22:
                return side => new Probe(side, refuses)
                {
                    Management =
                        new Change.ManagementKey
                        {
                            App = asksAll ? app : null,
                            ApiKey = $"key_{token}",
                            Reply = limit == 0 ? key : null
                        },
                    Decides = found => (found.Management, keepsId) switch
                    {
                        ({ ApiKey: { } known }, true) =>
                        [
                            new RowWrite.PutEndedKey(new EndedKeyRow(known.Mac, known.Id, known.App, known.Kind,
                                known.Livemode, known.Created, number, "revoked", value)),
                            new RowWrite.DeleteApiKey(known.Id),
                        ],
                        ({ ApiKey: { } known }, false) =>
                            [new RowWrite.PutApiKey(
                                known with { ExpiresAt = expiry, Proof = value }),
                                    new RowWrite.TouchApiKey(known.Id, number)],
                        ({ App: { } of }, _) =>
                            [new RowWrite.PutApiKey(
                                new ApiKeyRow(Bytes(300 + token), $"key_{token}", of.Id, null, "secret", false, number,
                                    null, value) { Permissions = "a,b", Addresses = "::/0" })],
                        _ =>
                            [new RowWrite.PutApiKey(
                                new ApiKeyRow(Bytes(300 + token), $"key_{token}", null, null, "admin", true, number,
                                    expiry, value) { Role = "viewer", Apps = owner.App, CreatedBy = "key_0" })],
                    },
                };
            case 22:
                return side => new Probe(side, refuses)
                {
                    Management = new Change.ManagementKey { Reply = key },
                    Decides = _ =>
                        [new RowWrite.PutReply(new ReplyRow(key, keepsId ? Bytes(token) : null, value, number, name))],
                };
            case 23:
                return side => new Probe(side, refuses)
                {
                    Decides = _ =>
                        [new RowWrite.PutRevocation(
                            new RevocationRow($"key_{token}", now, now + limit)), new RowWrite.PutMeta(
                                $"audit cut {limit}", value)],
                };
            case 24:
                return side => new Probe(side, refuses)
                {
                    Decides = _ =>
                    [
                        // All that there may be: those of one commit are numbered in an order of each engine's own.
                        new RowWrite.PruneReplies(now - 200, 5 + limit),
                        new RowWrite.DeleteRevocations([$"key_{token}", $"app {account}"], now),
                    ],
                };
            case 25:
                return side => new Probe(side, refuses)
                {
                    Decides = _ => keepsId ? [new RowWrite.PruneReceipts(now - 200)]
                        : [new RowWrite
                            .PutReceipt(new ReceiptRow($"rcpt_{token}", number, asksAll ? null : now, value))],
                };
            case 26: // ends what was minted, by the number of its own commit
                return side => new Probe(side, refuses)
                {
                    Management = new Change.ManagementKey
                    {
                        App = asksAll ? app : null,
                        ApiKey = keepsId ? $"key_{token}" : null,
                        NeedsNumber = true,
                    },
                    Decides = found => Ending(found.Management!),
                };
            case 27:
                return side => new Probe(side, refuses)
                {
                    Decides = _ => keepsId ? [new RowWrite.KeepGeneration(owner, now + 10 * limit)]
                        : [new RowWrite.DeleteGeneration(owner, 1 + limit, now),
                            new RowWrite.DeleteGeneration(seen, ids, now)],
                };
            case < 30: // mint
                return side => new Probe(side, refuses)
                {
                    Management = new Change.ManagementKey
                    {
                        Mint = ($"key_{token}", owner),
                        Reply = asksAll ? key
                        : null
                    },
                    Decides = found => found.Management!.Mint!.Generation is null ? []
                        : [new RowWrite.PutReply(new ReplyRow(key, Bytes(token), value, number, name))],
                };
            default:
                // The numbers of audit rows are each engine's own: what is pruned is said by their order. With it goes
                // where the log begins.
                return side => new Probe(side, refuses)
                {
                    Management = new Change.ManagementKey { AsksOldestAudit = true },
                    Decides = found =>
                        found.Management!.OldestAudit == 0 ? [] :
                        [
                            new RowWrite.PruneAudit(side.AuditRow(limit)),
                            new RowWrite.PutMeta(Coffer.Storage.AuditRow.CutPrefix + "node_1", value),
                        ],
                };
        }

        RowWrite[] Ending(Change.ManagementFound found) =>
        [
            new RowWrite.PutGeneration(new GenerationRow(owner, found.Number, now + limit, value)),
            .. found.ApiKey is { } known ? [new RowWrite.PutApiKey(known with { Generation = found.Number })]
                : (RowWrite[])[],
            new RowWrite.PutRevocation(new RevocationRow($"app {account}", now, now + 10 * limit) { App = app }),
        ];
    }

    private static UninstallKey Closed(TenantId owner) => new(owner.App, owner.Livemode, Bytes(owner.Account[^1]));

    private async Task CompareReadsAsync(Side[] sides)
    {
        foreach (var side in sides)
            await side.LookAsync();
        var (owner, name, scope, now) =
            (Owners[Next(Owners.Length)], Bytes(Next(6)), Bytes(100 + Next(2)), clock - 50 + Next(100));
        var (bound, limit, newer) = ($"appsecret_{Next((int)ids + 2):d6}", 1 + Next(6), Next(2) == 0);
        var filter = new SecretFilter(Next(2) == 0 ? owner.App : null, Next(2) == 0 ? owner.Account : null,
            Next(2) == 0 ? owner.Livemode : null, Next(2) == 0 ? clock + Next(100) : null);
        await SameAsync(sides, async side => await side.Engine.FindSecretAsync(side.Key(owner, name), default));
        await SameAsync(sides, async side => await side.Engine.FindTenantAsync(owner, default));
        await SameAsync(
            sides,
            async side =>
            {
                var (counter, rows) = await side.Engine.ListSecretsAsync(
                    side.Number(owner), scope, Next(side, 3) == 0 ? null : bound, newer, now, limit, default);
                side.Note(counter);
                return rows;
            });
        await SameAsync(
            sides,
            async side =>
                await side.Engine.ListTenantSecretsAsync(side.Number(owner), newer ? bound : null, now, limit,
                    default));
        await SameAsync(sides,
            async side => await side.Engine.FindSecretAsync(side.Number(owner), bound, now, default));
        await SameAsync(sides, side => AllFoundAsync(side, filter, now, limit));
        await SameAsync(sides,
            async side => (await side.Engine.ListExpiredAsync(now, 1_000, default)).Select(side.Shown).Order());
        await SameAsync(sides, async side => await side.Engine.FindOldestIdempotencyAsync(default));
        await SameAsync(sides, async side => await side.Engine.FindAppAsync(owner.App, default));
        await SameAsync(sides, async side => await side.Engine.ListUnsealedAsync(newer ? "app_a" : "", limit, default));
        await SameAsync(sides, async side =>
            await side.Engine.ListAppsAsync(new Place(Next(side, 3), "app_a"), newer, limit, default));
        await SameAsync(
            sides,
            async side =>
                await side.Engine.ListApiKeysAsync(newer ? owner.App : null, new Place(Next(side, 3), $"key_{limit}"),
                    newer, limit, default));
        await SameAsync(sides, async side => await side.Engine.FindApiKeyAsync($"key_{limit}", default));
        await SameAsync(sides, async side => await side.Engine.FindApiKeyAsync(Bytes(300 + limit), default));
        await SameAsync(sides, async side => await side.Engine.FindEndedKeyAsync(Bytes(300 + limit), default));
        await SameAsync(sides, async side => await side.Engine.ListKeysOverAsync(now, now, "", limit, default));
        await SameAsync(sides,
            async side => (await side.Engine.ListApiKeyMacsAsync(default)).Select(Convert.ToHexString).Order());
        await SameAsync(sides, async side =>
            await side.Engine.ListRevocationsAsync(Next(side, 2) - 1, "", limit, default));
        await SameAsync(sides, async side =>
            (await side.Engine.ListEndedRevocationsAsync(now, 1_000, default)).Order(StringComparer.Ordinal));
        await SameAsync(sides, async side => await side.Engine.ListGenerationsAsync(Next(side, 3) - 1, default));
        await SameAsync(sides,
            async side => await side.Engine.ListAccountsAsync(
                owner.App, newer ? "acct_1" : "", newer, now, limit, default));
        await SameAsync(
            sides,
            async side =>
                (await side.Engine.ListMetaAsync("audit cut ", default)).Select(
                    meta => $"{meta.Key} {Convert.ToHexString(meta.Value)}"));
        await SameAsync(
            sides,
            async side =>
                (await side.Engine.ListAuditAsync(newer ? 0 : long.MaxValue, !newer, limit * 100,
                    default)).Select(row => row.Row));
        await SameAsync(sides, async side => await side.Engine.FindLastAuditAsync("node_1", default));
        await SameAsync(sides, async side => await side.Engine.FindReceiptAsync($"rcpt_{limit}", default));
        await SameAsync(sides, async side => await side.Engine.FindAsync(
            UninstallRow.Of, default, owner.App, owner.Livemode, Closed(owner).Account));
        await SameAsync(sides, async side => (await side.Engine.ListAsync(UninstallRow.GoingBelow, default, owner.App,
            owner.Livemode, 0, now, newer ? 3 : long.MaxValue, 9)).OrderBy(row => row.Row.Key.Account[0]));
        await SameAsync(sides, async side =>
            (await side.Engine.FindAsync(InstallRow.ByOwner, default, owner.App, owner.Livemode, owner.Account))
            is { } row ? row with { Number = 0 } : null);
        await SameAsync(sides,
            async side => await side.Engine.ListPendingReceiptsAsync(newer ? (now, "rcpt_2") : null, limit, default));
        await SameAsync(sides, side => Task.FromResult<object?>(
            side.Engine.FindAudit("node_1", Next(side, 2) == 0 ? limit : long.MaxValue)));
        await SameAsync(sides, side => Task.FromResult<object?>(side.Engine.FindMeta("audit cut node_1")));
        Same(sides, side => side.Log);
    }

    private static async Task<object?> AllFoundAsync(Side side, SecretFilter filter, long now, int limit)
    {
        var found = new List<FoundSecretRow>();
        (long?, SecretKey)? after = null;
        while (await side.Engine.SearchSecretsAsync(filter, after, now, limit, default) is { Count: > 0 } page)
        {
            found.AddRange(page);
            after = (filter.ExpiringBefore is null ? null : page[^1].Secret.ExpiresAt, page[^1].Secret.Key);
        }

        // Between tenants the order is that of their numbers, which are each engine's own.
        return found.OrderBy(row => filter.ExpiringBefore is null ? null : row.Secret.ExpiresAt)
            .ThenBy(row => row.Tenant.ToString(), StringComparer.Ordinal).Select(
                row => new { row.Tenant, Secret = side.Shown(row.Secret) });
    }

    private static async Task SameAsync(Side[] sides, Func<Side, Task<object?>> read)
    {
        foreach (var side in sides)
            side.Note(await read(side));
    }

    private static void Same(Side[] sides, Func<Side, IReadOnlyList<string>> log)
    {
        Assert.Equal(string.Join('\n', log(sides[0])), string.Join('\n', log(sides[1])));
        foreach (var side in sides)
            side.Clear();
    }

    private int Next(int below) => choices.Next(below);

    // Within a read, both sides draw the same.
    private static int Next(Side side, int below) => (int)(side.Reads % below);

    private static byte[] Bytes(long number) => BitConverter.GetBytes(number);

    /// <summary>
    /// One engine, with the numbers that it gave to tenants, and what it said, in a form that knows no numbers.
    /// </summary>
    private sealed class Side(Engine engine) : IDisposable
    {
        private static readonly JsonSerializerOptions Json = new() { Converters = { new Hex() } };
        private readonly Dictionary<TenantId, long> numbers = [];
        private readonly List<string> log = [];
        private List<long> audit = [];

        public Engine Engine => engine;

        public IReadOnlyList<string> Log => log;

        public long Reads { get; private set; }

        public int Found { get; private set; }

        public bool HasFailed { get; private set; }

        public long Number(TenantId owner) => numbers.GetValueOrDefault(owner, 999_999);

        public SecretKey Key(TenantId owner, byte[] name) => new(Number(owner), name);

        public ScopeKey Scope(TenantId owner, byte[] scope) => new(Number(owner), scope);

        public long AuditRow(int place) => place < audit.Count ? audit[place] : 0;

        public void Write(List<Func<Side, Probe>> changes, AuditRow? entry)
        {
            var batch = changes.Select(change => (Change)change(this)).ToList();
            try
            {
                engine.Write(batch, _ => entry is null ? null : new RowWrite.PutAudit(entry));
                HasFailed = false;
                log.Add("refused: " + string.Concat(batch.Select(change => change.Committed.IsFaulted ? 'x' : '.')));
            }
            catch (ApiError e) when (e.IsFault)
            {
                // How far the decisions came before it showed is each engine's own.
                HasFailed = true;
                log.Clear();
                log.Add("failed");
            }
        }

        /// <summary>What is not compared, but needed to say the same thing to both.</summary>
        public async Task LookAsync()
        {
            numbers.Clear();
            foreach (var owner in Owners)
            {
                if (await engine.FindTenantAsync(owner, default) is { } row)
                    numbers.Add(owner, row.Id);
            }

            audit = [.. (await engine.ListAuditAsync(0, newestFirst: false, long.MaxValue, default))
                .Select(row => row.Number)];
        }

        public void Note(object? said)
        {
            Reads++;
            if (said is not null)
                Found++;
            log.Add(said switch
            {
                null => "null",
                SecretRow row => Shown(row),
                IReadOnlyList<SecretRow> rows => string.Join(' ', rows.Select(Shown)),
                TenantRow row =>
                    $"{Owner(row.Id)} {Convert.ToHexString(row.SealedKeys)} {row.Counter} {row.Keys}",
                _ => JsonSerializer.Serialize(said, Json),
            });
        }

        public void Note(Change.Found found, long? countAt) => log.Add(string.Join(" | ",
            found.Counter, found.Secret is { } secret ? Shown(secret) : "",
                found.Idempotency is { } kept ? $"{kept.Created} {Convert.ToHexString(kept.Fingerprint)}" : "",
            string.Join(' ', found.Older.Select(rows => $"{(rows.Secret is { } old ? Shown(old) : "")} "
                + Convert.ToHexString(rows.Idempotency?.Fingerprint ?? []))),
            countAt is { } now && Change.Found.MayAdd(found.Secret)
                ? found.LiveInScope(now)
                : "", found.Management is { } m
                ? JsonSerializer.Serialize(new
                {
                    m.App,
                    m.AppHasTenants,
                    m.ApiKey,
                    m.OtherOwnerKeys,
                    Tenants = m.Tenants.Select(row => $"{Owner(row.Id)} {row.Secrets}").Order(),
                    m.Reply,
                    Any = m.OldestAudit > 0,
                    m.Number,
                    Mint = m.Mint is { } mint ? new { mint.Key, mint.App, mint.Generation } : null,
                    m.Uninstalled
                }, Json) : ""));

        public string Shown(SecretKey key) => $"{Owner(key.Tenant)} {Convert.ToHexString(key.Name)}";

        public string Shown(SecretRow row) =>
            $"{Shown(row.Key)} {Convert.ToHexString(row.Scope)} {row.Id} {row.Version} {row.Created} {row.ExpiresAt} "
                + $"{Convert.ToHexString(row.Sealed)}";

        public void Clear() => log.Clear();

        public void Dispose() => engine.Dispose();

        private TenantId? Owner(long number) => numbers.FirstOrDefault(entry => entry.Value == number).Key;
    }

    private sealed class Probe(Side side, bool refuses) : Change
    {
        public SecretKey? Secret { get; init; }

        public ScopeKey? Scope { get; init; }

        public IdempotencyKey? Idempotency { get; init; }

        public ManagementKey? Management { get; init; }

        public IReadOnlyList<OlderPlace> Older { get; init; } = [];

        public long? CountAt { get; init; }

        public required Func<Found, RowWrite[]> Decides { get; init; }

        public override SecretKey? SecretAt => Secret;

        public override ScopeKey? ScopeAt => Scope;

        public override IdempotencyKey? IdempotencyAt => Idempotency;

        public override ManagementKey? ManagementAt => Management;

        public override IReadOnlyList<OlderPlace> OlderAt => Older;

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            side.Note(found, CountAt);
            return refuses ? throw new InvalidOperationException("no") : Decides(found);
        }
    }

    private sealed class Hex : System.Text.Json.Serialization.JsonConverter<byte[]>
    {
        public override byte[] Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options) =>
            throw new NotSupportedException();

        public override void Write(Utf8JsonWriter writer, byte[] value, JsonSerializerOptions options) =>
            writer.WriteStringValue(Convert.ToHexString(value));
    }
}
