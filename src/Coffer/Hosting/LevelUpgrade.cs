using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// Raises the level of stored forms, once no node runs that does not know them. Rows of API keys come into their second
/// form by two levels: from the first on they are written in it; from the second on they are believed in no other, once
/// all are. An admin key of before becomes an owner's. From the next level on a tenant may have seeds that are retired;
/// from the next on the store keeps settings, of which the first are those that a server is started with; from the next
/// on its pepper may be renewed; from the next on accounts may be uninstalled; and from the last one on there are
/// events.
/// </summary>
/// <param name="engine">Where the store is.</param>
/// <param name="committer">Commits.</param>
/// <param name="instance">Whose store it is.</param>
/// <param name="told">Settings of the store that this server is started with; null if it serves nothing.</param>
internal sealed class LevelUpgrade(
    Engine engine, Committer committer, Instance instance, IReadOnlyDictionary<string, string>? told)
{
    private const int Batch = 200;

    /// <summary>
    /// Does what may be done now; call at the start and once in a while. Of several nodes one does it.
    /// </summary>
    public async Task RunAsync(CancellationToken ct)
    {
        if (instance.Level == Control.FirstLevel
            && (await HasNodesOfBeforeAsync(ct) || !await RaiseAsync(Control.SecondKeyRows, null)))
            return;
        if (instance.Level == Control.SecondKeyRows)
            await RaiseAsync(Control.OnlySecondKeyRows, await RewriteAsync(ct));
        foreach (var level in (long[])
            [
                Control.RetiredSeeds, Control.StoredSettings, Control.RenewedPeppers, Control.Installs, Control.Events,
            ])
        {
            if (instance.Level == level - 1 && !await HasNodesOfBeforeAsync(ct))
                await RaiseAsync(level, null);
        }

        if (told is not null && instance is { Level: >= Control.StoredSettings, Facts.Settings: null })
        {
            await committer.CommitAsync(new ControlChange(instance,
                control => control.Settings is null ? control with { Settings = told } : null, [],
                [new AuditEntry("change_settings", "ok") { Changed = ManagedSettings.Changed(null, told) }]));
        }
    }

    private async Task<bool> HasNodesOfBeforeAsync(CancellationToken ct) => engine.HasOlderNodes
        || (await engine.ListNodesAsync(ct)).Any(node => node.Level < Engine.KnownLevel);

    private async Task<bool> RaiseAsync(long level, long? count)
    {
        var change = new ControlChange(instance,
            control => control.Level == level - 1 ? control with { Level = level } : null, [],
            [new AuditEntry("raise_level", "ok") { Target = $"{level}", Count = count }]);
        await committer.CommitAsync(change);
        return change.HasChanged;
    }

    // What does not prove itself stays as it is, and is damaged.
    private async Task<long> RewriteAsync(CancellationToken ct)
    {
        var count = 0L;
        await foreach (var rows in engine.ApiKeysAsync(Batch, ct))
        {
            var changes = rows.Where(row => row.IsSound && ApiKey.IsInFirstForm(instance, row))
                .Select(row => new Rewriting(row.Id, instance)).ToList();
            await Task.WhenAll(changes.Select(committer.CommitAsync));
            count += changes.Count(change => change.HasRewritten);
        }

        return count;
    }

    private sealed class Rewriting(string id, Instance instance) : Change
    {
        public bool HasRewritten { get; private set; }

        public override ManagementKey ManagementAt { get; } = new() { ApiKey = id };

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            HasRewritten = found.Management!.ApiKey is { IsSound: true } row && ApiKey.IsInFirstForm(instance, row);
            if (!HasRewritten)
                return [];
            var key = new ApiKey(found.Management.ApiKey!);
            return [new RowWrite.PutApiKey(ApiKey.Prove(instance, key.Row with { Role = key.Role?.Word() }))];
        }
    }
}
