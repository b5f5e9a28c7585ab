using System.Globalization;
using System.Text.Json;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>Root keys and what wraps them (docs/management.md, "Root keys").</summary>
internal sealed class RootKeysApi(ManagedRootKeys keys)
{
    private const string All = $"{Root}/root_keys", Wrappers = $"{All}/wrappers", Shares = $"{All}/shares",
        Confirmation = $"{All}/confirmation";

    public IEnumerable<ApiRoute> Routes =>
    [
        new("GET", All, ShowAsync) { Act = Acts.ShowRootKeys },
        new("POST", $"{All}/rotate", RotateAsync) { Act = Acts.ChangeRootKeys, IsUrgent = true },
        new("GET", Confirmation, ListKeysAsync) { Act = Acts.ShowRootKeys },
        new("POST", Confirmation, ConfirmAsync) { Act = Acts.ChangeRootKeys, IsUrgent = true },
        new("POST", $"{All}/rewrap", RewrapAsync) { Act = Acts.ChangeRootKeys, IsUrgent = true },
        new("DELETE", $"{All}/{{version}}", RemoveKeyAsync) { Act = Acts.ChangeRootKeys, IsUrgent = true },
        new("POST", Wrappers, AddAsync) { Act = Acts.ChangeRootKeys, IsUrgent = true },
        new("POST", $"{Wrappers}/remove", RemoveAsync) { Act = Acts.ChangeRootKeys, IsUrgent = true },
        new("GET", Shares, ShowSharesAsync) { Act = Acts.ShowRootKeys },
        new("POST", Shares, CreateSharesAsync) { Act = Acts.ChangeRootKeys, IsUrgent = true },
    ];

    private async ValueTask<ApiError?> ShowAsync(ApiRequest request)
    {
        request.Form.Only();
        Write(request.Json, await keys.ShowAsync(request.Caller, request.Cancelled));
        return null;
    }

    private ValueTask<ApiError?> RotateAsync(ApiRequest request)
    {
        request.Form.Only("compromised");
        var isCompromised = request.Form.Boolean("compromised") == true;
        return AnswerAsync<ManagedRootKeys.Answer>(request, Write, write => isCompromised
            ? keys.RenewAsync(write, request.Cancelled)
            : keys.RotateAsync(write, request.Cancelled));
    }

    private async ValueTask<ApiError?> ListKeysAsync(ApiRequest request)
    {
        request.Form.Only();
        var listed = await keys.ListKeysAsync(request.Caller, request.Cancelled);
        request.Json.WriteStartObject();
        request.Json.WriteString("object"u8, "confirmation"u8);
        request.Json.WriteString("keys"u8, listed.Hash);
        request.Json.WriteNumber("count"u8, listed.Count);
        request.Json.WriteEndObject();
        return null;
    }

    private ValueTask<ApiError?> ConfirmAsync(ApiRequest request)
    {
        request.Form.Only("keys");
        var hash = RequiredText(request.Form, "keys");
        return AnswerAsync<ManagedRootKeys.Answer>(
            request, Write, write => keys.ConfirmAsync(write, hash, request.Cancelled));
    }

    private ValueTask<ApiError?> RewrapAsync(ApiRequest request)
    {
        request.Form.Only();
        return AnswerAsync<ManagedRootKeys.Answer>(
            request, Write, write => keys.RewrapAsync(write, request.Cancelled));
    }

    private ValueTask<ApiError?> RemoveKeyAsync(ApiRequest request)
    {
        request.Form.Only();
        var text = request.Target.Id("version");
        var version = long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw ApiError.NoSuch("root key", text);
        return AnswerAsync<ManagedRootKeys.Answer>(
            request, Write, write => keys.RemoveAsync(write, version, request.Cancelled));
    }

