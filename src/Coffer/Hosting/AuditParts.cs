using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>What commits changes, chained to the audit log, and what records reads and refusals.</summary>
internal sealed record AuditParts(AuditChain Chain, Checkpoints Checkpoints, Committer Committer)
{
    public required Recorder Recorder { get; init; }

    public required Refusals Refusals { get; init; }

    public required Bridge Bridge { get; init; }

    /// <summary>Removes entries that are too old.</summary>
    public required Retention Retention { get; init; }

    /// <summary>What is wrong with the log, or null.</summary>
    public string? Trouble => Chain.Trouble ?? Checkpoints.Trouble ?? Recorder.Trouble;

    /// <summary>Holds the store against its checkpoints, and continues with its log.</summary>
    /// <exception cref="ConfigurationException">
    /// The store is older than its checkpoints, and that is not accepted.
    /// </exception>
    public static async Task<AuditParts> OpenAsync(
        StorageParts storage, StorePolicy policy, Anchor anchor, CofferOptions options, Surroundings around,
        CancellationToken ct)
    {
        var instance = policy.Instance;
        var (engine, time) = (storage.Engine, around.Time);
        var keys = AuditKeys.Of(instance);
        var file = CheckpointFile(options);
        var acceptance = new OldStore(engine, keys, file, time, around.Log<OldStore>())
            .Check(options.IsRestored ? null : options.AcceptedRollbacks);
        if (acceptance is null)
            anchor.RequireNotOlder(instance);
        var last = await engine.FindLastAuditAsync(engine.Node, ct);
        var chain = around.Parts.Add(new AuditChain(keys, engine.Node, last, time));
        var inLoop = chain.InLoop(engine);
        var checkpoints = around.Parts.Add(
            new Checkpoints(chain, engine, keys, file, time, around.Log<Checkpoints>()));
        checkpoints.Start();
        around.Loops.Add(checkpoints.Loop);
        // From the first commit on: nobody follows the row yet, and what is to be written may be made by the one that
        // was read.
        engine.KnownControl = () => instance.Facts?.Row;
        engine.ControlMoved = static () => throw ControlChange.Refused();
        var committer = around.Parts.Add(new Committer(engine, Waiting(options), inLoop));
        var bridge = new Bridge(engine, keys, around.Log<Bridge>());
        if (acceptance is { } accepted)
        {
            var now = time.GetUtcNow().ToUnixTimeSeconds();
            var (stepBack, generation, durable) = await instance.StepBackAsync(
                engine, anchor.Serial, accepted.Generation, now, ct);
            // Its own entry begins the segment. What the log was before it is said there too, if nobody has said it.
            var bridged = await bridge.FindAsync(chain.At, ct);
            Note[] notes =
            [
                .. accepted.Entries.Select(entry => entry with { Begins = generation }),
                .. bridged is { } found ? [found.Entry with { Begins = generation }] : (Note[])[],
            ];
            var written = accepted.Rows.OfType<RowWrite.PutMeta>().Select(row => row.Key).ToHashSet();
            var others = (bridged?.Rows ?? []).Where(row => row is RowWrite.PutMeta meta && written.Add(meta.Key));
            await committer.CommitAsync(new Beginning(instance,
                [
                    .. accepted.Rows, .. others, .. stepBack,
                    WithoutGeneration.Row(instance, until: 0), FormatOne.Row(instance, until: 0),
                ],
                notes));
            durable();
            checkpoints.Write(); // from now on a copy of before the acceptance is an old one
        }

        var refusals = around.Parts.Add(new Refusals(time, around.Log<Refusals>()));
        around.Loops.Add(refusals.Loop);
        var parts = new AuditParts(chain, checkpoints, committer)
        {
            Bridge = bridge,
            Recorder = new Recorder(committer, () => policy.Audit, around.Log<Recorder>()),
            Refusals = refusals,
            Retention = new Retention(
                engine, committer, keys, () => policy.AuditRetention, time, around.Log<Retention>()),
        };
        await parts.BridgeAsync(engine, instance, time, ct);
        return parts;
    }

    /// <summary>
    /// Bridges a log of before, and has the keys that sign stand in <c>meta</c> for exports. Again is nothing; of a
    /// store that is raised to its level in this start, call it after that.
    /// </summary>
    public async Task BridgeAsync(Engine engine, Instance instance, TimeProvider time, CancellationToken ct)
    {
        if (instance.Facts is null)
            return;
        if (await Bridge.FindAsync(Chain.At, ct) is { } bridged)
        {
            var rows = new List<RowWrite>(bridged.Rows);
            if (await engine.FindMetaAsync(WithoutGeneration.MetaKey, ct) is null)
                rows.Add(WithoutGeneration.From(instance, time.GetUtcNow().ToUnixTimeSeconds()));
            await Committer.CommitAsync(new Change.Plain([.. rows]) { Notes = [bridged.Entry] });
        }

        var shown = PublicKeys.FromMeta(await engine.FindMetaAsync(PublicKeys.MetaKey, ct));
        if (Words(shown) != Words(instance.Signing.Public.All))
            await Committer.CommitAsync(new Change.Plain(
                new RowWrite.PutMeta(PublicKeys.MetaKey, instance.Signing.Public.ToMeta())));

        // Each start signs later keys again, so their signatures differ.
        static string Words(IReadOnlyList<SignedKey> keys) =>
            string.Join(' ', keys.Select(key => $"{key.Number} {Convert.ToHexString(key.Key)}"));
    }

    /// <summary>Where checkpoints are appended.</summary>
    public static string CheckpointFile(CofferOptions options) =>
        options.Checkpoints ?? DataDirectory.FilesOf(options.Data).Checkpoints;

    // What changes the control row is not compared by the storage: another node may have taken a step meanwhile.
    private sealed class Beginning(Instance instance, RowWrite[] rows, Note[] notes) : Change
    {
        private readonly byte[]? read = instance.Facts?.Row;

        public override ManagementKey ManagementAt { get; } = new() { Meta = Control.MetaKey };

        public override IReadOnlyList<RowWrite> Decide(Found found) =>
            read is null || found.Management!.Meta.AsSpan().SequenceEqual(read)
                ? rows
                : throw ControlChange.Refused();

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => refusal is null ? notes : [];
    }

    private static Turns.Bounds Waiting(CofferOptions options) =>
        new(CofferOptions.WaitingChanges, options.WaitingPerApp, options.WaitingPerEphemeralKey);
}
