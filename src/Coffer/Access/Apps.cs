using Coffer.Keys;
using Coffer.Storage;
using Microsoft.Extensions.Caching.Memory;

namespace Coffer.Access;

/// <summary>The apps of a store, as every request finds them.</summary>
internal sealed class Apps(Engine engine, Instance instance, Epoch epoch) : IDisposable
{
    private const int Kept = 10_000;

    private readonly MemoryCache opened = new(new MemoryCacheOptions { SizeLimit = Kept });

    /// <summary>Knows what has changed of what is cached about apps and keys.</summary>
    public Epoch Epoch => epoch;

    /// <summary>The app, or null; at most <see cref="Epoch.Bound"/> old.</summary>
    public async ValueTask<App?> FindAsync(string id, CancellationToken ct)
    {
        var current = epoch.Current;
        if (opened.TryGetValue(id, out (App App, long Epoch) known) && epoch.IsUnchanged(known.Epoch, id))
            return known.App;
        if (await instance.FindUnderRootAsync(
            () => engine.FindAppAsync(id, ct), static row => row.Sealed, ct) is not { } row)
            return null;
        var app = App.From(row, instance);
        var options = new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = Epoch.Bound };
        opened.Set(id, (app, current), options);
        return app;
    }

    public void Dispose() => opened.Dispose();
}
