
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// What ends a minted key before it expires: its own revocation, the end of the key that minted it, and what ends
/// others with it.
/// </summary>
internal sealed class Endings(
    Engine engine, Instance instance, Revocations revocations, MintingKeys minting, FormatOne formatOne,
    TimeProvider time)
{
    /// <summary>How far ahead of this node's clock another's may be that mints, in seconds.</summary>
    private const long Skew = 30;

    private static readonly TimeSpan Rest = TimeSpan.FromHours(1);

    private long swept;

    /// <summary>Whether keys that name no generation of the store are accepted; null accepts none.</summary>
    public WithoutGeneration? Before { get; init; }

    /// <summary>Whether keys are minted in the format that nodes of the release before know.</summary>
    public bool MintsFormatOne => engine.HasOlderNodes;

    /// <summary>Why a key is no good, in one word for the audit log; null if it is good.</summary>
    public async ValueTask<string?> FindAsync(EphemeralKey key, App app, CancellationToken ct)
    {
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        if (key.Ties is not { } ties)
        {
            if (!formatOne.IsAcceptedAt(now))
                return "expired_key";
            return await revocations.IsRevokedAsync(key, ct) ? "revoked_key" : null;
        }

        if (key.Expires - key.Created > EphemeralKey.LongestLife)
            return "unknown_key";
        if (!IsOfThisGeneration(ties, now))
            return "revoked_key";
        if (key.Created > now + Skew)
            return "early_key";
        if (await revocations.IsRevokedAsync(key, ct)
            || await minting.FindAsync(key.MintedBy, key.Tenant.App, ct) is not { } parent)
            return "revoked_key";
        if (parent.EndsAt <= now)
            return "expired_key";
        return (parent.Row.Generation ?? 0) == ties.Key && app.Generation == ties.App ? null : "revoked_key";
    }

    /// <summary>What a key is minted under, as its transaction reads it.</summary>
    /// <exception cref="ApiError">401: the key that mints has ended. 403: its app is disabled.</exception>
    public (ApiKey Parent, Ties? Ties, RowWrite[] Rows) Tie(Change.MintFound found, long now)
    {
        var parent = found.Key is { } row ? ApiKey.From(instance, row) : throw ApiError.KeyEnded();
        if (parent.EndsAt <= now)
            throw ApiError.KeyEnded();
        var app = App.From(found.App ?? throw ApiError.AppDeleted(), instance);
        if (app.IsDisabled)
            throw ApiError.AppDisabled();
        if (found.Generation is { } generation && !Generations.IsWhole(instance, generation))
            throw ApiError.RecordDamaged("generation", Generations.Damage(generation));
        if (MintsFormatOne)
            return (parent, null, []);
        var ofTenant = found.Generation?.Number ?? 0;
        var ties = new Ties(parent.Row.Generation ?? 0, app.Generation, ofTenant, found.Last)
        {
            Store = instance.Facts?.Generation,
        };
        return (parent, ties, Generations.Keep(found.Generation, now));
    }

    /// <summary>
    /// What ends one key. Where there are too many of them, all that was minted for the tenant ends with it, and where
    /// there are too many such tenants, all that was minted for the app.
    /// </summary>
    /// <returns>What has to be read first, and what is written then.</returns>
    public (Change.ManagementKey At, Func<Change.ManagementFound, long, RowWrite[]> Rows) End(
        TenantId tenant, string id, long created, long expires)
    {
        if (MintsFormatOne || revocations.HasRoomFor(tenant.App))
            return (new(), (_, _) => [Revocations.Write(tenant.App, id, created, expires)]);
        if (revocations.HasRoomForGeneration(tenant.App))
            return (new() { NeedsNumber = true }, (found, now) =>
                [Generations.Raise(instance, tenant, found.Number, now),
                    EndsFormatOne(tenant.App, Revocations.Of(tenant), now)]);
        return (new() { App = tenant.App, NeedsNumber = true }, (found, now) => EndAll(found, now));

        RowWrite[] EndAll(Change.ManagementFound found, long now) => found.App is null ? [] :
        [
            new RowWrite.PutApp((App.From(found.App, instance) with { Generation = found.Number }).ToRow(instance)),
            EndsFormatOne(tenant.App, tenant.App, now),
        ];
    }

    /// <summary>What ends the keys of format 1 of a subject, and nodes of the release before know.</summary>
    public static RowWrite.PutRevocation EndsFormatOne(string app, string subject, long now) =>
        Revocations.Write(app, subject, now, now + EphemeralKey.LongestLife);

    // Of another generation, greater or not: what was given out before a step back is never taken for newer.
    private bool IsOfThisGeneration(Ties ties, long now) => ties.Store is { } named
        ? named.Is(instance.Facts?.Generation)
        : Before?.IsAcceptedAt(now) == true;

    /// <summary>Call once in a while: removes generations that need not be kept, at most once an hour.</summary>
    public async Task SweepAsync(Committer committer, CancellationToken ct)
    {
        await formatOne.SweepAsync();
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        if (now - swept < (long)Rest.TotalSeconds && now >= swept)
            return;
        swept = now;
        var listed = await engine.ListGenerationsAsync(-1, ct);
        if (Generations.Prune(instance, listed, now) is { Length: > 0 and var count })
        {
            await committer.CommitAsync(new Change.Plain(() => Generations.Prune(instance, listed, now))
            {
                In = Lane.Background,
                Rows = count,
            });
        }
    }
}
