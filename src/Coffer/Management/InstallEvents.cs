using Coffer.Access;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>That an app was installed in an account, or uninstalled from it (docs/events.md).</summary>
internal static class InstallEvents
{
    /// <param name="instance">Whose store it is.</param>
    /// <param name="install">The install as it is then.</param>
    /// <param name="caller">Who did it.</param>
    /// <param name="now">Unix seconds.</param>
    public static IEnumerable<RowWrite> Of(Instance instance, Install install, Caller caller, long now) =>
        !install.App.HasEvents ? [] :
    [
        // Not under the tenant's keys: it has no number yet, or is gone with them.
        Event.Put(instance, new Event.Owner(install.Tenant.App, install.Livemode, install.Account),
            install.Receipt is null ? EventKinds.InstallCreated : EventKinds.InstallDeleted, json =>
        {
            json.WriteString("id"u8, install.Id);
            json.WriteString("object"u8, "apps.install"u8);
            json.WriteString("account"u8, install.Account);
            json.WriteString("app"u8, install.Tenant.App);
            json.WriteString("channel"u8, install.Channel);
            json.WriteNumber("created"u8, install.Created);
            json.WriteBoolean("livemode"u8, install.Livemode);
            if (install.Receipt is not null)
                json.WriteString("receipt_id"u8, install.Receipt);
            json.WriteString("status"u8, install.Receipt is null ? "installed"u8 : "uninstalling"u8);
        }, caller.Origin.RequestId, UnixTime.Date(now)),
    ];
}
