using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// Keeps the root keys of a node as the control row says: whichever node changes it, this one reads it again, writes
/// its anchor and tells the others which root key it has opened. It also takes the steps of a rotation that is under
/// way.
/// </summary>
internal sealed class ControlWatch : IDisposable
{
    /// <summary>How long it rests between steps that wait for something, and after a failure.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1), PauseOfWarning = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How long it rests while nothing is under way. It is told of each change; but a rotation waits for every node,
    /// and would wait for ever for one that was not told.
    /// </summary>
    private static readonly TimeSpan PauseOfIdle = TimeSpan.FromSeconds(20);

    private readonly Engine engine;
    private readonly Instance instance;
    private readonly KeyParts keys;
    private readonly LastingFailure failing;
    private readonly SemaphoreSlim following = new(1);
    private readonly CancellationTokenSource stop = new();
    private RootRotation? rotation;

    public ControlWatch(Engine engine, Instance instance, KeyParts keys, ILogger<ControlWatch> log)
    {
        (this.engine, this.instance, this.keys) = (engine, instance, keys);
        failing = new LastingFailure(log);
        Loop = new Loop("root_keys", RoundAsync, TimeProvider.System, log) { Pauses = (Pause, PauseOfWarning) };
    }

    public Loop Loop { get; }

    /// <summary>Why the store is not to be believed, or null.</summary>
    public string? Trouble { get; private set; }

    /// <summary>Why a root key that does not seal yet is not open here, or null.</summary>
    public string? Warning { get; private set; }

    public void Start(RootRotation steps)
    {
        rotation = steps;
        Tell();
        Loop.Start();
    }

    /// <summary>Sees whether the control row may have been changed.</summary>
    public void Note(News news)
    {
        if (news.HasControl)
            Loop.Wake();
    }

    /// <summary>Reads the control row, and goes by it when this returns.</summary>
    /// <exception cref="ApiError">
    /// 503: it could not be read. What this node cannot prove then is not damaged for that.
    /// </exception>
    public async Task FollowAsync(CancellationToken ct)
    {
        if (await FollowAsync(asksForNew: false, ct) is { } failure)
            throw failure;
    }

    private async Task<ApiError?> FollowAsync(bool asksForNew, CancellationToken ct)
    {
        await following.WaitAsync(ct);
        try
        {
            await instance.FollowAsync(engine, keys.Wrappers, asksForNew, ct);
            keys.Anchor.Write(instance);
            Tell();
            Trouble = null;
            failing.End();
            // A root key that does not seal yet and is not open holds nobody up but the rotation.
            Warning = instance.Facts?.Rotating is { } root && instance.Roots.Find(root.Version) is null
                ? $"root key {root.Version} is not open here: {string.Join("; ", instance.Troubles)}"
                : null;
        }
        catch (ConfigurationException e)
        {
            Trouble = e.Message;
            failing.Begin(LogLevel.Error, e, "The root keys of the store cannot be read again");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Failed(e); // to write the anchor: what was read is in force
        }
        catch (Exception e) when (e is KeyServiceException or ApiError)
        {
            Failed(e);
            return e as ApiError ?? ApiError.KeyServiceUnavailable((KeyServiceException)e);
        }
        finally
        {
            following.Release();
        }

        return null;

        void Failed(Exception e)
        {
            Warning = $"the root keys could not be read again: {Cause.Of(e)}";
            failing.Begin(LogLevel.Warning, e, "The root keys of the store could not be read again");
        }
    }

    /// <summary>The same for the committer's loop, which is a thread of its own.</summary>
    public void FollowNow()
    {
        try
        {
            _ = FollowAsync(asksForNew: false, stop.Token).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            // It stops.
        }
    }

    public void Dispose()
    {
        // What still waits to be stored is refused as locked, and not by what is gone.
        engine.ControlMoved = static () => { };
        stop.Cancel();
        Loop.Dispose();
        WriteLast();
        stop.Dispose();
        following.Dispose();
    }

    // What was changed last may not have been followed yet; the next start is to know of it.
    private void WriteLast()
    {
        try
        {
            keys.Anchor.Write(instance);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            failing.Begin(LogLevel.Warning, e, "The anchor could not be written");
        }
    }

    private void Tell() => engine.OpenedRoot = instance.Roots.Newest;

    private async Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        _ = await FollowAsync(asksForNew: true, ct);
        while (Trouble is null && await StepAsync(ct))
            continue;
        if (Warning is not null)
            return PauseOfWarning;
        var isIdle = Trouble is null && instance.Facts?.Rotating is null;
        return isIdle ? PauseOfIdle : Pause;
    }

    private async Task<bool> StepAsync(CancellationToken ct)
    {
        var hasStepped = await rotation!.StepAsync(ct);
        keys.Anchor.Write(instance);
        return hasStepped;
    }
}
