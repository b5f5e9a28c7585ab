using System.Net;
using System.Security.Cryptography;
using System.Text;
using Stripe;
using Stripe.Apps;

namespace Coffer.EndToEnd;

/// <summary>
/// The official .NET SDK, pointed at Coffer by its base address and by nothing else. Each test has an account of
/// its own.
/// </summary>
[Trait("Firm ground", "2")]
public sealed class DotnetSdkTests(ServedStore store) : IClassFixture<ServedStore>
{
    private static readonly SecretScopeOptions AtAccount = new() { Type = "account" };

    private SecretService Secrets =>
        new(new StripeClient(store.Coffer.TestKey, apiBase: store.Coffer.Url.GetLeftPart(UriPartial.Authority)));

    private static DateTime Now => TimeProvider.System.GetUtcNow().UtcDateTime;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Dotnet_SDK_sets_a_secret_and_replaces_it_under_its_id()
    {
        var account = In("acct_dotnet_set");
        var options = new SecretCreateOptions { Name = "my-api-key", Payload = "secret_key_xxxxxx", Scope = AtAccount };
        var set = await Secrets.CreateAsync(options, account, Ct);
        Assert.StartsWith("appsecret_", set.Id, StringComparison.Ordinal);
        Assert.Equal(
            ("apps.secret", "my-api-key", "account", false), (set.Object, set.Name, set.Scope.Type, set.Livemode));
        Assert.Null(set.Payload);
        Assert.InRange(set.Created, Now.AddMinutes(-1), Now.AddMinutes(1));

        options.Payload = "ключ 🔑 +%&=";
        options.AddExpand("payload");
        var replaced = await Secrets.CreateAsync(options, account, Ct);
        Assert.Equal((set.Id, "ключ 🔑 +%&="), (replaced.Id, replaced.Payload));
    }

    [Fact]
    public async Task Dotnet_SDK_finds_no_payload_unless_expanded()
    {
        var account = In("acct_dotnet_find");
        await SetAsync("k", "p", account);
        var options = new SecretFindOptions { Name = "k", Scope = AtAccount };
        Assert.Null((await Secrets.FindAsync(options, account, Ct)).Payload);
        options.AddExpand("payload");
        Assert.Equal("p", (await Secrets.FindAsync(options, account, Ct)).Payload);
    }

    [Fact]
    public async Task Dotnet_SDK_keeps_a_users_secret_apart_from_other_users_and_the_account()
    {
        var account = In("acct_dotnet_user");
        var ann = new SecretScopeOptions { Type = "user", User = "usr_ann" };
        var expires = Now.AddHours(1);
        var set = await Secrets.CreateAsync(
            new SecretCreateOptions { Name = "token", Payload = "p", Scope = ann, ExpiresAt = expires }, account, Ct);
        Assert.Equal("usr_ann", set.Scope.User);
        Assert.InRange(set.ExpiresAt!.Value, expires.AddSeconds(-1), expires.AddSeconds(1));
        await AbsentAsync("token", AtAccount, account);
        await AbsentAsync("token", new SecretScopeOptions { Type = "user", User = "usr_bob" }, account);
    }

    [Fact]
    public async Task Dotnet_SDK_walks_a_list_page_by_page()
    {
        var account = In("acct_dotnet_pages");
        string[] names = [.. Enumerable.Range(0, 7).Select(number => $"secret-{number}")];
        foreach (var name in names)
            await SetAsync(name, $"payload of {name}", account);

        var options = new SecretListOptions { Scope = AtAccount, Limit = 3 };
        var first = await Secrets.ListAsync(options, account, Ct);
        Assert.True(first.HasMore);
        Assert.Equal(["secret-6", "secret-5", "secret-4"], first.Select(secret => secret.Name));
        options.StartingAfter = first.Last().Id;
        options.AddExpand("data.payload");
        var second = await Secrets.ListAsync(options, account, Ct);
        Assert.Equal(["secret-3", "secret-2", "secret-1"], second.Select(secret => secret.Name));
        Assert.All(second, secret => Assert.Equal($"payload of {secret.Name}", secret.Payload));

        options.StartingAfter = null;
        var walked = await Secrets.ListAutoPagingAsync(options, account, Ct).ToListAsync(Ct);
        Assert.Equal(names.Reverse(), walked.Select(secret => secret.Name));
    }

