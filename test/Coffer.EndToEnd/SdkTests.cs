namespace Coffer.EndToEnd;

/// <summary>
/// The official SDKs, pointed at Coffer by their base address and by nothing else. What each test does and expects
/// stands in the scenario of that name in sdk/node.mjs and sdk/python_client.py.
/// </summary>
public sealed class SdkTests(ServedStore store) : IClassFixture<ServedStore>
{
    [Fact]
    public Task Node_SDK_sets_a_secret_and_replaces_it_under_its_id() => NodeAsync("set");

    [Fact]
    public Task Node_SDK_finds_no_payload_unless_expanded() => NodeAsync("find");

    [Fact]
    public Task Node_SDK_keeps_a_users_secret_apart_from_other_users_and_the_account() => NodeAsync("user_scope");

    [Fact]
    public Task Node_SDK_acts_in_the_account_that_a_request_names() => NodeAsync("account");

    [Fact]
    [Trait("Reports from the field", "B")]
    public Task Node_SDK_cleans_up_in_the_handler_of_an_event_of_deauthorization() => NodeAsync("deauthorized");

    [Fact]
    public Task Node_SDK_walks_a_list_page_by_page_in_both_directions() => NodeAsync("pages");

    [Fact]
    public Task Node_SDK_is_told_which_secret_it_deleted() => NodeAsync("delete");

    [Fact]
    public Task Node_SDK_throws_an_authentication_error_for_an_unknown_key() => NodeAsync("authentication_error");

    [Fact]
    public Task Node_SDK_throws_a_permission_error_for_an_admin_key() => NodeAsync("permission_error");

    [Fact]
    public Task Node_SDK_throws_an_invalid_request_error_that_names_code_and_param() =>
        NodeAsync("invalid_request_error");

    [Fact]
    public Task Node_SDK_throws_an_idempotency_error_for_a_key_used_otherwise() => NodeAsync("idempotency_error");

    [Fact]
    public Task Node_SDK_gets_the_first_answer_again_for_the_same_idempotency_key() => NodeAsync("idempotent_replay");

    [Fact]
    public Task Node_SDK_finds_a_secret_until_it_expires_and_cannot_unset_an_expiry() => NodeAsync("expiry");

    [Fact]
    public Task Node_SDK_sets_and_deletes_five_secrets_of_a_scope_at_once() => NodeAsync("concurrent");

    [Fact]
    public Task Node_SDK_is_refused_an_eleventh_secret_but_may_replace_one_of_ten() => NodeAsync("quota");

    [Fact]
    [Trait("Keys", "S27")]
    public Task Node_SDK_installs_lists_and_uninstalls_an_app() => NodeAsync("installs");

    [Fact]
    public Task Python_SDK_sets_a_secret_and_replaces_it_under_its_id() => PythonAsync("set");

    [Fact]
    public Task Python_SDK_finds_no_payload_unless_expanded() => PythonAsync("find");

    [Fact]
    public Task Python_SDK_keeps_a_users_secret_apart_from_other_users_and_the_account() => PythonAsync("user_scope");

    [Fact]
    public Task Python_SDK_acts_in_the_account_that_a_request_names() => PythonAsync("account");

    [Fact]
    public Task Python_SDK_walks_a_list_page_by_page_in_both_directions() => PythonAsync("pages");

    [Fact]
    public Task Python_SDK_is_told_which_secret_it_deleted() => PythonAsync("delete");

    [Fact]
    public Task Python_SDK_raises_an_authentication_error_for_an_unknown_key() => PythonAsync("authentication_error");

    [Fact]
    public Task Python_SDK_raises_a_permission_error_for_an_admin_key() => PythonAsync("permission_error");

    [Fact]
    public Task Python_SDK_raises_an_invalid_request_error_that_names_code_and_param() =>
        PythonAsync("invalid_request_error");

    [Fact]
    public Task Python_SDK_gets_the_first_answer_again_and_an_idempotency_error_for_other_parameters() =>
        PythonAsync("idempotency");

    [Fact]
    [Trait("Reports from the field", "B")]
    public Task The_client_of_alchemy_makes_reads_updates_and_deletes_its_apps_secret() =>
        RunAsync(Needs.Node(), "alchemy.mjs", "all");

    private Task NodeAsync(string scenario) => RunAsync(Needs.Node(), "node.mjs", scenario);

    private Task PythonAsync(string scenario) => RunAsync(Needs.PythonWithStripe(), "python_client.py", scenario);

    private async Task RunAsync(string program, string script, string scenario)
    {
        var ran = await Ran.ProgramAsync(program, [Path.Combine(Needs.SdkFolder, script),
            scenario], new Dictionary<string, string>
            {
                ["COFFER_URL"] = store.Coffer.Url.GetLeftPart(UriPartial.Authority),
                ["COFFER_API_KEY"] = store.Coffer.TestKey,
                ["COFFER_ADMIN_KEY"] = store.Coffer.AdminKey,
                ["PYTHONDONTWRITEBYTECODE"] = "1",
            });
        ran.EndedWith(0);
    }
}
