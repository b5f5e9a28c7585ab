using System.Collections.Concurrent;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// What ends ephemeral keys before their time, in memory: single keys by their ids, all that a key minted, all of an
/// app, an account or a tenant. What was added since the last look is read, in the order of commits, when it is told of
/// and at least every <see cref="Epoch.Bound"/>; all of it only where it is not known what was added.
/// </summary>
internal sealed class Revocations : IDisposable
{
    private const int Page = 5_000;

    /// <summary>How long what is over is left in memory.</summary>
    private const long Rest = 60;

    private readonly Engine engine;
    private readonly Instance instance;
    private readonly TimeProvider time;
    private readonly Bounds bounds;
    private readonly SemaphoreSlim loading = new(1);
    private Loaded? loaded;
    private long wanted;
    private long wantedWhole;
    private long wantedGenerations;

    /// <param name="engine">Where they stand.</param>
    /// <param name="instance">What proves generations.</param>
    /// <param name="time">For when they are over, and when they are read again.</param>
    /// <param name="bounds">How many are kept; null is as many as a server keeps.</param>
    public Revocations(Engine engine, Instance instance, TimeProvider time, Bounds? bounds = null)
    {
        (this.engine, this.instance, this.time) = (engine, instance, time);
        this.bounds = bounds ?? new Bounds(250_000, 1_000_000, 10_000);
        engine.Changed += Note;
    }

    /// <summary>
    /// How many rows are kept, for each takes memory on every node; who would add more ends more at once.
    /// </summary>
    /// <param name="OfAnApp">Single keys of an app.</param>
    /// <param name="InAll">Single keys.</param>
    /// <param name="Generations">Tenants of an app with a generation.</param>
    public sealed record Bounds(int OfAnApp, int InAll, int Generations);

    /// <summary>The subject that stands for all ephemeral keys of an account of an app.</summary>
    public static string Of(string app, string account) => $"{app}/{account}";

    /// <summary>The subject that stands for those of one mode.</summary>
    public static string Of(TenantId tenant) => $"{tenant.App}/{(tenant.Livemode ? "live" : "test")}/{tenant.Account}";

    /// <summary>What revokes, until the last key that it could concern has expired by itself.</summary>
    public static RowWrite.PutRevocation Write(string app, string subject, long madeUntil, long keptUntil) =>
        new(new RevocationRow(subject, madeUntil, keptUntil) { App = app });

    /// <summary>How many are in force, as of the last look.</summary>
    public int Count => Volatile.Read(ref loaded) is { } known ? known.Ids.Count + known.Subjects.Count : 0;

    /// <summary>Whether one more single key of an app may have a row.</summary>
    public bool HasRoomFor(string app) =>
        Volatile.Read(ref loaded) is not { } known
            || (known.Ids.Count < bounds.InAll && known.CountOf(app) < bounds.OfAnApp);

    /// <summary>Whether one more tenant of an app may have a generation.</summary>
    public bool HasRoomForGeneration(string app) =>
        Volatile.Read(ref loaded) is not { } known
            || known.Generations.Keys.Count(tenant => tenant.App == app) < bounds.Generations;

    /// <summary>Whether a key was ended, by itself or with others.</summary>
    public async ValueTask<bool> IsRevokedAsync(EphemeralKey key, CancellationToken ct)
    {
        var known = IsFresh(Volatile.Read(ref loaded)) ? loaded! : await LoadAsync(ct);
        if (known.Ids.ContainsKey(Loaded.Short(key.Id)))
            return true;
        return key.Ties is { } ties ? IsEnded(known, key, ties) : IsEndedByTime(known, key);
    }

    public void Dispose()
    {
        loading.Dispose();
    }

    // The order of commits decides. A row that a node of the release before wrote has no place in it: its time decides.
    private static bool IsEnded(Loaded known, EphemeralKey key, Ties ties)
    {
        if (known.HasSubjects && (IsOver(key.MintedBy) || IsOver(Of(key.Tenant.App, key.Account), onlyByTime: true)))
            return true;
        return known.GenerationOf(key.Tenant) != ties.Tenant
            || known.GenerationOf(Access.Generations.Removed) > ties.Last;

        bool IsOver(string subject, bool onlyByTime = false)
        {
            if (known.Find(subject) is not { } row)
                return false;
            return row.IsUnordered ? key.Created <= row.MadeUntil : !onlyByTime && ties.Last < row.Number;
        }
    }

    private static bool IsEndedByTime(Loaded known, EphemeralKey key)
    {
        return known.HasSubjects && (Concerns(key.MintedBy) || Concerns(key.Tenant.App) || Concerns(Of(key.Tenant))
            || Concerns(Of(key.Tenant.App, key.Account)));

        bool Concerns(string subject) => known.Find(subject) is { } row && key.Created <= row.MadeUntil;
    }

    private void Note(News news)
    {
        if (news.IsAllAccess)
            Interlocked.Increment(ref wantedWhole);
        if (news.HasRemovedGenerations)
            Interlocked.Increment(ref wantedGenerations);
        if (news.IsAllAccess || news.HasRevocations || news.HasGenerations || news.HasRemovedGenerations)
            Interlocked.Increment(ref wanted);
    }

    private bool IsFresh(Loaded? known) => known is not null && known.Version == Volatile.Read(ref wanted)
        && time.GetElapsedTime(known.At) < Epoch.Bound;

