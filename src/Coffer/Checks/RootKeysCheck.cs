using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;

namespace Coffer.Checks;

/// <summary>
/// Opens the store's keys, and asks every wrapper that is set for each root key in use: a start needs one, the day on
/// which it is gone needs another.
/// </summary>
internal static class RootKeysCheck
{
    private const string Mend = "Mend it, or take it out of --root-key and of the store: coffer root-keys remove";

    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var engine = at.Engine;
        await Instance.RequireServableAsync(engine, ct);
        if (!await Instance.ExistsAsync(engine, ct))
        {
            found.Warn("the store has no root key yet", "The first start of coffer serve creates it.");
            return;
        }

        var wrappers = KeyWrappers.Open(at.Keys);
        foreach (var trouble in wrappers.Troubles)
            found.Warn($"a wrapper that is set cannot be used: {trouble}", $"{Mend} URL");
        var stored = await StoredKeys.ReadAsync(engine, ct);
        var instance = await Instance.OpenAsync(stored, wrappers, ct);
        at.Take(instance);
        if (instance.Facts is not { } facts)
        {
            found.Warn("the store is of level 1", "A start of this program raises it. Take a back-up first.");
            return;
        }

        var look = new Look(instance, stored, wrappers, found);
        foreach (var root in facts.Roots.Where(root => root.State != RootState.Unused))
            await look.AtAsync(root, ct);
        await look.AtServicesAsync(ct);
        look.AtSettings(facts);
        if (facts.Rotating is { } rotating)
            await AtRotationAsync(engine, rotating, found, ct);
        if (facts.Renewal is { } renewal)
        {
            found.Warn($"the store is being renewed after a compromise: {StoreRenewal.Word(renewal.State)}",
                renewal.State == RenewalState.Waiting
                    ? "An owner has to look at the API keys, and confirm them: coffer root-keys confirm"
                    : "It continues by itself while a server runs. See how far it is: coffer root-keys status");
        }

        if (found.AreOk)
            found.Ok($"every wrapper opens every root key in use: {Shown(facts)}");
    }

    private static string Shown(ControlFacts facts) => string.Join(", ", facts.Roots.Select(
        root => $"{root.Version} {RootRotation.Word(root.State)}"));

    private static async Task AtRotationAsync(
        Engine engine, ControlFacts.Root rotating, Findings found, CancellationToken ct)
    {
        var late = rotating.State != RootState.Made ? []
            : (await engine.ListNodesAsync(ct)).Where(node => node.OpenedRoot < rotating.Version).ToList();
        if (late.Count > 0)
        {
            found.Warn($"the rotation to root key {rotating.Version} waits for "
                + $"{string.Join(", ", late.Select(node => node.Name))}, which did not open it",
                "Check --root-key there and restart it; a root key that a node cannot open may be removed again.");
        }
        else
        {
            found.Warn($"a rotation is under way: root key {rotating.Version} is {RootRotation.Word(rotating.State)}",
                "It continues by itself while a server runs. See how far it is: coffer root-keys status");
        }
    }

    /// <summary>Asks wrappers, and keeps which did not answer.</summary>
    private sealed class Look(Instance instance, StoredKeys stored, KeyWrappers wrappers, Findings found)
    {
        private readonly HashSet<string> failed = [];

        /// <summary>Whether each wrapping of a root key opens.</summary>
        public async Task AtAsync(ControlFacts.Root root, CancellationToken ct)
        {
            var (opened, troubles) = (0, new List<string>());
            foreach (var row in stored.Wrappings.Where(
                row => row.Version == root.Version && !RecoveryShares.IsName(row.Wrapper)))
            {
                if (wrappers.All.FirstOrDefault(wrapper => wrapper.Holds(row.Wrapper)) is not { } wrapper)
                {
                    found.Warn($"root key {root.Version} is also wrapped by {row.Wrapper}, which no setting names",
                        $"Name it in --root-key, or have it forgotten: coffer root-keys remove {row.Wrapper}");
                    continue;
                }

                if (await TroubleAsync(wrapper, row, ct) is { } trouble)
                    troubles.Add($"{wrappers.UrlOf(row.Wrapper)} {trouble}");
                else
                    opened++;
            }

            foreach (var trouble in troubles)
            {
                const string IsAlone = ", and no other that is set does";
                var text = $"root key {root.Version} does not open by {trouble}";
                if (opened == 0)
                    found.Problem(text + IsAlone, "Mend it before the server is stopped or restarted.");
                else
                    found.Warn(text, $"{Mend} URL");
            }
        }

        /// <summary>What services tell of their keys.</summary>
        public async Task AtServicesAsync(CancellationToken ct)
        {
            foreach (var wrapper in wrappers.All.Where(wrapper => !failed.Contains(wrapper.Id)))
            {
                var url = wrappers.UrlOf(wrapper.Id)!;
                try
                {
                    foreach (var (text, hint, isFatal) in await wrapper.FindTroublesAsync(ct))
                    {
                        if (isFatal)
                            found.Problem($"{url}: {text}", hint);
                        else
                            found.Warn($"{url}: {text}", hint);
                    }
                }
                catch (KeyServiceException e)
                {
                    found.Warn($"{url}: the state of the key is not known: {e.Message}",
                        "Allow what it asks with, to be warned before the key is gone: read of the transit key, "
                        + "kms:DescribeKey, keys/get or cloudkms.cryptoKeyVersions.list.");
                }
            }
        }

        /// <summary>Wrappers that are set and would not open the store alone.</summary>
        public void AtSettings(ControlFacts facts)
        {
            foreach (var wrapper in wrappers.All)
            {
                var without = facts.Roots.Where(root => root.State != RootState.Unused
                    && !root.Wrappers.Any(wrapper.Holds)).Select(root => root.Version).ToList();
                if (without.Count == 0)
                    continue;
                var url = wrappers.UrlOf(wrapper.Id);
                found.Warn($"{url} is set and does not wrap root key {string.Join(", ", without)}",
                    $"Have it wrap them: coffer root-keys add {url}, or take it out of --root-key.");
            }
        }

        private async Task<string?> TroubleAsync(KeyWrapper wrapper, WrappingRow row, CancellationToken ct)
        {
            try
            {
                var name = new RootKeyName(instance.Id, row.Version);
                using var text = await wrapper.UnwrapAsync(name, row.Wrapped, ct);
                using var key = text is null ? null : name.Read(text.Span);
                var known = instance.Roots.Find(row.Version);
                if (key is not null && (known is null || key.Hash().AsSpan().SequenceEqual(known.Hash())))
                    return null;
                return "(it gives another key)";
            }
            catch (KeyServiceException e)
            {
                failed.Add(wrapper.Id);
                return $"({e.Message})";
            }
        }
    }
}
