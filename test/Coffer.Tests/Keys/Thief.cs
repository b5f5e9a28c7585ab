using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Tests.Keys;

/// <summary>What a thief has: root keys, peppers and keys that sign, as they were.</summary>
internal sealed class Thief(Instance instance, long now)
{
    public Instance Instance => instance;

    public (string Token, ApiKeyRow Row) Key(string? app, string id, bool isOffline = false) =>
        ApiKey.Create(instance, new ApiKeyRow([], id, app, null, app is null ? "admin" : "secret", app is null,
            now, isOffline ? now + 86_400 : null, [])
        {
            Role = app is null ? "owner" : null,
            IsOffline = isOffline,
        });

    public AuditRow Row(string node, AuditRow? last, string verb, StoreGeneration? generation = null)
    {
        var keys = AuditKeys.Of(instance) with { Generation = () => generation ?? instance.Facts!.Generation };
        var at = last is null ? AuditChain.Start(keys.Log(), instance.Id, node) : ChainPosition.Of(last);
        // As if the log had always been of the generation that is claimed.
        at = at with { Public = at.Public is null ? null : at.Public with { Generation = keys.Generation()! } };
        using var writer = new RowWriter(keys);
        return writer.Write(new ChainPlace(node, at, 0),
            [new AuditEntry(verb, "ok") { Begins = keys.Generation() }],
            DateTimeOffset.FromUnixTimeSeconds(now), last: null).Row;
    }

    public byte[] Cut(string node, AuditRow at) =>
        AuditCut.Write(AuditKeys.Of(instance), node, ChainPosition.Of(at)).Value;

    public string Checkpoint(ChainPlace at) => Coffer.Audit.Checkpoint.Sign(
        AuditKeys.Of(instance), at, [], DateTimeOffset.FromUnixTimeSeconds(now)).ToLine();
}
