using System.Text.Json.Nodes;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Audit;

/// <summary>
/// Entries about changes say what was changed, before and after (docs/audit-log.md, "What was changed").
/// </summary>
[Trait("Keys", "S3")]
public sealed class ChangesTests : ServerTests
{
    [Fact]
    public async Task A_change_of_an_app_says_what_it_was_and_what_it_is()
    {
        var app = await Server.NewAppAsync("Acme \"CRM\"");
        Assert.Null(await ChangedAsync("create_app"));
        (await Server.Admin.Post($"{Apps}/{app}", [("secrets_per_scope", "7"),
            ("origins[]", "https://a.example"), ("origins[]", "https://b.example")])).IsOk();
        Assert.Equal("""{"secrets_per_scope":[null,7],"origins":[[],["https://a.example","https://b.example"]]}""",
            await ChangedAsync("change_app"));
        (await Server.Admin.Post($"{Apps}/{app}", [("disabled", "true"), ("secrets_per_scope", "7")])).IsOk();
        Assert.Equal("""{"disabled":[false,true]}""", await ChangedAsync("disable_app"));
        (await Server.Admin.Post($"{Apps}/{app}", [("disabled", "false"), ("origins", "")])).IsOk();
        Assert.Equal("""{"disabled":[true,false],"origins":[["https://a.example","https://b.example"],[]]}""",
            await ChangedAsync("enable_app"));
        (await Server.Admin.Post($"{Apps}/{app}", [("name", "Other")])).IsOk();
        Assert.Null(await ChangedAsync("change_app"));
        (await Server.Admin.Post($"{Apps}/{app}/signing_secret/roll", [("grace_period", "60")])).IsOk();
        Assert.Equal($$"""{"last_ends":[null,{{Server.Time.Seconds + 60}}]}""",
            await ChangedAsync("roll_signing_secret"));
    }

    [Fact]
    public async Task The_entries_of_a_key_say_what_it_may_do_and_when_it_ends()
    {
        var (app, now) = (await Server.AppIdAsync(), Server.Time.Seconds);
        var key = await Server.NewKeyAsync("restricted", app, ("permissions[]", "secret_read"), ("account", "acct_1"),
            ("addresses[]", "192.0.2.0/24"), ("expires_at", $"{now + 1_000}"));
        Assert.Equal($$"""
            {"type":[null,"restricted"],"livemode":[null,false],"permissions":[[],["secret_read"]],
            "account":[null,"acct_1"],"addresses":[[],["192.0.2.0/24"]],"expires_at":[null,{{now + 1_000}}]}
            """.ReplaceLineEndings(""), (await ChangedAsync("create_key"))!.Replace("[null,[", "[[],[",
                StringComparison.Ordinal));
        var next = (await Server.Admin.Post($"{KeysPath}/{key.Id()}/roll", [("grace_period", "60")])).IsOk().Json;
        Assert.Equal($$"""{"ended":[null,{{now + 60}}],"replaced_by":[null,"{{next.Id()}}"]}""",
            await ChangedAsync("roll_key"));
        (await Server.Admin.Post($"{KeysPath}/{next.Id()}/revoke", [])).IsOk();
        Assert.Equal($$"""{"ended":[null,{{now}}]}""", await ChangedAsync("revoke_key"));

        await Server.NewKeyAsync("admin", null, ("role", "operator"), ("apps[]", app));
        Assert.Equal($$"""{"type":[null,"admin"],"role":[null,"operator"],"apps":[null,["{{app}}"]]}""",
            await ChangedAsync("create_key"));
        foreach (var secret in (string[])[key.Secret(), next.Secret()])
            Assert.False(Server.IsInFiles(System.Text.Encoding.UTF8.GetBytes(secret)));
    }

    private async Task<string?> ChangedAsync(string verb)
    {
        // An entry with what was changed is an entry like any other: whole, and shown as it is.
        var newest = (await Server.Admin.Get("/admin/v1/audit", ("verb", verb), ("limit", "1"))).IsOk().Json["data"]!;
        Assert.Null(newest[0]!["damaged"]);
        return newest[0]!["changed"]?.ToJsonString(new() { WriteIndented = false });
    }
}
