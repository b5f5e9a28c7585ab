using Coffer.Keys;
using Coffer.Storage;
using Microsoft.Extensions.Caching.Memory;

namespace Coffer.Access;

/// <summary>
/// The keys that minted others, by their ids: looked up when one of theirs is used, and kept as API keys are.
/// </summary>
internal sealed class MintingKeys(Engine engine, Instance instance, Epoch epoch) : IDisposable
{
    private const int Kept = 10_000;

    private readonly MemoryCache known = new(new MemoryCacheOptions { SizeLimit = Kept });

    /// <summary>The key, or null if there is none any more; at most <see cref="Epoch.Bound"/> old.</summary>
    /// <exception cref="ApiError">Its row was changed outside Coffer.</exception>
    public async ValueTask<ApiKey?> FindAsync(string id, string app, CancellationToken ct)
    {
        var current = epoch.Current;
        if (known.TryGetValue(id, out Cached? found) && epoch.IsUnchanged(found!.Epoch, id)
            && epoch.IsUnchanged(found.Epoch, app))
            return found.Key;
        // That there is none is kept too: what an ended key minted may still come in numbers.
        var key = await ApiKey.FindAsync(instance, () => engine.FindApiKeyAsync(id, ct), ct);
        known.Set(id, new Cached(key, current),
            new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = Epoch.Bound });
        return key;
    }

    public void Dispose() => known.Dispose();

    private sealed record Cached(ApiKey? Key, long Epoch);
}
