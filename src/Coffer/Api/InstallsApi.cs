using System.Text.Json;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api;

/// <summary>Installs of an app, for its backend (docs/wire.md, "Installs").</summary>
internal sealed class InstallsApi(Installs installs)
{
    private const string All = "/v1/apps/installs", One = $"{All}/{{install}}";

    private const string ReceiptHeader = "Coffer-Receipt";

    private const int ShortestChallenge = 43, LongestChallenge = 128;

    private static readonly string[] Channels = [
        Install.PrivateChannel(livemode: true), Install.PrivateChannel(livemode: false), Install.Public, "testing",
    ];

    private static readonly string[] Statuses =
        ["install_failed", Installed, "installing", "uninstall_failed", Uninstalling];

    private const string Installed = "installed", Uninstalling = "uninstalling";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ListAsync),
        new("POST", All, CreateAsync),
        new("GET", One, ShowAsync),
        new("POST", One, UpdateAsync),
        new("POST", $"{One}/uninstall", UninstallAsync) { IsUrgent = true },
    ];

    private async ValueTask<ApiError?> ListAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("account", "app", "approval_required", "channel", "created", "created_by", "ending_before", "expand",
            "limit", "starting_after", "status");
        RequireExpandable(form, onList: true);
        var filter = ReadFilter(form) with { Created = ReadCreated(form) };
        // Nobody has to approve, and nobody is noted as who made one.
        if (form.Boolean("approval_required") == true || Text(form, "created_by") is not null)
            filter = filter with { IsEmpty = true };
        var cursors = new List<Cursor>();
        foreach (var isBefore in (bool[])[false, true])
        {
            if (Text(form, isBefore ? "ending_before" : "starting_after") is { } id)
                cursors.Add(new Cursor(id, isBefore));
        }

        var limit = request.Limit;
        var found = await installs.ListAsync(
            request.Caller, Text(form, "app"), filter, cursors, limit, request.Cancelled);
        return WriteList(request, found, limit, cursors.FirstOrDefault(), Write);
    }

    private ValueTask<ApiError?> CreateAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("app", "channel", "code_challenge", "code_challenge_method", "expand");
        RequireExpandable(form, onList: false);
        var (app, channel) = (RequiredText(form, "app"), ReadOneOf(form, "channel", Channels) ?? Install.Public);
        RequireChallenge(form);
        return AnswerAsync<Install>(request, Write, write => installs.CreateAsync(write, app, channel));
    }

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only("expand");
        RequireExpandable(request.Form, onList: false);
        Write(request.Json,
            await installs.ShowAsync(request.Caller, request.Target.Id("install"), request.Cancelled));
        return null;
    }

    private ValueTask<ApiError?> UpdateAsync(ApiRequest request)
    {
        request.Form.Only("expand");
        RequireExpandable(request.Form, onList: false);
        return AnswerAsync<Install>(
            request, Write, write => installs.UpdateAsync(write, request.Target.Id("install")));
    }

    private ValueTask<ApiError?> UninstallAsync(ApiRequest request)
    {
        request.Form.Only("expand");
        RequireExpandable(request.Form, onList: false);
        var id = request.Target.Id("install");
        return AnswerAsync<Install>(
            request, WriteBoth, write => installs.UninstallAsync(write, id), WriteUninstalled);

        // The receipt stands in a header, also when the answer is repeated.
        static void WriteBoth(Utf8JsonWriter json, Install install)
        {
            json.WriteStartObject();
            json.WriteString("receipt"u8, install.Receipt);
            json.WritePropertyName("install"u8);
            Write(json, install);
            json.WriteEndObject();
        }

        static ValueTask WriteUninstalled(ApiRequest request, SecretBytes kept)
        {
            using var both = JsonDocument.Parse(kept.Memory);
            request.Headers[ReceiptHeader] = both.RootElement.GetProperty("receipt").GetString();
            both.RootElement.GetProperty("install").WriteTo(request.Json);
            return ValueTask.CompletedTask;
        }
    }

    /// <summary>What narrows a list, as far as both planes have it.</summary>
    public static InstallFilter ReadFilter(StripeForm form)
    {
        var status = ReadOneOf(form, "status", Statuses);
        return new InstallFilter
        {
            Account = Text(form, "account"),
            Channel = ReadOneOf(form, "channel", Channels),
            IsGoing = status is null ? null : status == Uninstalling,
            IsEmpty = status is not (null or Installed or Uninstalling),
        };
    }

    // The order of the reference's example: id and object, then the alphabet. What there is not here is empty or null,
    // as there.
    private static void Write(Utf8JsonWriter json, Install install) => Write(json, install, showsReceipt: false);

    /// <param name="json">Where to.</param>
    /// <param name="install">The install.</param>
    /// <param name="showsReceipt">Whether with the receipt of its removal, as the management plane has it.</param>
    public static void Write(Utf8JsonWriter json, Install install, bool showsReceipt)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, install.Id);
        json.WriteString("object"u8, "apps.install"u8);
        json.WriteString("account"u8, install.Account);
        json.WriteString("app"u8, install.App.Id);
        json.WriteBoolean("approval_required"u8, false);
        json.WriteNull("auth_code"u8);
        json.WriteString("channel"u8, install.Channel);
        WritePolicy("content_security_policy_granted");
        WritePolicy("content_security_policy_pending");
        json.WriteNumber("created"u8, install.Created);
        json.WriteNull("created_by"u8);
        WriteStrings(json, "endpoints_granted", []);
        WriteStrings(json, "endpoints_pending", []);
        json.WriteBoolean("livemode"u8, install.Livemode);
        WriteStrings(json, "permissions_granted", ["secret_write"]);
        WriteStrings(json, "permissions_pending", []);
        if (showsReceipt)
            json.WriteString("receipt_id"u8, install.Receipt);
        json.WriteString("status"u8, install.Receipt is null ? Installed : Uninstalling);
        json.WriteEndObject();

        void WritePolicy(string name)
        {
            json.WriteStartObject(name);
            WriteStrings(json, "connect_src", []);
            WriteStrings(json, "image_src", []);
            json.WriteEndObject();
        }
    }

    private static (long From, long Until) ReadCreated(StripeForm form)
    {
        if (!form.IsNested("created"))
            return Time(form, "created") is { } at ? (at, at) : (UnixTime.Earliest, UnixTime.Latest);
        form.ObjectOf("created", "gt", "gte", "lt", "lte");
        var from = Math.Max(Time(form, "created[gt]") + 1 ?? 0, Time(form, "created[gte]") ?? 0);
        var until = Math.Min(Time(form, "created[lt]") - 1 ?? UnixTime.Latest,
            Time(form, "created[lte]") ?? UnixTime.Latest);
        return (from, until);
    }

    private static string? ReadOneOf(StripeForm form, string param, string[] words)
    {
        var word = Text(form, param);
        return word is null || words.Contains(word) ? word : throw ApiError.NotOneOf(param, words);
    }

    // Both are inline anyway.
    private static void RequireExpandable(StripeForm form, bool onList)
    {
        var prefix = onList ? "data." : "";
        foreach (var property in form.Strings("expand"))
        {
            if (property != $"{prefix}content_security_policy_granted"
                && property != $"{prefix}content_security_policy_pending" && !(onList && property == "data"))
                throw ApiError.NotExpandable(property, onList);
        }
    }

    // It is for an authorization code, which no app here has: its form is looked at, so that what passes here passes
    // there.
    private static void RequireChallenge(StripeForm form)
    {
        var (challenge, method) = (Text(form, "code_challenge"), Text(form, "code_challenge_method"));
        if (challenge is null && method is null)
            return;
        if (challenge is null || method is null)
            throw ApiError.ParameterMissing(challenge is null ? "code_challenge" : "code_challenge_method");
        if (challenge.Length is < ShortestChallenge or > LongestChallenge
            || !challenge.All(static c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '_' or '~'))
        {
            throw ApiError.Unusable("code_challenge", $"it must be {ShortestChallenge} to {LongestChallenge} letters, "
                + "digits, '-', '.', '_' and '~'");
        }

        if (method != "S256")
            throw ApiError.NotOneOf("code_challenge_method", "S256");
    }
}
