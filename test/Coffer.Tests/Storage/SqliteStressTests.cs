using System.Collections.Concurrent;
using System.Globalization;
using Coffer.Storage;
using Coffer.Storage.Sqlite;

#pragma warning disable RS0030 // Random: nothing here is a secret.

namespace Coffer.Tests.Storage;

/// <summary>
/// Writers, readers and checkpoints on several connections against one file, all at once: what SQLite before 3.51.3
/// could corrupt a database by. Each acknowledged write is there at the end, each read is whole, and the file is sound.
/// </summary>
/// <remarks><c>SQLITE_STRESS_SECONDS</c> is how long it runs: 5 by default, 60 in the long form.</remarks>
[Trait("Firm ground", "1")]
[Trait("Engine", "SQLite")]
public sealed class SqliteStressTests : IDisposable
{
    private const int Writers = 3, Readers = 2, Checkpointers = 2, NamesOfAWriter = 200;
    private static readonly string[] Modes = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"];

    private readonly TemporaryDirectory directory = new();
    private readonly ConcurrentDictionary<SecretKey, long> stored = new(new SameKey());
    private readonly CancellationTokenSource over = new();
    private long commits, refused, reads, checkpoints, busy, reopened, tenant;

    private string StoreFile => directory.File("coffer.db");

    [Fact]
    public async Task Writers_readers_and_checkpoints_at_once_leave_a_sound_file_with_all_that_was_acknowledged()
    {
        var given = Environment.GetEnvironmentVariable("SQLITE_STRESS_SECONDS") ?? "5";
        var seconds = int.Parse(given, CultureInfo.InvariantCulture);
        var engines = Enumerable.Range(0, Writers).Select(_ => SqliteEngine.Open(StoreFile)).ToList();
        var owner = new TenantId("app_1", Livemode: false, "acct_1");
        Write(engines[0], new RowWrite.PutApp(new AppRow("app_1", "one", "acct_1", 1)));
        Write(engines[0], new RowWrite.AddTenant(owner, 1, [1]));
        tenant = (await engines[0].FindTenantAsync(owner, default))!.Id;

        List<Task> running =
        [
            .. engines.Select((engine, writer) => Run(() => WriteUntilOver(engine, writer, new Random(writer)))),
            .. Enumerable.Range(0, Readers).Select(at => Run(() => ReadUntilOverAsync(engines[at], new Random(~at)))),
            .. Enumerable.Range(20, Checkpointers).Select(seed => Run(() => CheckpointUntilOver(new Random(seed)))),
            Run(OpenAndCloseUntilOver),
        ];
        over.CancelAfter(TimeSpan.FromSeconds(seconds));
        await Task.WhenAll(running);

        TestContext.Current.TestOutputHelper?.WriteLine(
            $"SQLite {SqliteNative.Release}, {seconds} s: {commits} commits, {refused} refused and repeated, "
            + $"{reads} reads, {checkpoints} checkpoints, {busy} cut short, {reopened} opened and closed");
        await RequireAllStoredAsync(engines[0]);
        engines.ForEach(engine => engine.Dispose());
        RequireSound();

        // A run in which next to nothing happened would prove nothing.
        Assert.True(Math.Min(commits, reads) > 10 * seconds && checkpoints > 0, $"{commits} {reads} {checkpoints}");
    }

    public void Dispose()
    {
        over.Dispose();
        directory.Dispose();
    }

    private Task Run(Action work) => Run(() =>
    {
        work();
        return Task.CompletedTask;
    });