    [Fact]
    public async Task Dotnet_SDK_is_answered_which_secret_it_deleted()
    {
        var account = In("acct_dotnet_delete");
        var set = await SetAsync("gone", "p", account);
        var options = new SecretDeleteWhereOptions { Name = "gone", Scope = AtAccount };
        var gone = await Secrets.DeleteWhereAsync(options, account, Ct);
        Assert.Equal((set.Id, "gone", true), (gone.Id, gone.Name, gone.Deleted));
        await AbsentAsync("gone", AtAccount, account);
    }

    [Fact]
    public async Task Dotnet_SDK_throws_an_error_that_names_status_code_and_param()
    {
        var account = In("acct_dotnet_errors");
        var error = await Assert.ThrowsAsync<StripeException>(() =>
            Secrets.CreateAsync(new SecretCreateOptions { Payload = "p", Scope = AtAccount }, account, Ct));
        Assert.Equal((HttpStatusCode.BadRequest, "invalid_request_error", "parameter_missing", "name"),
            (error.HttpStatusCode, error.StripeError.Type, error.StripeError.Code, error.StripeError.Param));
        Assert.StartsWith("req_", error.StripeResponse.RequestId, StringComparison.Ordinal);

        account.ApiKey = "sk_test_51NotOfThisStore";
        error = await Assert.ThrowsAsync<StripeException>(() => SetAsync("k", "p", account));
        Assert.Equal(HttpStatusCode.Unauthorized, error.HttpStatusCode);
        account.ApiKey = store.Coffer.AdminKey;
        error = await Assert.ThrowsAsync<StripeException>(() => SetAsync("k", "p", account));
        Assert.Equal(HttpStatusCode.Forbidden, error.HttpStatusCode);
    }

    [Fact]
    public async Task Dotnet_SDK_gets_the_first_answer_again_and_an_idempotency_error_for_other_parameters()
    {
        var account = In("acct_dotnet_again");
        account.IdempotencyKey = "again";
        var (first, second) = (await SetAsync("k", "p", account), await SetAsync("k", "p", account));
        Assert.Equal(first.Id, second.Id);
        Assert.Equal(["true"], second.StripeResponse.Headers.GetValues("Idempotent-Replayed"));
        var error = await Assert.ThrowsAsync<StripeException>(() => SetAsync("k", "another", account));
        Assert.Equal("idempotency_error", error.StripeError.Type);
    }

    [Fact]
    [Trait("Reports from the field", "B")]
    public async Task Dotnet_SDK_cleans_up_in_the_handler_of_an_event_of_deauthorization()
    {
        const string Account = "acct_dotnet_deauthorized", WebhookSecret = "whsec_1";
        var account = In(Account);
        await SetAsync("one", "p", account);
        await SetAsync("two", "p", account);
        await SetAsync("another account's", "p", In("acct_dotnet_stays"));

        // The client that the SDK hands to the handler names the event's account by Stripe-Context.
        var client = new StripeClient(store.Coffer.TestKey,
            apiBase: store.Coffer.Url.GetLeftPart(UriPartial.Authority));
        var handler = new StripeEventNotificationHandler(client, WebhookSecret, (_, _) => Assert.Fail("not handled"));
        handler.V1AccountApplicationDeauthorized += (_, args) =>
        {
            var service = args.Client.V1.Apps.Secrets;
            var list = new SecretListOptions { Scope = AtAccount, Limit = 1 };
            foreach (var secret in service.ListAutoPaging(list).ToList())
                service.DeleteWhere(new SecretDeleteWhereOptions { Name = secret.Name, Scope = AtAccount });
        };
        var body = $$"""
            {
              "id": "evt_1", "object": "v2.core.event", "type": "v1.account.application.deauthorized",
              "context": "{{Account}}", "livemode": false, "created": "{{Now:O}}",
              "related_object": { "id": "{{Account}}", "type": "account", "url": "/v1/account" }
            }
            """;
        var at = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        var mac = HMACSHA256.HashData(Encoding.UTF8.GetBytes(WebhookSecret), Encoding.UTF8.GetBytes($"{at}.{body}"));
        handler.Handle(body, $"t={at},v1={Convert.ToHexStringLower(mac)}");
        Assert.Empty(await Secrets.ListAsync(new SecretListOptions { Scope = AtAccount }, account, Ct));
        Assert.Single(await Secrets.ListAsync(
            new SecretListOptions { Scope = AtAccount }, In("acct_dotnet_stays"), Ct));
    }

