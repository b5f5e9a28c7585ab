using System.Collections.Frozen;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// What ends ephemeral keys before their time: one of them by its id, or all that a key minted, or all of an account, made until
/// then. Kept in memory, read anew when the epoch grows and every <see cref="Epoch.Bound"/>, and never more than a day's.
/// </summary>
internal sealed class Revocations(Engine engine, Epoch epoch, TimeProvider time)
{
    private Known? known;

    /// <summary>The subject that stands for all ephemeral keys of an account of an app.</summary>
    public static string Of(string app, string account) => $"{app}/{account}";

    /// <summary>What revokes, until the last key that it could concern has expired by itself.</summary>
    public static RowWrite.PutRevocation Write(string subject, long now, long keptUntil) => new(new RevocationRow(subject, now, keptUntil));

    public async ValueTask<bool> IsRevokedAsync(EphemeralKey key, CancellationToken ct)
    {
        var (current, now) = (epoch.Current, time.GetUtcNow());
        var subjects = known;
        if (subjects is null || subjects.Epoch != current || now < subjects.At || now - subjects.At >= Epoch.Bound)
        {
            var rows = await engine.ListRevocationsAsync(now.ToUnixTimeSeconds(), ct);
            known = subjects = new Known(rows.ToFrozenDictionary(row => row.Subject, row => row.MadeUntil, StringComparer.Ordinal), current, now);
        }

        return subjects.Subjects.Count > 0
            && (Concerns(key.Id) || Concerns(key.MintedBy) || Concerns(Of(key.Tenant.App, key.Tenant.Account)));

        bool Concerns(string subject) => subjects.Subjects.TryGetValue(subject, out var madeUntil) && key.Created <= madeUntil;
    }

    private sealed record Known(FrozenDictionary<string, long> Subjects, long Epoch, DateTimeOffset At);
}
