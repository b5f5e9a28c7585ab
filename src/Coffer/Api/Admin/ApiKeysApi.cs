using System.Net;
using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>API keys, for someone with an admin key (docs/management.md, "API keys").</summary>
internal sealed class ApiKeysApi(KeyRing keys)
{
    private const string All = $"{Root}/api_keys", One = $"{All}/{{key}}";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("POST", All, CreateAsync) { Act = Acts.CreateKey },
        new("GET", All, ListAsync) { Act = Acts.ListKeys },
        new("GET", One, ShowAsync) { Act = Acts.ShowKey },
        new("POST", $"{One}/roll", RollAsync) { Act = Acts.RollKey, IsUrgent = true },
        new("POST", $"{One}/revoke", RevokeAsync) { Act = Acts.RevokeKey, IsUrgent = true },
    ];

    // The account that a key is for.
    private static string? AccountOf(StripeForm form) =>
        Id(form, "account") is { } account && Authentication.IsAccident(account)
            ? throw ApiError.Unusable("account", $"'{account}' is what a program sends when it has no account")
            : Id(form, "account");

    private ValueTask<ApiError?> CreateAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("type", "app", "livemode", "permissions", "account", "addresses", "expires_at", "role",
            "apps");
        var kind = RequiredText(form, "type") switch
        {
            "secret" => KeyKind.Secret,
            "restricted" => KeyKind.Restricted,
            "admin" => KeyKind.Admin,
            _ => throw ApiError.NotOneOf("type", "secret", "restricted", "admin"),
        };
        var isAdmin = kind == KeyKind.Admin;
        foreach (var param in (string[])[.. isAdmin ? (string[])["app", "livemode"] : [],
            .. kind != KeyKind.Restricted ? (string[])["permissions", "account"] : [],
            .. isAdmin ? [] : (string[])["role", "apps"]])
        {
            if (form.Has(param))
                throw ApiError.Unusable(param, $"it cannot be used with type={ApiKey.Word(kind)}");
        }

        var wanted = new KeyRing.Wanted(
            kind,
            isAdmin ? null : RequiredText(form, "app"),
            isAdmin || (form.Boolean("livemode") ?? false),
            PermissionsOf(form, kind),
            AccountOf(form),
            ReadNetworks(form),
            form.Integer("expires_at"),
            isAdmin ? RoleOf(form) : null,
            isAdmin ? AppsOf(form) : []);
        if (wanted is { Role: Role.Owner, Apps.Count: > 0 })
            throw ApiError.Unusable("apps", "an owner's key is for all apps: choose role=operator or role=viewer");
        return AnswerAsync<KeyRing.KeyAnswer>(
            request, Write, write => keys.CreateAsync(write, wanted, request.Cancelled));
    }

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        request.Form.Only("app", "limit", "starting_after", "ending_before");
        var (cursor, limit) = (ReadCursor(request.Form), request.Limit);
        var found = await keys.ListAsync(request.Caller, Id(request.Form, "app"), cursor, limit, request.Cancelled);
        return WriteList(request, found, limit, cursor, (json, key) => Write(json, new KeyRing.KeyAnswer(key)));
    }

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        Write(request.Json,
            new(await keys.RequireAsync(request.Caller, request.Target.Id("key"), request.Cancelled)));
        return null;
    }

    private ValueTask<ApiError?> RollAsync(ApiRequest request)
    {
        request.Form.Only("grace_period");
        var grace = Grace(request.Form);
        return AnswerAsync<KeyRing.KeyAnswer>(request, Write,
            write => keys.RollAsync(write, request.Target.Id("key"), grace));
    }

    private ValueTask<ApiError?> RevokeAsync(ApiRequest request)
    {
        request.Form.Only();
        return AnswerAsync<KeyRing.KeyAnswer>(request, Write,
            write => keys.RevokeAsync(write, request.Target.Id("key")));
    }

    private static List<IPNetwork> ReadNetworks(StripeForm form)
    {
        var networks = form.Strings("addresses").Select(text => Networks.Parse(text)
            ?? throw ApiError.Unusable(
                "addresses",
                "write each as an address or as a network such as 203.0.113.0/24, with zeros after its "
                    + "prefix")).Distinct().ToList();
        return networks.Count <= ApiKey.MostAddresses
            ? networks
            : throw ApiError.Unusable("addresses", $"send at most {ApiKey.MostAddresses}");
    }

    private static Role RoleOf(StripeForm form)
    {
        var word = Text(form, "role") ?? RoleWords.Owner;
        return RoleWords.Parse(word)
            ?? throw ApiError.NotOneOf("role", RoleWords.Viewer, RoleWords.Operator, RoleWords.Owner);
    }

    private static List<string> AppsOf(StripeForm form)
    {
        var apps = form.Strings("apps").Distinct(StringComparer.Ordinal).ToList();
        return apps.Count <= ApiKey.MostApps
            ? apps
            : throw ApiError.Unusable("apps", $"send at most {ApiKey.MostApps}");
    }

    private static Permissions PermissionsOf(StripeForm form, KeyKind kind)
    {
        if (ReadPermissions(form, Permissions.Everything) is { } given)
            return given;
        return kind == KeyKind.Restricted ? throw ApiError.ParameterMissing("permissions") : Permissions.Everything;
    }

    /// <summary>A key as it is shown.</summary>
    public static void Write(Utf8JsonWriter json, KeyRing.KeyAnswer shown)
    {
        var (key, kind) = (shown.Key, shown.Key.Kind);
        json.WriteStartObject();
        json.WriteString("id"u8, key.Id);
        json.WriteString("object"u8, "api_key"u8);
        json.WriteString("account"u8, key.PinnedAccount);
        WriteStrings(json, "addresses", key.Networks.Select(network => network.ToString()));
        json.WriteString("app"u8, key.App);
        WriteStrings(json, "apps", key.Apps ?? []);
        json.WriteNumber("created"u8, key.Created);
        json.WriteString("created_by"u8, key.CreatedBy);
        if (key.IsDamaged)
            json.WriteBoolean("damaged"u8, true);
        json.WriteNumberOrNull("expires_at"u8, key.EndsAt);
        json.WriteNumberOrNull("last_used"u8, key.LastUsed);
        if (kind == KeyKind.Admin)
            json.WriteNull("livemode"u8);
        else
            json.WriteBoolean("livemode"u8, key.Livemode);
        if (key.IsOffline)
            json.WriteBoolean("offline"u8, true);
        if (kind == KeyKind.Restricted)
            WriteStrings(json, "permissions", key.Permissions.Words());
        else
            json.WriteNull("permissions"u8);
        if (shown.IsRevoked)
            json.WriteBoolean("revoked"u8, true);
        json.WriteString("role"u8, key.Role?.Word());
        json.WriteString("type"u8, kind is { } known ? ApiKey.Word(known) : null);
        if (shown.Token is { } token)
            json.WriteString("secret"u8, token);
        json.WriteEndObject();
    }
}
