using Coffer.Access;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>The rotation of tenant keys, for someone with an admin key.</summary>
internal sealed class ManagedTenantKeys(
    Engine engine, Instance instance, TenantKeyRotation rotation, Gate gate, ManagementWriter management)
{
    /// <summary>Rotations as they are shown.</summary>
    /// <param name="Rotations">Oldest first, each with its state in a word.</param>
    public sealed record Answer(IReadOnlyList<(TenantRotation Rotation, string State)> Rotations)
    {
        /// <summary>Nodes that do not read what a rotation writes.</summary>
        public IReadOnlyList<string> WaitingFor { get; init; } = [];

        /// <summary>Where keys that were dropped may still be, in words (docs/keys.md).</summary>
        public IReadOnlyList<string> MayRemain { get; init; } = [];
    }

    public async Task<Answer> ShowAsync(Caller caller, CancellationToken ct)
    {
        gate.Require(caller, Acts.ShowTenantKeys);
        await gate.RecordAsync(caller, "show_tenant_keys");
        var stored = TenantRotations.Read(instance, await engine.FindMetaAsync(TenantRotations.MetaKey, ct));
        return Shown(stored, await rotation.WaitingForAsync(ct));
    }

    /// <summary>
    /// Has the keys of tenants rotate: of an account of an app or of all its accounts, in one mode or in both.
    /// </summary>
    /// <param name="request">Who asks.</param>
    /// <param name="app">The app.</param>
    /// <param name="account">The account, or null.</param>
    /// <param name="livemode">The mode, or null.</param>
    /// <param name="isCompromised">
    /// Whether others may know the keys: seeds are renewed too, and root keys before and after.
    /// </param>
    /// <param name="ct">Ends reading.</param>
    /// <exception cref="ApiError">
    /// 404: there is no such app, or nothing is stored for the account. 400: too many rotations wait; or nodes run that
    /// do not read what one for a compromise writes.
    /// </exception>
    public async Task<Reply> RotateAsync(ManagementWriter.Request<Answer> request, string app, string? account,
        bool? livemode, bool isCompromised, CancellationToken ct)
    {
        gate.Require(request.Caller, Acts.RotateTenantKeys);
        if (isCompromised)
            gate.Require(request.Caller, Acts.ChangeRootKeys);
        var mode = TenantRotation.ModeOf(livemode);
        var (count, last) = (await engine.ListAsync(
            TenantRow.CountOfAppAfter, ct, app, long.MinValue, account, mode))[0];
        var waiting = await rotation.WaitingForAsync(ct);
        var asked = new TenantRotation(
            TenantRotation.NewId(), app, account, livemode, management.Now, count,
            isCompromised ? Math.Max(last, TenantRotation.LeastUpTo) : last)
        {
            IsCompromised = isCompromised,
        };
        var entry = request.Caller.Entry("rotate_tenant_keys", "ok") with
        {
            App = app,
            Account = account,
            Reason = isCompromised ? "compromised" : null,
        };
        var reply = await management.WriteAsync(request,
            new Change.ManagementKey { App = app, Meta = TenantRotations.MetaKey }, entry, (found, _) =>
            {
                if (found.App is null)
                    throw ApiError.NoSuch("app", app);
                if (account is not null && count == 0)
                    throw ApiError.NoSuch("account", account);
                if (isCompromised && instance.Level < Control.RetiredSeeds)
                    throw ApiError.LevelTooLow();
                var next = TenantRotations.Read(instance, found.Meta).With(asked);
                return new(Shown(next, waiting), [next.Write(instance)],
                    entry with { Target = asked.Id, Count = count });
            });
        rotation.Wake();
        return reply;
    }

    private Answer Shown(TenantRotations rotations, IReadOnlyList<string> waiting) =>
        new([.. rotations.All.Select(each => (each, State(each, rotations.Current, waiting)))])
        {
            WaitingFor = rotations.Current is null ? [] : waiting,
            MayRemain = engine.Reach == Reach.Rows && rotations.All.Any(each => each.Done > 0)
                ? ["back_ups", "dead_rows", "replicas", "write_ahead_log"]
                : [],
        };

    private bool HasReplacedRoots(TenantRotation each) =>
        each.Root is { } oldest && instance.Facts?.Roots.All(root => root.Version >= oldest) == true;

    private string State(TenantRotation each, TenantRotation? current, IReadOnlyList<string> waiting)
    {
        if (each.Ended is not null)
            return "done";
        if (each != current || waiting.Count > 0)
            return "waiting";
        if (each.IsCompromised && !HasReplacedRoots(each))
            return "replacing_root_key";
        return each.Place >= each.UpTo ? "erasing" : "sealing";
    }
}
