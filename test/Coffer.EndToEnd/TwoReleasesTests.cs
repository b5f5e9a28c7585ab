using System.Diagnostics;
using System.Text.Json;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// A node of the release before continues serving beside one of this release, which has brought the database's schema
/// up to date: what each stores, mints and ends counts on the other.
/// </summary>
[Trait("Firm ground", "5")]
public sealed class TwoReleasesTests
{
    private const string Ephemeral = "/v1/ephemeral_keys", Keys = "/admin/v1/api_keys", Apps = "/admin/v1/apps";

    /// <summary>
    /// How long one node may continue believing what the other has ended, and a busy machine's requests.
    /// </summary>
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(5 + 3);

    [Fact]
    public async Task Nodes_of_both_releases_serve_one_store_and_what_one_ends_is_refused_by_the_other()
    {
        var program = await OlderProgram.BuiltAsync(OlderProgram.BeforeCommitOrder);
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        var store = cluster.Store(cluster.Primary.Port);
        using var olderData = new TemporaryDirectory();
        using var newerData = new TemporaryDirectory();
        await using var older = await CofferProcess.StartAsync(["serve", "--data", olderData.Path, "--store", store],
            program: program);
        File.Copy(olderData.File("coffer.key"), newerData.File("coffer.key"));
        await using var newer = await CofferProcess.ServeAsync(newerData, "--store", store);
        Assert.Equal("3", await cluster.AskAsync(cluster.Primary,
            "SELECT count(*) FROM pg_class WHERE relname IN ('epoch', 'told', 'nodes')"));
        CofferProcess[] nodes = [older, newer];
        var (key, admin) = (older.TestKey, older.AdminKey);

        foreach (var (one, other) in ((CofferProcess, CofferProcess)[])[(older, newer), (newer, older)])
        {
            var name = one == older ? "set by the older" : "set by the newer";
            using var here = new WireClient(one.Url, key, "acct_1");
            using var there = new WireClient(other.Url, key, "acct_1");
            (await here.SetAsync(name, "first")).Is(200);
            Assert.Equal("first", (await there.FindAsync(name)).Is(200).Payload);
            (await there.SetAsync(name, "second", idempotencyKey: name)).Is(200);
            (await here.SetAsync(name, "second", idempotencyKey: name)).Is(200);
            Assert.Equal("second", (await here.FindAsync(name)).Is(200).Payload);
        }

        // Minted on each, used on each; then each way of ending, on each.
        foreach (var (one, other) in ((CofferProcess, CofferProcess)[])[(older, newer), (newer, older)])
        {
            foreach (var end in (string[])["delete", "revoke", "roll", "disable", "forget"])
                await EndAsync(one, other, end);
        }

        foreach (var data in (TemporaryDirectory[])[newerData, olderData])
        {
            var verified = await Ran.CofferAsync("audit", "verify", "--data", data.Path, "--store", store);
            verified.EndedWith(0);
        }

        // Alone, it mints in its own way; what was minted before is as good as it was.
        var (_, kept, _) = await MintAsync(older, key);
        Assert.Equal(1, Format((await MintAsync(newer, key)).Token));
        Assert.Equal(0, await older.StopAsync());
        await Until.SoAsync("it no longer mints for nodes that are gone",
            async () => Format((await MintAsync(newer, key)).Token) != Format(kept), TimeSpan.FromSeconds(20));
        await IsAsync(newer, kept, 200);
        Assert.Equal("0", await cluster.AskAsync(cluster.Primary, "SELECT count(*) - count(DISTINCT n) FROM told"));

        async Task EndAsync(CofferProcess one, CofferProcess other, string end)
        {
            using var operating = new WireClient(one.Url, admin);
            var app = (await operating.PostAsync(Apps, [("name", end)])).Is(200).Body.GetProperty("id").GetString()!;
            var made = (await operating.PostAsync(Keys, [("type", "secret"), ("app", app)])).Is(200).Body;
            var (id, secret) = (made.GetProperty("id").GetString()!, made.GetProperty("secret").GetString()!);
            var minted = new List<(string Id, string Token)>();
            foreach (var node in nodes)
            {
                var (ephemeral, token, _) = await MintAsync(node, secret);
                minted.Add((ephemeral, token));
                foreach (var at in nodes)
                    await IsAsync(at, token, 200);
            }

            switch (end)
            {
                case "delete":
                    foreach (var (ephemeral, _) in minted)
                    {
                        using var ending = new WireClient(one.Url, secret, "acct_1");
                        using var request = new HttpRequestMessage(HttpMethod.Delete, $"{Ephemeral}/{ephemeral}");
                        (await ending.SendAsync(request)).Is(200);
                    }

                    break;
                case "revoke":
                    (await operating.PostAsync($"{Keys}/{id}/revoke", [])).Is(200);
                    break;
                case "roll":
                    (await operating.PostAsync($"{Keys}/{id}/roll", [("grace_period", "0")])).Is(200);
                    break;
                case "disable":
                    (await operating.PostAsync($"{Apps}/{app}", [("disabled", "true")])).Is(200);
                    break;
                default:
                    (await operating.PostAsync($"{Apps}/{app}/accounts/acct_1/forget", [])).Is(200);
                    break;
            }

            foreach (var (_, token) in minted)
            {
                // To the older program, what a rolled key had minted lives on; what the newer one rolls, it ends for
                // both.
                if (end == "roll" && one == older)
                    continue;
                await UntilRefusedAsync(one, token);
                await UntilRefusedAsync(other, token);
            }
        }
    }

    private static async Task<(string Id, string Token, JsonElement Body)> MintAsync(CofferProcess node, string key)
    {
        using var client = new WireClient(node.Url, key, "acct_1");
        var minted = (await client.PostAsync(Ephemeral, [("user", "usr_1")])).Is(200).Body;
        return (minted.GetProperty("id").GetString()!, minted.GetProperty("secret").GetString()!, minted);
    }

    /// <summary>Of a token's envelope, the version of the key that it is sealed with: that of the format.</summary>
    private static int Format(string token)
    {
        const string Prefix = "ek_test_cfr";
        return Convert.FromBase64String(token.Substring(Prefix.Length, 8).Replace('-', '+').Replace('_', '/'))[5];
    }

    private static async Task IsAsync(CofferProcess node, string token, int status)
    {
        using var client = new WireClient(node.Url, token);
        (await client.ListAsync()).Is(status);
    }

    private static async Task UntilRefusedAsync(CofferProcess node, string token)
    {
        using var client = new WireClient(node.Url, token);
        await Until.SoAsync("it is refused within the bound", async () => (await client.ListAsync()).Status != 200,
            Bound);
    }
}
