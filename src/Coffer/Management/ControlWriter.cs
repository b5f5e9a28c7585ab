using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// Changes of the control row that somebody with an admin key asks for: decided against what is stored, tried again
/// where another change came between, and in force on this node before they are answered.
/// </summary>
internal sealed class ControlWriter(Instance instance, ManagementWriter management)
{
    private const int MostTries = 10;

    /// <summary>A step of a rotation, or another node, may come between what was prepared and what is stored.</summary>
    public async Task<Reply> RetryAsync(Func<Task<Reply>> act, CancellationToken ct)
    {
        for (var tries = 1; ; tries++)
        {
            try
            {
                return await act();
            }
            catch (ApiError e) when (e.Code == ApiError.RootKeysChanged && tries < MostTries)
            {
                await instance.Reload(ct);
            }
        }
    }

    /// <summary>Carries out a change.</summary>
    /// <param name="request">Who asks.</param>
    /// <param name="facts">What it was prepared by.</param>
    /// <param name="entry">What is recorded.</param>
    /// <param name="decide">
    /// What the row is to be, with what is written beside it; a refusal is an <see cref="ApiError"/> that it throws.
    /// </param>
    /// <param name="shown">What is answered.</param>
    /// <param name="made">The root key that the change makes, or null.</param>
    /// <param name="asks">What looks at the key that asks, as it is stored; it throws a refusal. Null does not.</param>
    /// <exception cref="ApiError">409: the row is not what it was prepared by.</exception>
    public async Task<Reply> WriteAsync<T>(
        ManagementWriter.Request<T> request, ControlFacts facts, AuditEntry entry,
        Func<Control, (Control Next, IReadOnlyList<RowWrite> Rows)> decide, Func<ControlFacts, T> shown,
        NewRoot? made = null, Action<ApiKeyRow?>? asks = null)
    {
        InForce? now = null;
        var at = new Change.ManagementKey
        {
            Meta = Control.MetaKey,
            ApiKey = asks is null ? null : request.Caller.KeyId,
        };
        var reply = await management.WriteAsync(request, at, entry,
            (found, _) =>
            {
                // First: what is refused may be so of what this node knows only.
                if (found.Meta is not { } stored || !stored.AsSpan().SequenceEqual(facts.Row))
                    throw ApiError.RootKeysMoved();
                asks?.Invoke(found.ApiKey);
                using var control = Control.Open(instance.Id, stored, instance.Roots)
                    ?? throw new InvalidOperationException("the control row that is known does not open");
                var (next, rows) = decide(control);
                (var row, now) = ControlChange.Write(instance, control, next, facts, made);
                return new(shown(now.Facts), [.. rows, row], entry);
            });
        if (now is { } current)
            instance.Take(current);
        return reply;
    }
}