    // On a thread of its own: nothing in it waits but SQLite.
    private Task Run(Func<Task> work) => Task.Factory.StartNew(async () =>
    {
        try
        {
            await work();
        }
        catch
        {
            over.Cancel(); // the others need not continue
            throw;
        }
    }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap();

    private void WriteUntilOver(SqliteEngine engine, int writer, Random random)
    {
        for (var version = 1L; !over.IsCancellationRequested; version++)
        {
            // Each writer has names of its own: what it stored last is what must be there.
            var names = Enumerable.Range(0, random.Next(1, 9)).Select(_ => random.Next(NamesOfAWriter)).Distinct();
            var keys = names.Select(name => Key(writer, name)).ToList();
            var deletes = random.Next(5) == 0;
            RowWrite[] rows = [.. keys.Select(Write)];
            while (!Accepted(engine, rows))
                Interlocked.Increment(ref refused);
            foreach (var key in keys)
                stored[key] = deletes ? 0 : version;
            Interlocked.Increment(ref commits);

            RowWrite Write(SecretKey key) =>
                deletes ? new RowWrite.DeleteSecret(key) : new RowWrite.PutSecret(Secret(key, version));
        }
    }

    private async Task ReadUntilOverAsync(SqliteEngine engine, Random random)
    {
        while (!over.IsCancellationRequested)
        {
            var key = Key(random.Next(Writers), random.Next(NamesOfAWriter));
            if (await engine.FindSecretAsync(key, default) is { } found)
                RequireWhole(found);
            foreach (var row in (await engine.ListSecretsAsync(
                tenant, key.Name[..1], null, false, 0, 20, default)).Rows)
                RequireWhole(row);
            Interlocked.Increment(ref reads);
        }
    }

    private void CheckpointUntilOver(Random random)
    {
        using var connection = SqliteSession.Connect(StoreFile);
        using var command = connection.CreateCommand();
        while (!over.IsCancellationRequested)
        {
            command.CommandText = $"PRAGMA wal_checkpoint({Modes[random.Next(Modes.Length)]})";
            using var row = command.ExecuteReader();
            Assert.True(row.Read());
            Interlocked.Increment(ref row.GetInt64(0) == 0 ? ref checkpoints : ref busy);
        }
    }

    private void OpenAndCloseUntilOver()
    {
        while (!over.IsCancellationRequested)
        {
            using var session = new SqliteSession(StoreFile);
            Assert.InRange(session.Scalar("SELECT count(*) FROM secrets"), 0, Writers * NamesOfAWriter);
            Interlocked.Increment(ref reopened);
        }
    }

    private async Task RequireAllStoredAsync(SqliteEngine engine)
    {
        Assert.NotEmpty(stored);
        foreach (var (key, version) in stored)
        {
            var found = await engine.FindSecretAsync(key, default);
            Assert.Equal(version, found?.Version ?? 0);
            if (found is not null)
                RequireWhole(found);
        }
    }

    private void RequireSound()
    {
        using var session = new SqliteSession(StoreFile);
        using var row = session.Query("PRAGMA integrity_check");
        Assert.True(row.Read());
        Assert.Equal("ok", row.Text(0));
        Assert.Equal(stored.Count(entry => entry.Value > 0), session.Scalar("SELECT count(*) FROM secrets"));
    }

    private static bool Accepted(SqliteEngine engine, RowWrite[] rows)
    {
        try
        {
            Write(engine, rows);
            return true;
        }
        catch (ApiError e) when (e.Status == 503)
        {
            return false; // another connection held the file for too long; nothing was stored
        }
    }

    private static void Write(SqliteEngine engine, params RowWrite[] rows) =>
        engine.Write([new Change.Plain(rows)], _ => null);

    private SecretKey Key(int writer, int name) => new(tenant, [(byte)writer, (byte)name]);

    // What is stored can be told from name and version, so a mix of two versions shows.
    private static SecretRow Secret(SecretKey key, long version)
    {
        var content = new byte[100 + (int)(version * 37 % 6_000)];
        new Random(HashCode.Combine(key.Name[0], key.Name[1], version)).NextBytes(content);
        return new SecretRow(key, key.Name[..1], $"appsecret_{key.Name[0]}_{key.Name[1]}", version, 1, null, content);
    }

    private static void RequireWhole(SecretRow row) => Assert.Equal(Secret(row.Key, row.Version).Sealed, row.Sealed);

    private sealed class SameKey : IEqualityComparer<SecretKey>
    {
        public bool Equals(SecretKey x, SecretKey y) => x.Tenant == y.Tenant && x.Name.AsSpan().SequenceEqual(y.Name);

        public int GetHashCode(SecretKey key) => HashCode.Combine(key.Tenant, key.Name[0], key.Name[1]);
    }
}
