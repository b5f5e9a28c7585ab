using System.Text;

namespace Coffer.Storage;

/// <summary>
/// What a commit changed of what nodes keep in memory. As text it is a line for each change; a line that is not known,
/// for a later release wrote it, counts as a change of everything.
/// </summary>
internal sealed class News
{
    /// <summary>More changes than these are sent as a change of everything.</summary>
    private const int Most = 1_000;

    private const string Key = "key ", App = "app ", Tenant = "tenant ", RevocationsAdded = "revocations",
        GenerationsAdded = "generations", GenerationsRemoved = "generations removed", ControlChanged = "control",
        EventsAdded = "events";

    private readonly HashSet<string> keys = new(StringComparer.Ordinal);
    private readonly HashSet<string> apps = new(StringComparer.Ordinal);
    private readonly HashSet<TenantId> tenants = [];

    /// <summary>Anything may have changed.</summary>
    public static News Everything => new()
    {
        IsAllAccess = true,
        IsAllTenants = true,
        HasControl = true,
        HasEvents = true,
    };

    /// <summary>Any app, key or revocation may have changed.</summary>
    public static News AllAccess => new() { IsAllAccess = true };

    /// <summary>The ids of keys that were added, changed or removed.</summary>
    public IReadOnlyCollection<string> Keys => keys;

    /// <summary>The ids of apps that were.</summary>
    public IReadOnlyCollection<string> Apps => apps;

    /// <summary>Tenants that were removed, or were given other keys.</summary>
    public IReadOnlyCollection<TenantId> Tenants => tenants;

    /// <summary>Whether revocations were added: those of greater numbers are to be read.</summary>
    public bool HasRevocations { get; private set; }

    /// <summary>Whether generations were raised: those of greater numbers are to be read.</summary>
    public bool HasGenerations { get; private set; }

    /// <summary>Whether generations were removed: all of them are to be read again.</summary>
    public bool HasRemovedGenerations { get; private set; }

    /// <summary>Whether any app, key or revocation may have changed.</summary>
    public bool IsAllAccess { get; private set; }

    /// <summary>Whether any tenant may have been removed.</summary>
    public bool IsAllTenants { get; private set; }

    /// <summary>Whether the control row was changed.</summary>
    public bool HasControl { get; private set; }

    /// <summary>Whether events were added.</summary>
    public bool HasEvents { get; private set; }

    /// <summary>Whether it says anything of apps, keys or revocations.</summary>
    public bool IsOfAccess => IsAllAccess || HasRevocations || HasGenerations || HasRemovedGenerations
        || keys.Count + apps.Count > 0;

    public bool IsEmpty => !IsOfAccess && !IsAllTenants && !HasControl && !HasEvents && tenants.Count == 0;

    /// <summary>That a row is written.</summary>
    public void Add(RowWrite row)
    {
        switch (row)
        {
            case RowWrite.PutMeta { Key: MetaRow.Control }:
                HasControl = true;
                break;
            case RowWrite.PutEvent:
                HasEvents = true;
                break;
            case RowWrite.PutApp { Row.Id: var id }:
                apps.Add(id);
                break;
            case RowWrite.DeleteApp { Id: var id }:
                apps.Add(id);
                break;
            case RowWrite.PutApiKey { Row.Id: var id }:
                keys.Add(id);
                break;
            case RowWrite.DeleteApiKey { Id: var id }:
                keys.Add(id);
                break;
            case RowWrite.PutRevocation:
                HasRevocations = true;
                break;
            case RowWrite.PutGeneration:
                HasGenerations = true;
                break;
            case RowWrite.DeleteGeneration:
                HasRemovedGenerations = true;
                break;
            case RowWrite.ShredTenant { Tenant: var tenant }:
                tenants.Add(tenant);
                break;
            case RowWrite.PutTenantKeys { Tenant: var tenant }:
                tenants.Add(tenant);
                break;
        }
    }

    /// <summary>That a tenant was removed, or was given other keys.</summary>
    public static News Of(TenantId tenant)
    {
        var news = new News();
        news.tenants.Add(tenant);
        return news;
    }

    /// <summary>What <see cref="ToString"/> wrote. Ids hold no line breaks.</summary>
    public static News Parse(string text)
    {
        var news = new News();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line == ControlChanged)
                news.HasControl = true;
            else if (line == EventsAdded)
                news.HasEvents = true;
            else if (line == RevocationsAdded)
                news.HasRevocations = true;
            else if (line == GenerationsAdded)
                news.HasGenerations = true;
            else if (line == GenerationsRemoved)
                news.HasRemovedGenerations = true;
            else if (line.StartsWith(Key, StringComparison.Ordinal))
                news.keys.Add(line[Key.Length..]);
            else if (line.StartsWith(App, StringComparison.Ordinal))
                news.apps.Add(line[App.Length..]);
            else if (line.StartsWith(Tenant, StringComparison.Ordinal)
                && line.Split(' ', 4) is [_, var app, ("live" or "test") and var mode, var account])
                news.tenants.Add(new TenantId(app, mode == "live", account));
            else
                return Everything;
        }

        return news;
    }

    public override string ToString()
    {
        if (keys.Count + apps.Count + tenants.Count > Most || IsAllAccess || IsAllTenants)
            return "everything";
        var text = new StringBuilder();
        if (HasControl)
            text.Append(ControlChanged).Append('\n');
        if (HasEvents)
            text.Append(EventsAdded).Append('\n');
        if (HasRevocations)
            text.Append(RevocationsAdded).Append('\n');
        if (HasGenerations)
            text.Append(GenerationsAdded).Append('\n');
        if (HasRemovedGenerations)
            text.Append(GenerationsRemoved).Append('\n');
        foreach (var key in keys)
            text.Append(Key).Append(key).Append('\n');
        foreach (var app in apps)
            text.Append(App).Append(app).Append('\n');
        foreach (var tenant in tenants)
            text.Append(Tenant).Append(tenant.App).Append(tenant.Livemode ? " live " : " test ").Append(tenant.Account)
                .Append('\n');
        return text.ToString();
    }
}
