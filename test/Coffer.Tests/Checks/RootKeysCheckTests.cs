using System.Runtime.Versioning;
using Coffer.Checks;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Tests.Keys;

namespace Coffer.Tests.Checks;

/// <summary>What <c>coffer check</c> says of root keys and of what wraps them.</summary>
[Trait("Keys", "check")]
[UnsupportedOSPlatform("windows")]
public sealed class RootKeysCheckTests : IAsyncLifetime
{
    private TestServer server = null!;

    private string Own => Path.Combine(server.Data, "coffer.key");

    private string Other => Path.Combine(server.Data, "other.key");

    public async ValueTask InitializeAsync()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "files are broken");
        server = await TestServer.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (server is not null)
            await server.DisposeAsync();
    }

    [Fact]
    public async Task A_wrong_key_file_and_a_missing_one_are_problems()
    {
        await server.StopAsync();
        File.Delete(Own);
        (await CheckAsync()).Says(Grade.Problem, "root_keys", $"the key file {Own} is missing", "Restore the key file");
        KeyFile.Create(Own, DateTimeOffset.UnixEpoch);
        (await CheckAsync()).Says(Grade.Problem, "root_keys", "the key file cannot open this store (root key 1)",
            "Restore the key file").Says(Grade.Warning, "anchor", "see root_keys");
    }

    [Theory]
    [InlineData("INSERT INTO root_key_wrappings VALUES (1, 'file:0000000000000000', x'00', 0)",
        "root_key_wrappings has root key 1 by file:0000000000000000, not as it was wrapped")]
    [InlineData("INSERT INTO root_keys VALUES (2, 0, x'')", "has a root key that the control row does not know")]
    [InlineData("DELETE FROM root_keys", "root_keys lacks root key 1")]
    [InlineData("UPDATE meta SET value = x'0102' WHERE key = 'store id'", "cannot be opened")]
    [InlineData("UPDATE meta SET value = substr(value, 1, length(value) - 1) || x'00' WHERE key = 'control'", "opened")]
    public async Task Rows_that_somebody_else_wrote_are_named(string sql, string text)
    {
        await server.StopAsync();
        server.Execute(sql);
        (await CheckAsync()).Says(Grade.Problem, "root_keys", text, "Restore the store from a back");
    }

    [Theory]
    [InlineData("Asked", "being renewed after a compromise: replacing_root_key", "continues by itself")]
    [InlineData("Waiting", "being renewed after a compromise: waiting_for_owner", "coffer root-keys confirm")]
    public async Task A_renewal_is_a_warning_until_an_owner_has_the_last_word(string state, string text, string hint)
    {
        await server.StopAsync();
        await server.OnStoreAsync(async (_, committer, instance) =>
        {
            await committer.CommitAsync(new ControlChange(instance, control => control with
            {
                Renewal = new Renewal(Enum.Parse<RenewalState>(state), 2, 2, 1),
            }, [], []));
            return true;
        });
        (await CheckAsync()).Says(Grade.Warning, "root_keys", text, hint);
    }

    [Fact]
    public async Task A_second_wrapper_that_is_lost_or_left_behind_or_was_never_added_is_named()
    {
        await AddAsync();
        (await CheckAsync(Own, Other)).AndNothingElseBut();
        (await CheckAsync(Own)).AndNothingElseBut("root_keys")
            .Says(Grade.Warning, "root_keys", "which no setting names", "coffer root-keys remove file:");

        File.Move(Other, Other + ".kept");
        (await CheckAsync(Own, Other)).AndNothingElseBut("root_keys")
            .Says(Grade.Warning, "root_keys", $"cannot be used: the key file {Other} is missing", "Mend it");
        KeyFile.Create(Other, DateTimeOffset.UnixEpoch);
        (await CheckAsync(Own, Other)).AndNothingElseBut("root_keys")
            .Says(Grade.Warning, "root_keys", $"file:{Other} is set and does not wrap root key 1", "root-keys add")
            .Says(Grade.Warning, "root_keys", "which no setting names");
    }

    [Fact]
    public async Task A_program_that_does_not_unwrap_is_named_and_is_a_problem_where_it_is_the_only_one()
    {
        using var directory = new TemporaryDirectory();
        var (program, denied) = (directory.File("wrap"), directory.File("denied"));
        File.WriteAllText(program, $$"""
            #!/bin/sh
            read -r line
            if [ -e {{denied}} ]; then echo '{"error":"the token is locked"}'; exit; fi
            printf '{"data":"%s"}\n' "$(printf '%s' "$line" | sed 's/.*"data":"\([^"]*\)".*/\1/')"
            """);
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var url = WrapperUrl.Parse($"exec:{program}")!;
        await AddAsync(url);
        var both = new KeySettings([WrapperUrl.Of(Own), url]);
        (await CheckAsync(both)).AndNothingElseBut();
        File.WriteAllText(denied, "");
        (await CheckAsync(both)).AndNothingElseBut("root_keys").Says(Grade.Warning, "root_keys",
            $"root key 1 does not open by exec:{program} (the program says: the token is locked)", "Mend it");
        (await CheckAsync(new KeySettings([url])))
            .Says(Grade.Problem, "root_keys", "cannot be unwrapped", "Check what --root-key names");
    }

    [Theory]
    [InlineData("Made")]
    [InlineData("Sealing")]
    [InlineData("Rewrapping")]
    public async Task A_rotation_that_is_under_way_is_named_with_its_state(string state)
    {
        await server.StopAsync();
        await server.OnStoreAsync((engine, committer, instance) => RootKeysTests.StopAtAsync(
            Own, engine, committer, instance, Enum.Parse<RootState>(state)));
        (await CheckAsync()).AndNothingElseBut("root_keys", "anchor").Says(Grade.Warning, "root_keys",
            $"root key 2 is {state.ToLowerInvariant()}", "coffer root-keys status");
    }

    [Fact]
    public async Task A_store_of_before_is_looked_at_as_well()
    {
        await server.StopAsync();
        await server.MakeEarlierAsync();
        (await CheckAsync()).AndNothingElseBut("root_keys", "anchor")
            .Says(Grade.Warning, "root_keys", "is of level 1", "Take a back-up")
            .Says(Grade.Ok, "chain", "entries verify");
    }

    // A second wrapper wraps the root key too; then the server stops.
    private async Task AddAsync(WrapperUrl? url = null)
    {
        if (url is null)
            KeyFile.Create(Other, DateTimeOffset.UnixEpoch);
        url ??= WrapperUrl.Of(Other);
        await server.StopAsync();
        await server.StartAgainAsync(with: options => options with
        {
            RootKey = new KeySettings([WrapperUrl.Of(Own), url]),
        });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"{url}")])).IsOk();
        await server.StopAsync();
    }

    private Task<Checked> CheckAsync(params string[] keyFiles) =>
        CheckAsync(new KeySettings([.. keyFiles.Select(WrapperUrl.Of)]));

    private Task<Checked> CheckAsync(KeySettings keys) =>
        Checked.RunAsync(new CofferOptions { Data = server.Data, RootKey = keys }, server.Time);
}
