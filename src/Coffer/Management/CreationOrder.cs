
using Coffer.Access;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// When apps and keys are said to be made. Lists of them are in this order, so it never goes back, even if a clock
/// does: what is made while the clock is behind the newest of them counts as made a second after it.
/// </summary>
internal sealed class CreationOrder
{
    private long newest;

    private CreationOrder(long newest) => this.newest = newest;

    public static async Task<CreationOrder> OpenAsync(Engine engine, Instance instance, CancellationToken ct)
    {
        // A row that was changed outside Coffer has no say.
        var apps = (await engine.ListAppsAsync(bound: null, newer: false, 1, ct))
            .Select(row => App.Inspect(row, instance));
        var keys = (await engine.ListApiKeysAsync(app: null, bound: null, newer: false, 1, ct))
            .Select(row => ApiKey.Inspect(instance, row));
        return new CreationOrder(apps.Where(app => !app.IsDamaged).Select(app => app.Created)
            .Concat(keys.Where(key => !key.IsDamaged).Select(key => key.Created)).DefaultIfEmpty().Max());
    }

    /// <summary>The Unix second at which something is made. For the committer's loop alone.</summary>
    /// <param name="now">What the clock says.</param>
    public long At(long now) => newest = now < newest && newest < UnixTime.Latest ? newest + 1 : now;
}
