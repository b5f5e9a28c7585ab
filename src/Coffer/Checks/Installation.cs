using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;

namespace Coffer.Checks;

/// <summary>
/// What is looked at: the settings, the files, and the store as it was at one moment. What another check has to open
/// first says so where it could not.
/// </summary>
internal sealed class Installation : IDisposable
{
    private readonly DateTime anchorWritten;
    private volatile bool isGivenUp, isClosed;
    private volatile SqliteCopy? copy;
    private Engine? engine;
    private Instance? instance;
    private Task<PostgresCondition>? condition;

    public Installation(CofferOptions options, TimeProvider time)
    {
        (Options, Time) = (options, time);
        if (options.Data.Length == 0)
            return;
        Data = Path.GetFullPath(options.Data);
        (StoreFile, KeyFile, CheckpointFile) = DataDirectory.FilesOf(Data);
        CheckpointFile = options.Checkpoints ?? CheckpointFile;
        AnchorFile = DataDirectory.AnchorOf(Data);
        Holder = DataDirectory.HolderOf(Data);
        anchorWritten = File.GetLastWriteTimeUtc(AnchorFile);
    }

    public CofferOptions Options { get; }

    public TimeProvider Time { get; }

    /// <summary>The data directory; empty if none is set.</summary>
    public string Data { get; } = "";

    public string StoreFile { get; } = "";

    public string KeyFile { get; } = "";

    public string CheckpointFile { get; } = "";

    public string AnchorFile { get; } = "";

    /// <summary>The process that serves from the data directory, or null.</summary>
    public int? Holder { get; }

    /// <summary>The lines of the checkpoint file, read before the store: none speaks of what is not read.</summary>
    public string[] Checkpoints { get; private set; } = [];

    /// <summary>The store.</summary>
    /// <exception cref="NotLookedException">It could not be opened.</exception>
    public Engine Engine => engine ?? throw new NotLookedException("the store is not open, see schema");

    /// <summary>Its keys.</summary>
    /// <exception cref="NotLookedException">They could not be opened.</exception>
    public Instance Instance => Engine is { } && instance is { } opened ? opened
        : throw new NotLookedException("the store's keys are not open, see root_keys");

    /// <summary>What is in force: of what concerns the store, what the store keeps, where its keys are open.</summary>
    public CofferOptions InForce => StoreSettings.Apply(Options, instance?.Facts?.Settings);

    /// <summary>Whether what was read may be of more than one moment.</summary>
    public bool WasDisturbed => engine is SqliteEngine { WasDisturbed: true }
        || (engine is not null && File.GetLastWriteTimeUtc(AnchorFile) != anchorWritten);

    /// <summary>What wraps the root keys; one that is away is not waited for.</summary>
    public KeySettings Keys => Options.RootKey.Or(KeyFile) with { Patience = TimeSpan.Zero };

    /// <exception cref="NotLookedException">No data directory is set.</exception>
    public void RequireData()
    {
        if (Data.Length == 0)
            throw new NotLookedException("no data directory is set, see settings");
    }

    /// <summary>Opens the store to be read, once.</summary>
    /// <exception cref="ConfigurationException">It cannot be read.</exception>
    public async Task<Engine> OpenAsync(CancellationToken ct)
    {
        try
        {
            Checkpoints = File.Exists(CheckpointFile) ? await File.ReadAllLinesAsync(CheckpointFile, ct) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The check of the checkpoints says so; the log is proven without them.
        }

        return Options.Store is { } database
            ? await PostgresEngine.OpenToReadAsync(database, ct)
            : SqliteEngine.OpenToRead(StoreFile, Own);
    }

    /// <summary>From now on the other checks have it.</summary>
    public void Take(Engine opened) => engine = opened;

    /// <inheritdoc cref="Take(Engine)"/>
    public void Take(Instance opened) => instance = opened;

    /// <summary>How the server of the database is doing, asked once.</summary>
    public Task<PostgresCondition> ConditionAsync(CancellationToken ct) =>
        condition ??= ((PostgresEngine)Engine).FindConditionAsync(Time, ct).AsTask();

    /// <summary>When the store was last changed, by its audit log; null if it never was.</summary>
    public async Task<DateTimeOffset?> FindLastChangeAsync(CancellationToken ct) =>
        await Engine.ListAuditAsync(long.MaxValue, newestFirst: true, size: 0, ct) is [var (_, row)]
            ? Verification.TimeOf(row)
            : null;

    /// <summary>A check is at it still, and nobody waits for it: the process will end before it is closed.</summary>
    public void GiveUp() => isGivenUp = true;

    public void Dispose()
    {
        isClosed = true;
        if (!isGivenUp)
            engine?.Dispose();
        else
            RemoveCopy();
    }

    private void Own(SqliteCopy made)
    {
        copy = made;
        if (isClosed)
            throw new OperationCanceledException("the store was given up");
    }

    // The process ends before the check does, and would leave it. On Linux an open file is no hindrance.
    private void RemoveCopy()
    {
        try
        {
            copy?.Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The check that is at it writes there at this moment.
        }
    }
}
