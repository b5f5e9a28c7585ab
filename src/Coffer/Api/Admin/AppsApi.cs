using System.Text;
using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using Coffer.Settings;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>Apps, for someone with an admin key (docs/management.md, "Apps").</summary>
internal sealed class AppsApi(ManagedApps apps)
{
    private static readonly string[] OriginSchemes =
    [
        "https", "http", "app", "capacitor", "ionic", "tauri", "chrome-extension", "moz-extension",
        "safari-web-extension", "vscode-webview",
    ];

    private const string All = $"{Root}/apps", One = $"{All}/{{app}}";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("POST", All, CreateAsync) { Act = Acts.CreateApp },
        new("GET", All, ListAsync) { Act = Acts.ListApps },
        new("GET", One, ShowAsync) { Act = Acts.ShowApp },
        new("POST", One, ChangeAsync) { Act = Acts.ChangeApp, IsUrgent = true },
        new("DELETE", One, DeleteAsync) { Act = Acts.DeleteApp, IsUrgent = true },
        new("POST", $"{One}/signing_secret/roll", RollSigningSecretAsync)
        {
            Act = Acts.RollSigningSecret,
            IsUrgent = true,
        },
    ];

    private ValueTask<ApiError?> CreateAsync(ApiRequest request)
    {
        request.Form.Only("name", "secrets_per_scope", "origins", "account_pattern", "account_required", "events",
            "installs", "uninstall_disabled");
        var settings = ReadSettings(request.Form);
        if (settings.Name is null)
            throw ApiError.ParameterMissing("name");
        return AnswerAsync<ManagedApps.AppAnswer>(request, Write, write => apps.CreateAsync(write, settings));
    }

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        request.Form.Only("limit", "starting_after", "ending_before");
        var (cursor, limit) = (ReadCursor(request.Form), request.Limit);
        var found = await apps.ListAsync(request.Caller, cursor, limit, request.Cancelled);
        return WriteList(request, found, limit, cursor, Write);
    }

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        Write(request.Json, await apps.RequireAsync(request.Caller, request.Target.Id("app"), request.Cancelled));
        return null;
    }

    private ValueTask<ApiError?> ChangeAsync(ApiRequest request)
    {
        request.Form.Only("name", "secrets_per_scope", "origins", "account_pattern", "account_required", "disabled",
            "events", "installs", "uninstall_disabled");
        var settings = ReadSettings(request.Form) with { IsDisabled = request.Form.Boolean("disabled") };
        return AnswerAsync<ManagedApps.AppAnswer>(request, Write,
            write => apps.ChangeAsync(write, request.Target.Id("app"), settings));
    }

    private ValueTask<ApiError?> DeleteAsync(ApiRequest request)
    {
        request.Form.Only();
        return AnswerAsync<ManagedApps.AppAnswer>(request, Write,
            write => apps.DeleteAsync(write, request.Target.Id("app")));
    }

    private ValueTask<ApiError?> RollSigningSecretAsync(ApiRequest request)
    {
        request.Form.Only("grace_period", "livemode");
        var (grace, livemode) = (Grace(request.Form), request.Form.Boolean("livemode") ?? false);
        return AnswerAsync<ManagedApps.AppAnswer>(request, Write,
            write => apps.RollSigningSecretAsync(write, request.Target.Id("app"), livemode, grace));
    }

    private static ManagedApps.Edit ReadSettings(StripeForm form)
    {
        int? quota = form.IsEmpty("secrets_per_scope") ? 0 : form.Integer("secrets_per_scope") switch
        {
            null => null,
            >= 1 and <= CofferOptions.MostSecretsPerScope and var given => (int)given,
            _ => throw ApiError.OutOfRange("secrets_per_scope", 1, CofferOptions.MostSecretsPerScope),
        };
        return new ManagedApps.Edit(Text(form, "name", App.LongestName), quota,
            form.Has("origins") ? ReadOrigins(form) : null, null, ReadPattern(form), form.Boolean("account_required"),
            form.Boolean("events"))
        {
            AreInstallsExplicit = Text(form, "installs") switch
            {
                null => null,
                App.ExplicitInstalls => true,
                App.ImplicitInstalls => false,
                _ => throw ApiError.NotOneOf("installs", App.ImplicitInstalls, App.ExplicitInstalls),
            },
            IsUninstallDisabled = form.Boolean("uninstall_disabled"),
        };
    }

    // An empty value takes it back to any.
    private static string? ReadPattern(StripeForm form)
    {
        if (form.IsEmpty("account_pattern"))
            return "";
        return Text(form, "account_pattern") is { } pattern && !App.IsAccountPattern(pattern)
            ? throw ApiError.Unusable("account_pattern", "it must be what an account's id looks like, such as acct_*: "
                + $"at most {App.LongestAccountPattern} letters, digits, '_' and '-', and at most {App.MostStars} '*', "
                + "each for any number of them")
            : Text(form, "account_pattern");
    }

    private static List<string> ReadOrigins(StripeForm form)
    {
        var origins = form.Strings("origins").Distinct(StringComparer.Ordinal).ToList();
        if (origins.Count > App.MostOrigins)
            throw ApiError.Unusable("origins", $"send at most {App.MostOrigins}");
        // As a browser writes it in the Origin header (RFC 6454, section 6.2): ASCII, nothing but scheme and host
        // before a port that is not the default. Shells of desktop and mobile apps, and extensions of browsers, have
        // schemes of their own.
        foreach (var origin in origins)
        {
            if (!Uri.TryCreate(origin, UriKind.Absolute, out var uri) || !OriginSchemes.Contains(uri.Scheme)
                || uri.UserInfo.Length > 0
                || !Ascii.IsValid(origin) || uri.GetLeftPart(UriPartial.Authority) != origin)
                throw ApiError.Unusable("origins", "write each as browsers do, such as https://app.example.com");
        }

        return origins;
    }

    private static void Write(Utf8JsonWriter json, ManagedApps.AppAnswer shown)
    {
        var app = shown.App;
        json.WriteStartObject();
        json.WriteString("id"u8, app.Id);
        json.WriteString("object"u8, "app"u8);
        json.WriteString("account"u8, app.Account);
        json.WriteString("account_pattern"u8, app.AccountPattern);
        json.WriteBoolean("account_required"u8, app.IsAccountRequired);
        json.WriteNumber("created"u8, app.Created);
        if (app.IsDamaged)
            json.WriteBoolean("damaged"u8, true);
        if (shown.IsDeleted)
            json.WriteBoolean("deleted"u8, true);
        json.WriteBoolean("disabled"u8, app.IsDisabled);
        json.WriteBoolean("events"u8, app.HasEvents);
        json.WriteString("installs"u8, app.AreInstallsExplicit ? App.ExplicitInstalls : App.ImplicitInstalls);
        json.WriteString("name"u8, app.Name);
        WriteStrings(json, "origins", app.Origins);
        json.WriteNumberOrNull("secrets_per_scope"u8, app.SecretsPerScope);
        if (shown.New?.Live is { } live)
            json.WriteString("signing_secret_live"u8, live);
        if (shown.New?.Test is { } test)
            json.WriteString("signing_secret_test"u8, test);
        json.WriteStartObject("signing_secrets"u8);
        json.WriteNumber("live"u8, app.SigningSecretsAt(livemode: true, shown.Now).Count());
        json.WriteNumber("test"u8, app.SigningSecretsAt(livemode: false, shown.Now).Count());
        json.WriteEndObject();
        json.WriteBoolean("uninstall_disabled"u8, app.IsUninstallDisabled);
        json.WriteEndObject();
    }
}
