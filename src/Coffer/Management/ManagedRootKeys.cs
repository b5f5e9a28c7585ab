using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>The root keys of a store and what wraps them, for someone with an admin key.</summary>
internal sealed partial class ManagedRootKeys(
    Engine engine, Instance instance, KeyWrappers wrappers, RootRotation rotation, Gate gate,
    ManagementWriter management)
{
    private readonly ControlWriter control = new(instance, management);

    /// <summary>The root keys as they are shown.</summary>
    /// <param name="Serial">How often the control row was changed.</param>
    /// <param name="Roots">The root keys, oldest first.</param>
    public sealed record Answer(long Serial, IReadOnlyList<ShownRoot> Roots)
    {
        /// <summary>Nodes that have not opened the new root key yet.</summary>
        public IReadOnlyList<string> WaitingFor { get; init; } = [];

        /// <summary>How many rows are still under an older one.</summary>
        public long Left { get; init; }

        /// <summary>Rows that do not open under the root key that they name.</summary>
        public IReadOnlyList<DamagedRow> Damaged { get; init; } = [];

        /// <summary>The renewal of the store that is under way, or null.</summary>
        public ShownRenewal? Renewal { get; init; }

        /// <summary>The back-ups that this node makes by itself; null where they are not known.</summary>
        public IReadOnlyList<ShownBackup>? Backups { get; init; }
    }

    /// <summary>A back-up as it is shown.</summary>
    /// <param name="Known">What is known of it.</param>
    /// <param name="Wrappers">
    /// What wraps its root key and still wraps one of the store or is set, each with how this node's settings write it:
    /// without any of these it does not open.
    /// </param>
    public sealed record ShownBackup(KnownBackup Known, IReadOnlyList<(string Id, string? Url)> Wrappers);

    /// <summary>What is known of the back-ups that this node makes by itself; null if it makes none.</summary>
    public Func<KnownBackups?> Backups { get; init; } = static () => null;

    /// <summary>A root key as it is shown.</summary>
    /// <param name="Version">From 1.</param>
    /// <param name="State">How far its rotation has come, in a word.</param>
    /// <param name="Created">Unix seconds.</param>
    /// <param name="Wrappers">
    /// The names of what wraps it, each with how this node's settings write it; null if they do not.
    /// </param>
    public sealed record ShownRoot(
        uint Version, string State, long Created, IReadOnlyList<(string Id, string? Url)> Wrappers);

    public async Task<Answer> ShowAsync(Caller caller, CancellationToken ct)
    {
        gate.Require(caller, Acts.ShowRootKeys);
        await gate.RecordAsync(caller, "show_root_keys");
        var facts = instance.FactsInForce;
        var waiting = facts.Rotating is { State: RootState.Made } made
            ? await rotation.WaitingForAsync(made.Version, ct)
            : [];
        var left = facts.Rotating is null ? 0 : await rotation.CountLeftAsync(ct);
        return this.Shown(facts) with
        {
            WaitingFor = waiting,
            Left = left,
            Damaged = rotation.Damaged,
            Backups = Backups()?.Files?.Select(Shown).ToList(),
        };

        ShownBackup Shown(KnownBackup backup) => new(backup,
            [.. backup.Wrappers.Select(id => (Id: id, Url: wrappers.UrlOf(id))).Where(each => each.Url is not null
                || facts.Roots.Any(root => root.Wrappers.Contains(each.Id)))]);
    }

    /// <summary>Has a wrapper wrap every root key, beside those that do.</summary>
    /// <param name="request">Who asks.</param>
    /// <param name="url">The wrapper, as it stands in the settings of this node.</param>
    /// <param name="ct">Ends the wait for the wrapper.</param>
    /// <exception cref="ApiError">
    /// 400: it is not in the settings of this node. 409: the root keys were changed meanwhile. 503: it cannot be asked.
    /// </exception>
    public Task<Reply> AddAsync(ManagementWriter.Request<Answer> request, string url, CancellationToken ct) =>
        RetryAsync(() => AddOnceAsync(request, url, ct), request, ct);

    private async Task<Reply> AddOnceAsync(ManagementWriter.Request<Answer> request, string url, CancellationToken ct)
    {
        var facts = instance.FactsInForce;
        var entry = request.Caller.Entry("add_root_key_wrapper", "ok") with { Target = wrappers.At(url)?.Id ?? url };
        var rows = new List<WrappingRow>();
        var refusal = await RefusalAsync(async () =>
        {
            var wrapper = wrappers.At(url) ?? throw ApiError.WrapperUnknown(url);
            rows.AddRange(await WrapAsync(
                facts.Roots.Where(root => root.State != RootState.Unused && !root.Wrappers.Contains(wrapper.Id))
                    .Select(root => root.Version), [wrapper], ct));
        });
        return await WriteAsync(request, facts, refusal, entry,
            control => control with { Wrappings = [.. control.Wrappings, .. rows.Select(ControlFacts.Of)] },
            [.. rows.Select(row => new RowWrite.PutWrapping(row))]);
    }

    /// <summary>
    /// Makes a new root key. In the background every node opens it, then it seals, and what is under the last one is
    /// sealed again.
    /// </summary>
    /// <exception cref="ApiError">
    /// 400: a rotation is under way, or what wraps the last root key is not in the settings of this node. 409, 503: as
    /// <see cref="AddAsync"/>.
    /// </exception>
    public Task<Reply> RotateAsync(ManagementWriter.Request<Answer> request, CancellationToken ct) =>
        RetryAsync(() => RotateOnceAsync(request, ct), request, ct);

    private async Task<Reply> RotateOnceAsync(ManagementWriter.Request<Answer> request, CancellationToken ct)
    {
        var facts = instance.FactsInForce;
        NewRoot? made = null;
        var refusal = await RefusalAsync(async () => made = await rotation.MakeAsync(facts, ct));
        var entry = request.Caller.Entry("rotate_root_key", RootRotation.Word(RootState.Made)) with
        {
            Version = facts.NewestVersion + 1,
        };
        return await WriteAsync(request, facts, refusal, entry, control => made!.AddTo(control), made?.Writes ?? [],
            made);
    }

    /// <summary>Has all wrappers of this node wrap every root key again, by the newest keys that they have.</summary>
    /// <exception cref="ApiError">409, 503: as <see cref="AddAsync"/>.</exception>
    public Task<Reply> RewrapAsync(ManagementWriter.Request<Answer> request, CancellationToken ct) =>
        RetryAsync(() => RewrapOnceAsync(request, ct), request, ct);

    private async Task<Reply> RewrapOnceAsync(ManagementWriter.Request<Answer> request, CancellationToken ct)
    {
        var facts = instance.FactsInForce;
        var (rows, gone) = (new List<WrappingRow>(), new List<RowWrite.DeleteWrapping>());
        var refusal = await RefusalAsync(async () =>
        {
            foreach (var root in facts.Roots.Where(root => root.State != RootState.Unused))
            {
                var own = wrappers.All.Where(wrapper => root.Wrappers.Any(wrapper.Holds)).ToList();
                rows.AddRange(await WrapAsync([root.Version], own, ct));
                gone.AddRange(root.Wrappers
                    .Where(id => own.Exists(wrapper => wrapper.Holds(id) && wrapper.Id != id))
                    .Select(id => new RowWrite.DeleteWrapping(root.Version, id)));
            }
        });
        var entry = request.Caller.Entry("rewrap_root_keys", "ok") with { Count = rows.Count };
        return await WriteAsync(request, facts, refusal, entry,
            control => control with
            {
                Wrappings =
                [
                    .. control.Wrappings.Where(wrapping => !IsReplaced(wrapping)), .. rows.Select(ControlFacts.Of),
                ],
            },
            [.. gone, .. rows.Select(row => new RowWrite.PutWrapping(row))]);

        bool IsReplaced(Control.Wrapping wrapping) =>
            rows.Exists(row => (row.Version, row.Wrapper) == (wrapping.Version, wrapping.Wrapper))
            || gone.Contains(new RowWrite.DeleteWrapping(wrapping.Version, wrapping.Wrapper));
    }

    /// <summary>Has a wrapper wrap no root key any more.</summary>
    /// <param name="request">Who asks.</param>
    /// <param name="named">The wrapper: its name, or as it stands in the settings of this node.</param>
    /// <param name="ct">Ends the wait for other wrappers.</param>
    /// <exception cref="ApiError">
    /// 404: it wraps none. 400: no other wrapper opens them all. 409, 503: as <see cref="AddAsync"/>.
    /// </exception>
    public Task<Reply> RemoveAsync(ManagementWriter.Request<Answer> request, string named, CancellationToken ct) =>
        RetryAsync(() => RemoveOnceAsync(request, named, ct), request, ct);

    private async Task<Reply> RemoveOnceAsync(
        ManagementWriter.Request<Answer> request, string named, CancellationToken ct)
    {
        var (id, facts) = (wrappers.At(named)?.Id ?? named, instance.FactsInForce);
        var holders = facts.Roots.Where(root => root.Wrappers.Contains(id)).ToList();
        var refusal = await RefusalAsync(async () =>
        {
            if (holders.Count == 0)
                throw ApiError.NoSuch("root key wrapper", named);
            foreach (var root in holders.Where(root => root.State != RootState.Unused))
            {
                if (!await IsOpenedWithoutAsync(root, id, ct))
                    throw ApiError.LastWrapper(root.Version);
            }
        });
        var entry = request.Caller.Entry("remove_root_key_wrapper", "ok") with { Target = id };
        return await WriteAsync(request, facts, refusal, entry,
            control => control with
            {
                Wrappings = [.. control.Wrappings.Where(wrapping => wrapping.Wrapper != id)],
            },
            [
                .. holders.Select(root => new RowWrite.DeleteWrapping(root.Version, id)),
                .. RecoveryShares.IsName(id) ? (RowWrite[])[new RowWrite.DeleteMeta(RecoveryShares.MetaKey)] : [],
            ]);
    }

    /// <summary>
    /// Removes a root key under which nothing is, with all that wraps it: one that was replaced, or a new one that some
    /// node cannot open.
    /// </summary>
    /// <exception cref="ApiError">
    /// 404: there is none of that version. 400: something is under it, or may yet be. 409: as <see cref="AddAsync"/>.
    /// </exception>
    public Task<Reply> RemoveAsync(ManagementWriter.Request<Answer> request, long version, CancellationToken ct) =>
        RetryAsync(() => RemoveOnceAsync(request, version), request, ct);

    private async Task<Reply> RemoveOnceAsync(ManagementWriter.Request<Answer> request, long version)
    {
        var facts = instance.FactsInForce;
        var gone = facts.Roots.FirstOrDefault(root => root.Version == version);
        var refusal = gone switch
        {
            null => ApiError.NoSuch("root key", $"{version}"),
            { State: not (RootState.Unused or RootState.Made) } => ApiError.RootKeyInUse(gone.Version),
            _ => null,
        };
        var entry = request.Caller.Entry("remove_root_key", "ok") with { Version = version };
        return await WriteAsync(request, facts, refusal, entry,
            control => RootRotation.Without(control, version), gone is null ? [] : RootRotation.Removal(gone));
    }

    private Task<Reply> RetryAsync(
        Func<Task<Reply>> act, ManagementWriter.Request<Answer> request, CancellationToken ct)
    {
        gate.Require(request.Caller, Acts.ChangeRootKeys);
        return control.RetryAsync(act, ct);
    }

    // What a request cannot be granted for is decided where its idempotency key is looked up: a repetition is answered
    // as the first was.
    private static async Task<ApiError?> RefusalAsync(Func<Task> prepare)
    {
        try
        {
            await prepare();
            return null;
        }
        catch (ApiError e)
        {
            return e;
        }
    }

    private Task<Reply> WriteAsync(
        ManagementWriter.Request<Answer> request, ControlFacts facts, ApiError? refusal, AuditEntry entry,
        Func<Control, Control> next, IReadOnlyList<RowWrite> rows, NewRoot? made = null,
        Action<ApiKeyRow?>? asks = null) =>
        control.WriteAsync(request, facts, entry,
            before => refusal is null ? (next(before), rows) : throw refusal, Shown, made, asks);

    private Task<IReadOnlyList<WrappingRow>> WrapAsync(
        IEnumerable<uint> versions, IReadOnlyList<KeyWrapper> by, CancellationToken ct) => rotation.WrapAsync(
            [.. versions.Select(version => instance.Roots.Find(version) ?? throw ApiError.RootKeysMoved())], by, ct);

    // By what is stored: who can wrap again may have lost the key that it wrapped with then.
    private async Task<bool> IsOpenedWithoutAsync(ControlFacts.Root root, string id, CancellationToken ct)
    {
        var hash = instance.Roots.Find(root.Version)?.Hash() ?? throw ApiError.RootKeysMoved();
        var rows = await engine.ListWrappingsAsync(ct);
        foreach (var row in rows.Where(row => row.Version == root.Version && row.Wrapper != id))
        {
            foreach (var wrapper in wrappers.All.Where(wrapper => !wrapper.Holds(id) && wrapper.Holds(row.Wrapper)))
            {
                try
                {
                    if (await wrapper.OpensAsync(instance.Id, row, hash, ct))
                        return true;
                }
                catch (KeyServiceException)
                {
                    // Another may.
                }
            }
        }

        return false;
    }

    private Answer Shown(ControlFacts facts) => new(facts.Serial,
        [.. facts.Roots.Select(root => new ShownRoot(root.Version, RootRotation.Word(root.State), root.Created,
            [.. root.Wrappers.Select(id => (id, wrappers.UrlOf(id)))]))])
    {
        Renewal = facts.Renewal is { } renewal
            ? new ShownRenewal(StoreRenewal.Word(renewal.State), renewal.Pepper, renewal.Created)
            : null,
    };
}
