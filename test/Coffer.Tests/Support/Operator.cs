using System.Buffers.Text;
using System.Text.Json.Nodes;

namespace Coffer.Tests.Support;

/// <summary>What an operator does on the way to what a test is about.</summary>
internal static class Operator
{
    public const string Apps = "/admin/v1/apps", KeysPath = "/admin/v1/api_keys", Ephemeral = "/v1/ephemeral_keys";

    public static async Task<string> NewAppAsync(this TestServer server, string name = "Acme CRM") =>
        (await server.Admin.Post(Apps, [("name", name)])).IsOk().Id!;

    /// <summary>A key with its <c>secret</c>.</summary>
    public static async Task<JsonNode> NewKeyAsync(this TestServer server, string type, string? app,
        params (string, string)[] more) =>
        (await server.Admin.Post(KeysPath,
            [("type", type), .. app is null ? ((string, string)[])[] : [("app", app)], .. more])).IsOk().Json;

    /// <summary>The token of an ephemeral key of the first app.</summary>
    public static async Task<string> MintAsync(this TestServer server, string user, string? account = null,
        params (string, string)[] more) =>
        (string)(await server.Client(account: account).Post(Ephemeral,
            [("user", user), .. more])).IsOk().Json["secret"]!;

    /// <summary>Where an account of the first app is managed.</summary>
    public static async Task<string> AccountAsync(this TestServer server, string account) =>
        $"{Apps}/{await server.AppIdAsync()}/accounts/{account}";

    public static async Task<Answer> ForgetAsync(this TestServer server, string account,
        string? idempotencyKey = null) =>
        await server.Admin.Post($"{await server.AccountAsync(account)}/forget", [], idempotencyKey);

    /// <summary>What a signed receipt states.</summary>
    public static JsonNode Statement(this JsonNode receipt) =>
        JsonNode.Parse(Base64Url.DecodeFromChars(((string)receipt["receipt"]!).Split('.')[1]))!;

    public static string Secret(this JsonNode key) => (string)key["secret"]!;

    public static string Id(this JsonNode node) => (string)node["id"]!;

    /// <summary>The names of an object's fields, in their order.</summary>
    public static string Fields(this JsonNode node) => string.Join(' ', node.AsObject().Select(field => field.Key));

    /// <summary>The ids of a list's elements.</summary>
    public static IEnumerable<string> Ids(this Answer list) =>
        list.IsOk().Json["data"]!.AsArray().Select(element => (string)element!["id"]!);

    /// <summary>The ids on all pages of a list, page by page.</summary>
    public static async Task<List<string>> WalkAsync(this TestServer.Caller caller, string path, int limit,
        params (string, string)[] more)
    {
        var found = new List<string>();
        while (true)
        {
            var page = (await caller.Get(
                path,
                [("limit", $"{limit}"), .. more, .. found.Count > 0 ? ((string, string)[])[
                    ("starting_after", found[^1])] : []])).IsOk();
            var ids = page.Ids().ToList();
            Assert.InRange(ids.Count, found.Count > 0 ? 1 : 0, limit);
            found.AddRange(ids);
            if (!(bool)page.Json["has_more"]!)
                return found;
            Assert.Equal(limit, ids.Count);
        }
    }

    /// <summary>Whether bytes stand anywhere in the store's files.</summary>
    public static bool IsInFiles(this TestServer server, ReadOnlySpan<byte> bytes)
    {
        foreach (var file in Directory.GetFiles(server.Data, "coffer.db*"))
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read,
                FileShare.ReadWrite | FileShare.Delete);
            var content = new byte[stream.Length];
            stream.ReadExactly(content);
            if (content.AsSpan().IndexOf(bytes) >= 0)
                return true;
        }

        return false;
    }
}
