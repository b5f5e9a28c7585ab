using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Support;

/// <summary>A process that rotates keys, and does not live long.</summary>
internal static class KilledProcess
{
    private const int MostSteps = 20;

    /// <summary>
    /// Opens the store, which is closed, and has all rotations and the renewal take their steps until the second
    /// commit, which comes to nothing; or until nothing is left to do.
    /// </summary>
    public static Task<bool> AfterOneCommitAsync(TestServer server) => server.OnStoreAsync(
        async (engine, _, instance) =>
        {
            using var chain = new AuditChain(AuditKeys.Of(instance), "node_1",
                await engine.FindLastAuditAsync("node_1", default), server.Time);
            var (inLoop, left) = (chain.InLoop(engine), 1);
            using var committer = new Committer(engine, 100, inLoop with
            {
                Append = notes => left-- > 0 ? inLoop.Append(notes) : throw new InvalidOperationException("killed"),
            });
            using var refusals = new Refusals(server.Time);
            var tenants = new Tenants(engine, committer, instance, server.Time, 10);
            var gate = new Gate(refusals, new Recorder(committer, static () => new AuditPolicy(Buffered: false,
                MetadataReads: false), NullLogger<Recorder>.Instance), engine);
            var roots = new RootRotation(engine, committer, instance,
                KeyWrappers.OfFile(Path.Combine(server.Data, "coffer.key")), server.Time);
            using var rotation = new TenantKeyRotation(
                engine, committer, tenants, gate, server.Time, NullLogger<TenantKeyRotation>.Instance)
            {
                Roots = roots,
                Renewal = new StoreRenewal(engine, committer, instance, roots, gate, server.Time),
            };
            await Assert.ThrowsAsync<InvalidOperationException>(async () =>
            {
                for (var tries = 0; tries < MostSteps; tries++)
                {
                    await rotation.StepAsync(default);
                    await roots.StepAsync(default);
                }

                throw new InvalidOperationException("nothing is left to do");
            });
            return true;
        });
}
