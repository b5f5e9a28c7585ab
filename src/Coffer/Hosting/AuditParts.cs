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

    /// <summary>Removes entries that are too old; null keeps them all.</summary>
    public Retention? Retention { get; init; }

    /// <summary>What is wrong with the log, or null.</summary>
    public string? Trouble => Chain.Trouble ?? Checkpoints.Trouble ?? Recorder.Trouble;

    /// <summary>Holds the store against its checkpoints, and continues with its log.</summary>
    /// <exception cref="ConfigurationException">
    /// The store is older than its checkpoints, and that is not accepted.
    /// </exception>
    public static async Task<AuditParts> OpenAsync(
        StorageParts storage, Instance instance, Anchor anchor, CofferOptions options, Surroundings around,
        CancellationToken ct)
    {
        var (engine, time) = (storage.Engine, around.Time);
        var keys = new AuditKeys(instance.AuditKey, instance.AuditSigningKey, instance.Id);
        var file = CheckpointFile(storage, options);
        var acceptance = new OldStore(engine, keys, file, time, around.Log<OldStore>())
            .Check(options.IsRestored ? null : options.AcceptedRollbacks);
        if (acceptance is null)
            anchor.RequireNotOlder(instance);
        var last = await engine.FindLastAuditAsync(engine.Node, ct);
        var chain = around.Parts.Add(new AuditChain(instance.AuditKey, instance.Id, engine.Node, last, time));
        var inLoop = chain.InLoop(engine);
        var checkpoints = around.Parts.Add(
            new Checkpoints(chain, engine, keys, file, time, around.Log<Checkpoints>()));
        checkpoints.Start();
        var committer = around.Parts.Add(new Committer(engine, Waiting(options), inLoop));
        if (acceptance is { } accepted)
        {
            var now = time.GetUtcNow().ToUnixTimeSeconds();
            var (stepBack, durable) = await instance.StepBackAsync(engine, anchor.Serial, now, ct);
            await committer.CommitAsync(new Change.Plain([.. accepted.Rows, .. stepBack]) { Notes = accepted.Notes });
            durable();
            checkpoints.Write(); // from now on a copy of before the acceptance is an old one
        }

        var refusals = around.Parts.Add(new Refusals(time));
        var policy = new AuditPolicy(options.Audit == "buffered", options.AuditMetadataReads);
        return new AuditParts(chain, checkpoints, committer)
        {
            Recorder = new Recorder(committer, policy, around.Log<Recorder>()),
            Refusals = refusals,
            Retention = options.AuditRetentionDays is { } days
                ? new Retention(engine, committer, keys, TimeSpan.FromDays(days), time, around.Log<Retention>())
                : null,
        };
    }

    /// <summary>Where checkpoints are appended.</summary>
    public static string CheckpointFile(StorageParts storage, CofferOptions options) =>
        options.Checkpoints ?? storage.Directory.CheckpointFile;

    private static Turns.Bounds Waiting(CofferOptions options) =>
        new(CofferOptions.WaitingChanges, options.WaitingPerApp, options.WaitingPerEphemeralKey);
}
