using System.Diagnostics;
using System.Globalization;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Transfer;

namespace Coffer.Hosting;

/// <summary>
/// Writes a back-up into a directory at intervals, while requests are served, and removes those that are too old. What
/// is due is decided by the back-ups that are there, so a restart neither skips one nor makes one too many.
/// </summary>
internal sealed class BackupSchedule : IDisposable
{
    /// <summary>How long it rests between looks at the directory.</summary>
    public static readonly TimeSpan Rest = TimeSpan.FromMinutes(1);

    private const string Suffix = ".backup", Unfinished = NewFile.Unfinished, Prefix = "coffer-";

    /// <summary>One that is written is touched more often.</summary>
    private static readonly TimeSpan Abandoned = TimeSpan.FromHours(1);

    private static readonly TimeSpan LongestBreath = TimeSpan.FromMilliseconds(20);

    private readonly StoreLocation store;
    private readonly Instance instance;
    private readonly Committer committer;
    private readonly Plan plan;
    private readonly TimeProvider time;
    private readonly ILogger<BackupSchedule> log;
    private readonly LastingFailure failing;
    private long newest;
    private bool isFailureTold;

    public BackupSchedule(StoreLocation store, Instance instance, Committer committer, Plan plan, TimeProvider time,
        ILogger<BackupSchedule> log)
    {
        (this.store, this.instance, this.committer) = (store, instance, committer);
        (this.plan, this.time, this.log, failing) = (plan, time, log, new LastingFailure(log));
        newest = time.GetUtcNow().ToUnixTimeSeconds();
        Loop = new Loop("backups", RoundAsync, time, log);
    }

    public Loop Loop { get; }

    /// <summary>What the operator has set.</summary>
    /// <param name="Directory">Where back-ups go.</param>
    /// <param name="Keys">Where their keys of tenants go.</param>
    /// <param name="Every">How long after the last one the next is due.</param>
    /// <param name="Keep">How long one is kept; the newest is kept in any case.</param>
    public sealed record Plan(string Directory, string Keys, TimeSpan Every, TimeSpan Keep)
    {
        /// <summary>Null if nothing is set.</summary>
        public static Plan? Of(CofferOptions.BackupOptions set) => set.Directory is not { } directory ? null : new Plan(
            directory, set.KeysDirectory ?? directory, TimeSpan.FromHours(set.Hours), TimeSpan.FromDays(set.Days));

        /// <summary>Where the keys of tenants are of a back-up in the directory.</summary>
        public string KeysOf(string file) => Path.Combine(Keys, Path.GetFileName(file) + BackupKeys.Suffix);

        /// <summary>What is in the directory of a store's, for those who have to speak of it.</summary>
        public KnownBackups Known(byte[] store)
        {
            var known = new KnownBackups(Every, Keep);
            try
            {
                // In this order: what gets its name between the two is in the list.
                var isUnderWay = System.IO.Directory.EnumerateFiles(Directory, "*" + Suffix + Unfinished).Any();
                return known with
                {
                    IsUnderWay = isUnderWay,
                    Files = [.. List(Directory, store).Select(Known)],
                };
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return known;
            }
        }

        private static KnownBackup Known(Kept kept) => new(kept.Header.Id, Path.GetFileName(kept.File),
            kept.Header.Created, [.. kept.Header.Wrappings.Where(row => row.Version == kept.Header.RootVersion)
                .Select(row => row.Wrapper)]);
    }

    /// <summary>A back-up in the directory.</summary>
    /// <param name="File">Its data.</param>
    /// <param name="Header">What the first line of it says.</param>
    public sealed record Kept(string File, BackupHeader Header);

    /// <summary>
    /// Why the last back-up could not be made, or null. What is wrong names files: that is for the log, not for a
    /// caller of /readyz.
    /// </summary>
    public string? Trouble =>
        failing.IsOn ? "the last back-up could not be made; the server's log says why" : null;

    /// <summary>How old the newest is, or how long this server has looked and found none.</summary>
    public TimeSpan Age => time.GetUtcNow() - DateTimeOffset.FromUnixTimeSeconds(Volatile.Read(ref newest));

    /// <summary>How old the newest is to become, at most.</summary>
    public TimeSpan Period => plan.Every;

    public void Start() => Loop.Start();

    /// <summary>The back-ups of a store in a directory, oldest first.</summary>
    public static IReadOnlyList<Kept> List(string directory, byte[] store)
    {
        var kept = new List<Kept>();
        foreach (var file in Directory.EnumerateFiles(directory, "*" + Suffix))
        {
            try
            {
                using var reader = BackupReader.Open(file, BackupHeader.Data);
                if (reader.Header.Store.AsSpan().SequenceEqual(store))
                    kept.Add(new Kept(file, reader.Header));
            }
            catch (ConfigurationException)
            {
                // another file
            }
        }

        return [.. kept.OrderBy(each => each.Header.Created)];
    }

