using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;

namespace Coffer.Hosting;

/// <summary>Who may do what.</summary>
internal sealed record AccessParts(Gate Gate, Budgets Budgets, Endings Endings, Callers Callers)
{
    public required Revocations Revocations { get; init; }

    public static async Task<AccessParts> OpenAsync(
        StorageParts storage, Instance instance, AuditParts audit, CofferOptions options, Surroundings around,
        CancellationToken ct)
    {
        var ((_, engine, epoch), time, isDev) = (storage, around.Time, options.Dev is not null);
        var budgets = around.Parts.Add(new Budgets(Rates(options), time));
        var damages = new Damages(audit.Recorder, time, around.Log<Damages>());
        var gate = new Gate(audit.Refusals, audit.Recorder, engine, damages, budgets);
        var apps = around.Parts.Add(new Apps(engine, instance, epoch));
        var formatOne = new FormatOne(engine, audit.Committer, instance, time);
        await formatOne.StartAsync(ct);
        var before = new WithoutGeneration(engine, instance);
        await before.StartAsync(ct);
        var revocations = around.Parts.Add(new Revocations(engine, instance, time));
        var minting = around.Parts.Add(new MintingKeys(engine, instance, epoch));
        var endings = new Endings(engine, instance, revocations, minting, formatOne, time)
        {
            Before = before,
        };
        var uses = new LastUses(audit.Committer, time);
        var keys = around.Parts.Add(new ApiKeys(engine, instance, apps, uses, gate, time) { IsDev = isDev });
        var ephemeralKeys = new EphemeralKeys(instance, apps, endings, gate, time) { IsDev = isDev };
        var callers = new Callers(keys, ephemeralKeys, new KnownKeys(engine, instance, epoch, time), gate, instance);
        return new AccessParts(gate, budgets, endings, callers) { Revocations = revocations };
    }

    private static Budgets.Rates Rates(CofferOptions options) => new(options.KeptPerApp, options.KeptPerEphemeralKey,
        options.AuditPerApp, options.AuditPerEphemeralKey, options.TenantsPerApp);
}
