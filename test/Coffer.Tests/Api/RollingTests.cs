using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Coffer.Shared;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// Keys and signing secrets are rolled while requests run: none fails within the grace period, none is valid after
/// it.
/// </summary>
public sealed class RollingTests : ServerTests
{
    private const int Clients = 4, Some = 5;
    private const string Signature = "/v1/apps/app_embedded_backend_signature";

    [Fact]
    public async Task No_request_fails_while_a_key_is_rolled_and_none_is_valid_after_its_grace()
    {
        for (var client = 0; client < Clients; client++)
            (await Server.Client().Set($"k{client}")).IsOk();
        var token = Server.Keys.TestSecretKey;
        for (var round = 0; round < 5; round++)
        {
            var current = token;
            await using var load = new Load(Clients, async (client, number) =>
            {
                // Whoever was told of the new key continues with it, the others with the old one.
                var caller = Server.Client(client % 2 == 0 ? Volatile.Read(ref token) : current);
                (await caller.Set($"k{client}", $"{number}")).IsOk();
                Assert.Equal($"{number}",
                    (await caller.Find($"k{client}", null, ("expand[]", "payload"))).IsOk().Payload);
            });

            await load.MoreAsync(Some);
            var id = (await Server.Admin.Get(KeysPath, ("limit", "100"))).IsOk().Json["data"]!.AsArray()
                .Single(
                    key =>
                        (string?)key!["type"] == "secret" && key["expires_at"] is null
                            && (bool)key["livemode"]! == false && (string?)key["app"] != Server.OtherApp)!.Id();
            var next = (await Server.Admin.Post($"{KeysPath}/{id}/roll",
                [("grace_period", "10")])).IsOk().Json.Secret();
            Volatile.Write(ref token, next);
            await load.MoreAsync(Some);
            Server.Time.Move(TimeSpan.FromSeconds(9));
            await load.MoreAsync(Some);
            await load.EndAsync();

            Server.Time.Move(TimeSpan.FromSeconds(1));
            var late = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Server.Client(current).List()));
            Assert.All(late, answer => answer.IsError(401, "api_key_expired", null));
            (await Server.Client(next).List()).IsOk();
        }
    }

    [Fact]
    public async Task A_key_without_grace_is_taken_by_no_request_that_begins_after_the_answer()
    {
        for (var round = 0; round < 10; round++)
        {
            var key = await Server.NewKeyAsync("secret", Server.OtherApp);
            var statuses = new ConcurrentBag<int>();
            await using var load = new Load(Clients, async (_, _) =>
                statuses.Add((await Server.Client(key.Secret()).List()).Status));
            await load.MoreAsync(Some);
            (await Server.Admin.Post($"{KeysPath}/{key.Id()}/{(round % 2 == 0 ? "revoke" : "roll")}",
                round % 2 == 0 ? [] : [("grace_period", "0")])).IsOk();
            var late = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => Server.Client(key.Secret()).List()));
            Assert.All(late, answer => Assert.Equal(401, answer.Status));
            await load.MoreAsync(Some);
            await load.EndAsync();
            // 429: so many bad keys of one address are held off.
            Assert.Equal([200, 401], statuses.Distinct().Except([429]).Order());
        }
    }

    [Fact]
    public async Task Every_signature_verifies_with_the_old_secret_within_its_grace_and_none_after_it()
    {
        var browser = Server.Client(await Server.MintAsync("usr_1", "acct_1"));
        var roll = $"{Apps}/{await Server.AppIdAsync()}/signing_secret/roll";
        var secret = Server.Keys.SigningSecretTest!;
        for (var round = 0; round < 5; round++)
        {
            // A backend that does not know of the roll yet.
            var known = secret;
            await using var load = new Load(Clients, async (_, _) =>
                Assert.True(IsSigned((await browser.Get(Signature)).IsOk(), known)));
            await load.MoreAsync(Some);
            var rolled = (await Server.Admin.Post(roll, [("grace_period", "10")])).IsOk().Json;
            secret = (string)rolled["signing_secret_test"]!;
            Assert.True(IsSigned(await browser.Get(Signature), secret));
            await load.MoreAsync(Some);
            Server.Time.Move(TimeSpan.FromSeconds(9));
            await load.MoreAsync(Some);
            await load.EndAsync();

            Server.Time.Move(TimeSpan.FromSeconds(1));
            foreach (var answer in await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => browser.Get(Signature))))
                Assert.Equal((false, true), (IsSigned(answer, known), IsSigned(answer, secret)));
        }
    }

    // As Stripe's own libraries verify: any of the signatures will do.
    private static bool IsSigned(Answer answer, string secret)
    {
        var fields = ((string)answer.IsOk().Json["signature"]!).Split(',').Select(field => field.Split('=')).ToList();
        var signed = Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret),
            Encoding.UTF8.GetBytes(
                fields.Single(field => field[0] == "t")[1] + ".{\"user_id\":\"usr_1\",\"account_id\":\"acct_1\"}")));
        return fields.Any(field => field[0] == "v1" && field[1] == signed);
    }
}