    // One reads for all who ask meanwhile.
    private async ValueTask<Loaded> LoadAsync(CancellationToken ct)
    {
        await loading.WaitAsync(ct);
        try
        {
            if (IsFresh(loaded))
                return loaded!;
            var (version, whole, generations) = (Volatile.Read(ref wanted), Volatile.Read(ref wantedWhole),
                Volatile.Read(ref wantedGenerations));
            var (at, now) = (time.GetTimestamp(), time.GetUtcNow().ToUnixTimeSeconds());
            // What older nodes write has no number. A clock that went back may have called over what is not.
            var known = loaded is { } last && last.Whole == whole && !engine.HasOlderNodes && now >= last.Swept - Rest
                ? last : new Loaded();
            await ReadRevocationsAsync(known, now, ct);
            var again = known.GenerationsVersion != generations;
            var rows = await engine.ListGenerationsAsync(again ? -1 : known.LastGeneration, ct);
            known.Add([.. rows.Select(row => (row, Access.Generations.IsWhole(instance, row)))], again);
            known.Sweep(now, Rest);
            (known.At, known.Whole, known.GenerationsVersion, known.Version) = (at, whole, generations, version);
            Volatile.Write(ref loaded, known);
            return known;
        }
        finally
        {
            loading.Release();
        }
    }

    // Those of the last number that was seen come again: nothing of that commit is missed, whatever part of it was
    // read. SQLite keeps a text where a number belongs, after every number: a page that does not lead on is the last.
    private async ValueTask ReadRevocationsAsync(Loaded known, long now, CancellationToken ct)
    {
        for (var (number, subject) = (known.Last, ""); ;)
        {
            var rows = await engine.ListRevocationsAsync(number, subject, Page, ct);
            foreach (var row in rows)
                known.Add(row, now - Rest);
            if (rows.Count < Page || !IsAfter(rows[^1], number, subject))
                return;
            (number, subject) = (rows[^1].Number, rows[^1].Subject);
        }
    }

    private static bool IsAfter(RevocationRow row, long number, string subject) => row.Number == number
        ? RowOrder.OfTexts.Compare(row.Subject, subject) > 0
        : row.Number > number;

    /// <summary>What was read. One at a time adds to it, while others look.</summary>
    private sealed class Loaded
    {
        private readonly ConcurrentDictionary<string, int> counts = new(StringComparer.Ordinal);
        private readonly Dictionary<string, string> apps = new(StringComparer.Ordinal);
        private ConcurrentDictionary<TenantId, long> generations = new();

        /// <summary>Single keys, in a form that takes little memory, and until when each is of any use.</summary>
        public ConcurrentDictionary<UInt128, (long KeptUntil, string App)> Ids { get; } = new();

        public ConcurrentDictionary<string, RevocationRow> Subjects { get; } = new(StringComparer.Ordinal);

        public ConcurrentDictionary<TenantId, long> Generations => Volatile.Read(ref generations);

        /// <summary>Whether there is anything but single keys.</summary>
        public bool HasSubjects { get; private set; }

        public long Last { get; private set; } = -1;

        public long LastGeneration { get; private set; } = -1;

        public long Swept { get; private set; }

        public long Version { get; set; }

        public long Whole { get; set; }

        public long GenerationsVersion { get; set; }

        public long At { get; set; }

        /// <summary>An id by its random part and its MAC: what else is in it they stand for.</summary>
        public static UInt128 Short(ReadOnlySpan<char> id)
        {
            var number = UInt128.Zero;
            foreach (var c in id[^Math.Min(id.Length, 2 * EphemeralKey.PartLength)..])
                number = unchecked((number * 67) + c);
            return number;
        }

        public int CountOf(string app) => counts.GetValueOrDefault(app);

        public RevocationRow? Find(string subject) => Subjects.GetValueOrDefault(subject);

        /// <summary>0 if there is none; less if it was changed outside Coffer, which is no key's.</summary>
        public long GenerationOf(TenantId tenant) => Generations.GetValueOrDefault(tenant);

        public void Add(RevocationRow row, long over)
        {
            Last = Math.Max(Last, row.Number);
            if (row.KeptUntil <= over)
                return;
            if (!EphemeralKey.IsId(row.Subject))
            {
                Subjects[row.Subject] = row;
                HasSubjects = true;
                return;
            }

            if (!apps.TryGetValue(row.App ?? "", out var app))
                apps.Add(app = row.App ?? "", app);
            if (Ids.TryAdd(Short(row.Subject), (row.KeptUntil, app)))
                counts.AddOrUpdate(app, 1, static (_, count) => count + 1);
        }

        /// <param name="rows">The rows, and whether each is as it was written.</param>
        /// <param name="isAll">Whether those that were known and are not among them are no more.</param>
        public void Add(IReadOnlyList<(GenerationRow Row, bool IsWhole)> rows, bool isAll)
        {
            var into = isAll ? new() : generations;
            foreach (var (row, isWhole) in rows)
            {
                LastGeneration = Math.Max(LastGeneration, row.Number);
                into[row.Tenant] = isWhole ? row.Number : -1;
            }

            Volatile.Write(ref generations, into);
        }

        /// <summary>Once in a while lets go what is over.</summary>
        public void Sweep(long now, long rest)
        {
            if (now < Swept + rest)
                return;
            Swept = now;
            foreach (var (subject, row) in Subjects)
            {
                if (row.KeptUntil <= now - rest)
                    Subjects.TryRemove(subject, out _);
            }

            foreach (var (id, (keptUntil, app)) in Ids)
            {
                if (keptUntil <= now - rest && Ids.TryRemove(id, out _))
                    counts.AddOrUpdate(app, 0, static (_, count) => count - 1);
            }
        }
    }
}
