using Coffer.Access;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// An install of an app in an account and a mode: a tenant as it is seen from outside (docs/wire.md, "Installs").
/// </summary>
/// <param name="Id">As it is shown: <c>appinst_…</c>, in test mode <c>appinst_test_…</c>.</param>
/// <param name="App">The app.</param>
/// <param name="Tenant">The app's id, the mode and the account.</param>
/// <param name="Created">Unix seconds.</param>
internal sealed record Install(string Id, App App, TenantId Tenant, long Created)
{
    public string Account => Tenant.Account;

    public bool Livemode => Tenant.Livemode;

    /// <summary>Its place in lists: that of the tenant. Greater ones are newer.</summary>
    public long Number { get; init; }

    /// <summary>The receipt of its removal, while that is under way; null of one that is there.</summary>
    public string? Receipt { get; init; }

    /// <summary>Who may install the app so: an account others' apps, its developer the own one.</summary>
    public string Channel => ChannelOf(App, Tenant);

    /// <summary>The one channel in which an app is installed in an account.</summary>
    public static string ChannelOf(App app, TenantId tenant) => tenant.Account == app.Account
        ? PrivateChannel(tenant.Livemode)
        : Public;

    /// <summary>That of all accounts but the app's own.</summary>
    public const string Public = "public";

    /// <summary>That of the app's own account.</summary>
    public static string PrivateChannel(bool livemode) => livemode ? "private_live" : "private_test";

    /// <summary>What is stored of the id.</summary>
    public string Stored => InstallId.Parse(Tenant.Livemode, Id)!;
}

/// <summary>What narrows a list of installs.</summary>
internal sealed record InstallFilter
{
    /// <summary>The one account, or null.</summary>
    public string? Account { get; init; }

    /// <summary>The channel, or null.</summary>
    public string? Channel { get; init; }

    /// <summary>Whether only those are given that are being removed, or only others; null is both.</summary>
    public bool? IsGoing { get; init; }

    /// <summary>Whether it asks for what no install here is: then there are none.</summary>
    public bool IsEmpty { get; init; }

    /// <summary>The first and the last Unix second at which they were made.</summary>
    public (long From, long Until) Created { get; init; } = (UnixTime.Earliest, UnixTime.Latest);

    /// <summary>Whether an install is wanted.</summary>
    public bool Takes(Install install) => !IsEmpty && (Account is null || install.Tenant.Account == Account)
        && (Channel is null || install.Channel == Channel) && (IsGoing is not { } going || going == Going(install))
        && install.Created >= Created.From && install.Created <= Created.Until;

    private static bool Going(Install install) => install.Receipt is not null;
}