    private ValueTask<ApiError?> AddAsync(ApiRequest request)
    {
        request.Form.Only("wrapper");
        var wrapper = RequiredText(request.Form, "wrapper");
        return AnswerAsync<ManagedRootKeys.Answer>(
            request, Write, write => keys.AddAsync(write, wrapper, request.Cancelled));
    }

    private ValueTask<ApiError?> RemoveAsync(ApiRequest request)
    {
        request.Form.Only("wrapper");
        var wrapper = RequiredText(request.Form, "wrapper");
        return AnswerAsync<ManagedRootKeys.Answer>(
            request, Write, write => keys.RemoveAsync(write, wrapper, request.Cancelled));
    }

    private async ValueTask<ApiError?> ShowSharesAsync(ApiRequest request)
    {
        request.Form.Only();
        Write(request.Json, await keys.ShowSharesAsync(request.Caller, request.Cancelled));
        return null;
    }

    private ValueTask<ApiError?> CreateSharesAsync(ApiRequest request)
    {
        request.Form.Only("shares");
        var shares = RequiredText(request.Form, "shares");
        return AnswerAsync<ManagedRootKeys.Answer>(
            request, Write, write => keys.CreateSharesAsync(write, shares, request.Cancelled));
    }

    private static void Write(Utf8JsonWriter json, ManagedRootKeys.SharesAnswer answer)
    {
        json.WriteStartObject();
        json.WriteString("object"u8, "recovery_shares"u8);
        json.WriteString("anchor"u8, answer.Anchor);
        json.WriteNumberOrNull("count"u8, answer.Count);
        json.WriteString("id"u8, answer.Id);
        json.WriteString("shares"u8, answer.Shares);
        json.WriteString("store"u8, answer.Store);
        json.WriteNumberOrNull("threshold"u8, answer.Threshold);
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, ManagedRootKeys.Answer answer)
    {
        json.WriteStartObject();
        json.WriteString("object"u8, "root_keys"u8);
        json.WriteStartArray("keys"u8);
        foreach (var root in answer.Roots)
        {
            json.WriteStartObject();
            json.WriteNumber("version"u8, root.Version);
            json.WriteString("object"u8, "root_key"u8);
            json.WriteNumber("created"u8, root.Created);
            json.WriteString("state"u8, root.State);
            WriteWrappers(json, root.Wrappers);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        WriteBackups(json, answer.Backups);
        json.WriteStartArray("damaged"u8);
        foreach (var row in answer.Damaged)
            json.WriteStringValue(row.ToString());
        json.WriteEndArray();
        json.WriteNumber("left"u8, answer.Left);
        if (answer.Renewal is { } renewal)
        {
            json.WriteStartObject("renewal"u8);
            json.WriteNumber("created"u8, renewal.Created);
            json.WriteNumber("pepper"u8, renewal.Pepper);
            json.WriteString("state"u8, renewal.State);
            json.WriteEndObject();
        }
        else
        {
            json.WriteNull("renewal"u8);
        }

        json.WriteNumber("serial"u8, answer.Serial);
        json.WriteStartArray("waiting_for"u8);
        foreach (var node in answer.WaitingFor)
            json.WriteStringValue(node);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteBackups(Utf8JsonWriter json, IReadOnlyList<ManagedRootKeys.ShownBackup>? backups)
    {
        if (backups is null)
        {
            json.WriteNull("back_ups"u8);
            return;
        }

        json.WriteStartArray("back_ups"u8);
        foreach (var (known, wrappers) in backups)
        {
            json.WriteStartObject();
            json.WriteString("id"u8, known.Id);
            json.WriteNumber("created"u8, known.Created);
            json.WriteString("file"u8, known.File);
            WriteWrappers(json, wrappers);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteWrappers(Utf8JsonWriter json, IReadOnlyList<(string Id, string? Url)> wrappers)
    {
        json.WriteStartArray("wrappers"u8);
        foreach (var (id, url) in wrappers)
        {
            json.WriteStartObject();
            json.WriteString("id"u8, id);
            json.WriteString("url"u8, url);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
