using Coffer.Access;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>That an API key was created, rolled or revoked (docs/events.md).</summary>
internal static class KeyEvents
{
    /// <param name="keeps">Whether there are events of it at all.</param>
    /// <param name="instance">Whose store it is.</param>
    /// <param name="caller">Who did it.</param>
    /// <param name="what">What.</param>
    /// <param name="key">The key as it is then.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="successor">The key that replaces it, if one does.</param>
    public static IEnumerable<RowWrite> Of(bool keeps, Instance instance, Caller caller, string what, ApiKeyRow key,
        long now, string? successor = null) => !keeps ? [] :
    [
        Event.Put(instance, new Event.Owner(key.App, key.Livemode, key.PinnedAccount), $"key.{what}", json =>
        {
            json.WriteString("id"u8, key.Id);
            json.WriteString("object"u8, "api_key"u8);
            json.WriteNumber("created"u8, key.Created);
            json.WriteNumberOrNull("expires_at"u8, key.ExpiresAt);
            json.WriteBoolean("livemode"u8, key.Livemode);
            if (successor is not null)
                json.WriteString("replaced_by"u8, successor);
            json.WriteString("type"u8, key.Kind);
        }, caller.Origin.RequestId, UnixTime.Date(now)),
    ];
}
