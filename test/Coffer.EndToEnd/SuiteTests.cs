using Stripe;
using Stripe.Apps;

namespace Coffer.EndToEnd;

/// <summary>
/// The calls of the official SDKs' own suites, made with the SDKs twice in a row on one server that is not started
/// again between them. Nothing is deleted for good of what they expect to find.
/// </summary>
[Trait("Firm edges", "28")]
public sealed class SuiteTests
{
    private static readonly SecretScopeOptions AtAccount = new() { Type = "account" };

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_suites_of_three_SDKs_pass_twice_in_a_row()
    {
        var (node, python) = (Needs.Node(), Needs.PythonWithStripe());
        await using var coffer = await CofferProcess.DevAsync("--seed-fixtures");
        var exported = new Dictionary<string, string>
        {
            ["COFFER_URL"] = coffer.Url.GetLeftPart(UriPartial.Authority),
            ["COFFER_API_KEY"] = coffer.TestKey,
            ["PYTHONDONTWRITEBYTECODE"] = "1",
        };
        (await Ran.ProgramAsync(node, [Path.Combine(Needs.SdkFolder, "node.mjs"), "suite"], exported)).EndedWith(0);
        (await Ran.ProgramAsync(python, [Path.Combine(Needs.SdkFolder, "python_client.py"), "suite"], exported))
            .EndedWith(0);

        // As GeneratedExamplesTest has each call: sync, async, and lists over all pages.
        var secrets = new SecretService(new StripeClient(coffer.TestKey,
            apiBase: coffer.Url.GetLeftPart(UriPartial.Authority)));
        var find = new SecretFindOptions { Name = "sec_123", Scope = AtAccount };
        var delete = new SecretDeleteWhereOptions { Name = "my-api-key", Scope = AtAccount };
        var list = new SecretListOptions { Limit = 2, Scope = AtAccount };
        SecretCreateOptions[] creates =
        [
            new() { Name = "sec_123", Payload = "very secret string", Scope = AtAccount },
            new() { Name = "my-api-key", Payload = "secret_key_xxxxxx", Scope = AtAccount },
        ];
        for (var i = 0; i < 2; i++)
        {
            Assert.True(secrets.DeleteWhere(delete).Deleted);
            Assert.True((await secrets.DeleteWhereAsync(delete, cancellationToken: Ct)).Deleted);
            Assert.Equal("sec_123", secrets.Find(find).Name);
            Assert.Equal("sec_123", (await secrets.FindAsync(find, cancellationToken: Ct)).Name);
            Assert.Equal(2, secrets.List(list).Count());
            Assert.NotNull(secrets.ListAutoPaging(list).First());
            Assert.NotNull(await secrets.ListAutoPagingAsync(list, cancellationToken: Ct).FirstAsync(Ct));
            foreach (var create in creates)
            {
                Assert.Equal(create.Name, secrets.Create(create).Name);
                Assert.Equal(create.Name, (await secrets.CreateAsync(create, cancellationToken: Ct)).Name);
            }
        }
    }
}
