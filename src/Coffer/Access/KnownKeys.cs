using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// Whether a token could be a stored key's, as far as this node knows: by the MACs of all keys, which are read once in
/// a while. It spares a flood of bad keys their look-ups.
/// </summary>
internal sealed class KnownKeys(Engine engine, Instance instance, Epoch epoch, TimeProvider time)
{
    private Macs? last;

    public async ValueTask<bool> ContainsAsync(string token, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        var (stored, current) = (last, epoch.Keys);
        if (stored is null || stored.Epoch != current || now < stored.At || now - stored.At >= Epoch.Bound)
            last = stored = new Macs([.. (await engine.ListApiKeyMacsAsync(ct)).Select(Short)], current, now);
        return stored.All.Contains(Short(ApiKey.Mac(instance, token)));

        static Guid Short(byte[] mac) => new(mac.AsSpan(0, 16));
    }

    private sealed record Macs(HashSet<Guid> All, long Epoch, DateTimeOffset At);
}