    /// <summary>Makes a back-up if one is due, and removes those that are too old.</summary>
    /// <returns>What was made, or null.</returns>
    /// <exception cref="IOException">A file cannot be written or removed.</exception>
    /// <exception cref="ApiError">The storage cannot be used.</exception>
    public async Task<Backup.Made?> RunOnceAsync(CancellationToken ct)
    {
        if (instance.Facts is null || instance.IsHeld)
            return null;
        Directory.CreateDirectory(plan.Directory);
        Directory.CreateDirectory(plan.Keys);
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        var kept = List(plan.Directory, instance.Id);
        if (kept.Count > 0)
            Volatile.Write(ref newest, kept[^1].Header.Created);
        if (kept.Count > 0 && kept[^1].Header.Created > now - (long)plan.Every.TotalSeconds
            && kept[^1].Header.Created <= now)
            return null;
        RemoveUnfinished(plan.Directory);
        RemoveUnfinished(plan.Keys);
        var made = await MakeAsync(now, ct);
        Volatile.Write(ref newest, now);
        foreach (var old in kept.Where(each => each.Header.Created < now - (long)plan.Keep.TotalSeconds))
        {
            File.Delete(plan.KeysOf(old.File));
            File.Delete(old.File);
            await RecordAsync("delete_backup", old.Header, rows: null);
        }

        return made;
    }

    public void Dispose() => Loop.Dispose();

    private async Task<Backup.Made> MakeAsync(long now, CancellationToken ct)
    {
        var at = DateTimeOffset.FromUnixTimeSeconds(now).UtcDateTime;
        var name = string.Create(CultureInfo.InvariantCulture, $"{Prefix}{at:yyyyMMdd'T'HHmmss'Z'}{Suffix}");
        var file = Path.Combine(plan.Directory, name);
        var made = await BackupFiles.WriteAsync(
            store, OpenAsync, file, null, plan.KeysOf(file), Breathing(ct), now, ct);
        await RecordAsync("create_backup", made.Header, made.Rows);
        log.LogInformation("A back-up was made: {File}, {Rows} rows, {Bytes} bytes", file, made.Rows, made.Bytes);
        return made;

        // Another node may have sealed under a root key that this one has not opened yet.
        async Task<Instance> OpenAsync(StoredKeys stored)
        {
            if (!instance.Roots.MayOpen(stored.Meta[Control.MetaKey]))
                await instance.Reload(ct);
            return instance;
        }
    }

    // What a process that was killed had begun: no run continues it.
    private void RemoveUnfinished(string directory)
    {
        foreach (var file in Directory.EnumerateFiles(directory, $"{Prefix}*{Suffix}*{Unfinished}"))
        {
            if (time.GetUtcNow().UtcDateTime - File.GetLastWriteTimeUtc(file) > Abandoned)
                File.Delete(file);
        }
    }

    private Task RecordAsync(string verb, BackupHeader header, long? rows) =>
        committer.CommitAsync(new Change.Noted(new AuditEntry(verb, "ok") { Target = header.Id, Count = rows }));

    // After each batch it rests as long as that took: requests find a free core.
    private static Action<Step> Breathing(CancellationToken ct)
    {
        var last = Stopwatch.GetTimestamp();
        return _ =>
        {
            ct.ThrowIfCancellationRequested();
            var took = Stopwatch.GetElapsedTime(last);
            ct.WaitHandle.WaitOne(took < LongestBreath ? took : LongestBreath);
            last = Stopwatch.GetTimestamp();
        };
    }

    private async Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        try
        {
            await RunOnceAsync(ct);
            failing.End();
            isFailureTold = false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ApiError
            or ConfigurationException)
        {
            failing.Begin(LogLevel.Error, e, "A back-up could not be made");
            await TellFailureAsync();
        }

        return Rest;
    }

    // Once for each row of failures, as soon as the store can be written.
    private async Task TellFailureAsync()
    {
        if (isFailureTold)
            return;
        try
        {
            await committer.CommitAsync(new Change.Late(() => instance.Level < Control.Events ? null : Event.Put(
                instance, Event.Owner.Store, EventKinds.BackupFailed,
                static json => json.WriteString("object"u8, "backup"u8), request: null, time.GetUtcNow())));
            isFailureTold = true;
        }
        catch (ApiError e) when (e.IsFault)
        {
            // The store is what fails: the next round tells it.
        }
    }
}
