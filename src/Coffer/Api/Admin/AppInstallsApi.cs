using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>Installs of apps, for someone with an admin key (docs/management.md, "Installs").</summary>
internal sealed class AppInstallsApi(Installs installs)
{
    private const string All = $"{Root}/apps/{{app}}/installs";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ListAsync) { Act = Acts.ListInstalls },
        new("POST", All, CreateAsync) { Act = Acts.CreateInstall },
        new("POST", $"{All}/{{install}}/uninstall", UninstallAsync) { Act = Acts.Uninstall, IsUrgent = true },
    ];

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("account", "channel", "ending_before", "limit", "livemode", "starting_after", "status");
        var (cursor, limit, filter) = (ReadCursor(form), request.Limit, InstallsApi.ReadFilter(form));
        var found = await installs.ListAsync(request.Caller, request.Target.Id("app"),
            form.Boolean("livemode") ?? false, filter, cursor, limit, request.Cancelled);
        return WriteList(request, found, limit, cursor, Write);
    }

    private ValueTask<ApiError?> CreateAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("account", "livemode");
        var account = Id(form, "account") ?? throw ApiError.ParameterMissing("account");
        if (Authentication.IsAccident(account))
            throw ApiError.Unusable("account", $"'{account}' is what a program sends when it has no account");
        var (app, livemode) = (request.Target.Id("app"), form.Boolean("livemode") ?? false);
        return AnswerAsync<Install>(
            request, Write, write => installs.CreateAsync(write, app, livemode, account, request.Cancelled));
    }

    private ValueTask<ApiError?> UninstallAsync(ApiRequest request)
    {
        request.Form.Only();
        return AnswerAsync<Install>(request, Write, write => installs.UninstallAsync(
            write, request.Target.Id("app"), request.Target.Id("install"), request.Cancelled));
    }

    private static void Write(Utf8JsonWriter json, Install install) =>
        InstallsApi.Write(json, install, showsReceipt: true);
}
