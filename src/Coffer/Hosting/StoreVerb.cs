using System.Text;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// Which verb a store belongs to, as its <c>meta</c> says. The keys of <c>dev</c> lie in shells and scripts and must
/// not open what is served, and <c>dev</c> must not leave its keys in a store that is.
/// </summary>
internal static class StoreVerb
{
    private const string MetaKey = "verb";
    private const string Serve = "serve", Dev = "dev";

    /// <summary>Refuses a store of the other verb.</summary>
    /// <param name="engine">The store.</param>
    /// <param name="isNew">Whether this start makes it.</param>
    /// <param name="isDev">Which verb starts.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>The mark, to be committed if the store has none yet; or null.</returns>
    /// <exception cref="ConfigurationException">It is the other verb's.</exception>
    public static async Task<RowWrite.PutMeta?> RequireAsync(
        Engine engine, bool isNew, bool isDev, CancellationToken ct)
    {
        var own = isDev ? Dev : Serve;
        var mark = await engine.FindMetaAsync(MetaKey, ct);
        if (isNew)
            return new RowWrite.PutMeta(MetaKey, Encoding.UTF8.GetBytes(own));
        var maker = mark is null ? await GuessAsync(engine, ct) : Encoding.UTF8.GetString(mark);
        if (maker == own)
            return mark is null ? new RowWrite.PutMeta(MetaKey, Encoding.UTF8.GetBytes(own)) : null;
        throw maker switch
        {
            Serve => new ConfigurationException(
                "this store belongs to coffer serve: coffer dev does not open it, because it would leave keys in it",
                "Leave --data out for a temporary store, or give an empty directory. Nothing was changed."),
            Dev => new ConfigurationException(
                "this store was created by coffer dev, for development: coffer serve does not open it",
                "Give an empty --data directory, or start coffer dev. Nothing was changed."),
            _ => new ConfigurationException("the store does not say which verb created it: its meta table was changed",
                "Restore the store from a back-up. Nothing was changed."),
        };
    }

    // Before there were marks, dev could open what serve had made, and added its app.
    private static async Task<string> GuessAsync(Engine engine, CancellationToken ct) =>
        await engine.ListAppsAsync(bound: null, newer: false, 2, ct) is [{ Id: FirstStart.DevAppId }] ? Dev : Serve;
}