    [Fact]
    [Trait("Keys", "S27")]
    public async Task Dotnet_SDK_installs_lists_and_uninstalls_an_app()
    {
        var account = In("acct_dotnet_installs");
        await SetAsync("k", "p", account);
        var client = new StripeClient(store.Coffer.TestKey,
            apiBase: store.Coffer.Url.GetLeftPart(UriPartial.Authority));
        var installs = client.V1.Apps.Installs;
        var install = (await installs.ListAsync(new InstallListOptions(), account, Ct)).Single();
        Assert.Equal(("apps.install", "acct_dotnet_installs", "public", "installed", false, false),
            (install.Object, install.Account, install.Channel, install.Status, install.Livemode,
                install.ApprovalRequired));
        Assert.InRange(install.Created, Now.AddMinutes(-1), Now.AddMinutes(1));
        Assert.Empty(install.ContentSecurityPolicyGranted.ConnectSrc);
        Assert.Equal(["secret_write"], install.PermissionsGranted);
        var create = new InstallCreateOptions { App = install.App };
        Assert.Equal(install.Id, (await installs.CreateAsync(create, account, Ct)).Id);
        Assert.Equal(install.Id, (await installs.UpdateAsync(install.Id, new InstallUpdateOptions(), null, Ct)).Id);
        await installs.CreateAsync(create, In("acct_dotnet_installs_2"), Ct);
        var all = new InstallListOptions { App = install.App, Limit = 1 };
        var seen = await installs.ListAutoPagingAsync(all, null, Ct).Select(each => each.Account).ToListAsync(Ct);
        Assert.Equal(["acct_dotnet_installs_2", "acct_dotnet_installs"],
            seen.Where(each => each.StartsWith("acct_dotnet_installs", StringComparison.Ordinal)));

        var gone = await installs.UninstallAsync(install.Id, new InstallUninstallOptions(), null, Ct);
        Assert.Equal((install.Id, "uninstalling"), (gone.Id, gone.Status));
        Assert.StartsWith("rcpt_", gone.StripeResponse.Headers.GetValues("Coffer-Receipt").Single(),
            StringComparison.Ordinal);
        var error = await Assert.ThrowsAsync<StripeException>(() => SetAsync("k", "late", account));
        Assert.Equal((HttpStatusCode.Forbidden, "account_invalid"), (error.HttpStatusCode, error.StripeError.Code));
        Assert.NotEqual(install.Id, (await installs.CreateAsync(create, account, Ct)).Id);
        await AbsentAsync("k", AtAccount, account);
    }

    private static RequestOptions In(string account) => new() { StripeAccount = account };

    private Task<Secret> SetAsync(string name, string payload, RequestOptions account) =>
        Secrets.CreateAsync(new SecretCreateOptions { Name = name, Payload = payload, Scope = AtAccount }, account, Ct);

    private async Task AbsentAsync(string name, SecretScopeOptions scope, RequestOptions account)
    {
        var error = await Assert.ThrowsAsync<StripeException>(() =>
            Secrets.FindAsync(new SecretFindOptions { Name = name, Scope = scope }, account, Ct));
        Assert.Equal((HttpStatusCode.NotFound, "resource_missing", "name"),
            (error.HttpStatusCode, error.StripeError.Code, error.StripeError.Param));
    }
}
