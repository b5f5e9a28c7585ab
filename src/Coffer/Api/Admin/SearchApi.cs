using System.Buffers.Binary;
using System.Buffers.Text;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using static Coffer.Api.ManagementWire;

namespace Coffer.Api.Admin;

/// <summary>Secrets' metadata, for someone with an admin key (docs/management.md, "Secrets").</summary>
internal sealed class SearchApi(SecretSearch search)
{
    private const string Path = $"{Root}/secrets/search";

    public IEnumerable<ApiRoute> Routes => [new("GET", Path, SearchAsync) { Act = Acts.SearchSecrets }];

    private async ValueTask<ApiError?> SearchAsync(ApiRequest request)
    {
        var form = request.Form;
        form.Only("app", "account", "livemode", "expiring_before", "limit", "page");
        var limit = request.Limit;
        var after = Text(form, "page") is { } page
            ? Parse(page) ?? throw ApiError.Unusable("page", "send the next_page of the page before it unchanged")
            : null;
        var found = await search.SearchAsync(
            request.Caller, Id(form, "app"), Id(form, "account"), form.Boolean("livemode"),
            Time(form, "expiring_before"), after, limit, request.Cancelled);

        var json = request.Json;
        json.WriteStartObject();
        json.WriteString("object"u8, "search_result"u8);
        json.WriteStartArray("data"u8);
        foreach (var owned in found.Secrets)
        {
            using (owned)
                SecretsApi.WriteOwned(json, owned, wantsPayload: false);
        }

        json.WriteEndArray();
        json.WriteBoolean("has_more"u8, found.Next is not null);
        json.WriteString("next_page"u8, found.Next is { } next ? Token(next) : null);
        json.WriteString("url"u8, Path);
        json.WriteEndObject();
        return null;
    }

    // A position in base64url: expiry (8 bytes, big-endian, 0 for none), tenant (8), blind name (16).
    private static string Token(SecretSearch.Position position)
    {
        Span<byte> bytes = stackalloc byte[16 + position.Name.Length];
        BinaryPrimitives.WriteInt64BigEndian(bytes, position.ExpiresAt ?? 0);
        BinaryPrimitives.WriteInt64BigEndian(bytes[8..], position.Tenant);
        position.Name.CopyTo(bytes[16..]);
        return Base64Url.EncodeToString(bytes);
    }

    private static SecretSearch.Position? Parse(string page)
    {
        if (page.Length != 43 || !Base64Url.IsValid(page))
            return null;
        var bytes = Base64Url.DecodeFromChars(page);
        if (bytes.Length != 32)
            return null; // .NET skips white space
        var expires = BinaryPrimitives.ReadInt64BigEndian(bytes);
        if (!UnixTime.IsStorable(expires))
            return null;
        return new SecretSearch.Position(expires == 0 ? null : expires,
            BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(8)), bytes[16..]);
    }
}
