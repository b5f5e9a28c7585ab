using System.Text.Json;
using System.Text.Json.Nodes;

namespace Coffer.EndToEnd;

/// <summary><c>coffer audit</c> as the person uses it who has to answer for the store.</summary>
public sealed class AuditCliTests
{
    private const string Limit = "100";

    [Fact]
    public async Task List_shows_who_did_what_newest_first_beside_the_running_server()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await WorkAsync(data);
        var entries = await AuditVerb.ListAsync(data);
        Assert.Equal(
            ["delete absent", "set ok", "find ok", "set ok", "create_key ok", "create_key ok", "create_key ok"],
            entries.Select(Deed));
        Assert.Equal(Enumerable.Range(1, 7).Reverse(), entries.Select(entry => entry.GetProperty("seq").GetInt32()));
        var set = entries[3];
        Assert.Equal(
            ("node_1", "test", "acct_1", "account", 1),
            (Text(set, "node"), Text(set, "mode"), Text(set, "account"), Text(set, "scope"),
                set.GetProperty("version").GetInt32()));
        Assert.StartsWith("req_", Text(set, "request"), StringComparison.Ordinal);
        Assert.Equal("127.0.0.1", Text(set, "remote"));
        Assert.Matches("^[0-9a-f]{32,}$", Text(set, "name")!);

        var all = string.Concat(entries);
        foreach (var secret in (string[])["the name", "the payload", coffer.TestKey])
            Assert.DoesNotContain(secret, all, StringComparison.Ordinal);

        Assert.Equal(["find ok"], (await AuditVerb.ListAsync(data, "--verb", "find")).Select(Deed));
        Assert.Equal(["set ok", "find ok", "set ok"],
            (await AuditVerb.ListAsync(data, "--account", "acct_1")).Select(Deed));
        Assert.Equal(["set ok", "set ok"],
            (await AuditVerb.ListAsync(data, "--account", "acct_1", "--verb", "set")).Select(Deed));
        Assert.Equal(["delete absent"], (await AuditVerb.ListAsync(data, "--outcome", "absent")).Select(Deed));
        Assert.Empty(await AuditVerb.ListAsync(data, "--outcome", "quota_reached"));
        Assert.Empty(await AuditVerb.ListAsync(data, "--until", "2001-01-01T00:00:00Z"));
        Assert.Equal(7, (await AuditVerb.ListAsync(data, "--since", "2001-01-01T00:00:00Z")).Count);
    }

    [Fact]
    public async Task The_table_has_a_line_for_each_entry()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await WorkAsync(data);
        var table = (await AuditAsync("list", "--data", data.Path, "--limit", Limit)).EndedWith(0).Stdout.TrimEnd()
            .Split('\n');
        Assert.Equal(1 + 7, table.Length);
        Assert.Matches("^SEQ +TIME +VERB +OUTCOME +ACCOUNT", table[0]);
        Assert.Contains(" delete ", table[1], StringComparison.Ordinal);
        Assert.Equal(
            1 + 1,
            (await AuditAsync("list", "--data", data.Path, "--limit", "1")).EndedWith(0).Stdout.TrimEnd()
                .Split('\n').Length);
    }

    [Fact]
    public async Task List_needs_no_limit_and_refuses_one_that_is_none_with_64()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await WorkAsync(data);
        Assert.Equal(7,
            (await AuditAsync("list", "--data", data.Path, "--json")).EndedWith(0).Stdout.TrimEnd().Split('\n').Length);
        (await AuditAsync("list", "--data", data.Path, "--limit", "many")).Refused(64, "'many'", "--help");
        (await AuditAsync("list", "--data", data.Path, "--limit", "1", "--limit",
            "2")).Refused(64, "--limit", "--help");
    }

    [Fact]
    public async Task A_store_verifies_beside_its_server_and_after_it_with_a_checkpoint()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await WorkAsync(data);
        Assert.Equal(7, await AuditVerb.VerifiedAsync(data));
        Assert.Equal(0, await coffer.StopAsync());
        Assert.Equal(
            "it is of the store that the anchor names\n7 entries verify with the root key, 1 checkpoints, 0 problems\n",
            (await AuditAsync("verify", "--data", data.Path)).EndedWith(0).Stdout);
    }

    [Fact]
    public async Task An_export_verifies_elsewhere_with_nothing_but_the_key_file_and_the_checkpoints()
    {
        using var data = new TemporaryDirectory();
        using var away = new TemporaryDirectory();
        var checkpoints = away.File("checkpoints");
        await using (var coffer = await WorkAsync(data, "--audit-checkpoints", checkpoints))
            Assert.Equal(0, await coffer.StopAsync());
        Assert.False(File.Exists(data.File("audit-checkpoints.jsonl")));
        var export = await ExportAsync(data, away);
        var (file, key) = (away.File("log"), away.File("key"));
        File.Copy(data.File("coffer.key"), key);
        string[] verify = ["verify", "--file", file, "--key-file", key, "--checkpoints", checkpoints];
        Assert.EndsWith("coffer.anchor\n7 entries verify with the root key, 1 checkpoints, 0 problems\n",
            (await AuditAsync(verify)).EndedWith(0).Stdout, StringComparison.Ordinal);
        Assert.EndsWith("coffer.anchor\n7 entries verify with the root key, 0 checkpoints, 0 problems\n",
            (await AuditAsync(verify[..^2])).EndedWith(0).Stdout, StringComparison.Ordinal);

        // Edited, and cut where nothing but a checkpoint can tell.
        await File.WriteAllTextAsync(file, export.Replace("acct_1", "acct_2", StringComparison.Ordinal),
            TestContext.Current.CancellationToken);
        Unverified(await AuditAsync(verify), "were changed");
        var lines = export.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var last = (string)JsonNode.Parse(
            lines.Last(line => line.Contains("\"last\":6", StringComparison.Ordinal)))!["seal"]!;
        var end = JsonNode.Parse(lines[^1])!;
        (end["end"], end["entries"], end["seals"]!["node_1"]) = ((int)end["end"]! - 1, 6, last);
        await File.WriteAllLinesAsync(
            file, [.. lines[..^3], end.ToJsonString()], TestContext.Current.CancellationToken);
        Unverified(await AuditAsync(verify), "ends at entry 6");
        (await AuditAsync(verify[..^2])).EndedWith(0);
        foreach (var cut in (string[][])[lines[..^1], lines[..^2], lines[..^3]])
        {
            await File.WriteAllLinesAsync(file, cut, TestContext.Current.CancellationToken);
            Unverified(await AuditAsync(verify[..^2]), "was cut");
        }

        await File.WriteAllLinesAsync(file, lines[1..], TestContext.Current.CancellationToken);
        (await AuditAsync(verify)).Refused(78, file, "coffer audit export");
    }

    /// <summary>By Coffer, and by vectors/audit.mjs, which shares no code with it.</summary>
    [Fact]
    public async Task An_export_is_proven_elsewhere_by_the_public_key_that_the_server_shows()
    {
        using var data = new TemporaryDirectory();
        using var away = new TemporaryDirectory();
        var (file, key, checkpoints) = (away.File("log"), away.File("key.pem"), away.File("checkpoints"));
        await using (var coffer = await WorkAsync(data, "--audit-checkpoints", checkpoints))
        {
            var shown = (await AuditAsync("public-key", "--url", coffer.Url.ToString())).EndedWith(0).Stdout;
            Assert.Equal(shown, (await AuditAsync("public-key", "--data", data.Path)).EndedWith(0).Stdout);
            await File.WriteAllTextAsync(key, shown, TestContext.Current.CancellationToken);
            Assert.Equal(0, await coffer.StopAsync());
        }

        var export = await ExportAsync(data, away);
        string[] verify = ["verify", "--file", file, "--public-key", key, "--checkpoints", checkpoints];
        Assert.Equal("entries 1 to 7 of node_1 are proven by checkpoints\n"
            + "7 entries hold together by the public key alone, 1 checkpoints, 0 problems\n",
            (await AuditAsync(verify)).EndedWith(0).Stdout);
        Assert.Contains("entries 1 to 7 of node_1 are not proven: that needs the root key, or a checkpoint\n",
            (await AuditAsync(verify[..^2])).EndedWith(0).Stdout, StringComparison.Ordinal);
        var program = Path.Combine(Needs.Repository, "vectors", "audit.mjs");
        string[] other = [program, "verify", file, checkpoints, key];
        Assert.Equal("entries 1 to 7 of node_1 are proven\n",
            (await Ran.ProgramAsync(Needs.OnPath("node"), other)).EndedWith(0).Stdout);

        await File.WriteAllTextAsync(file, export.Replace("acct_1", "acct_2", StringComparison.Ordinal),
            TestContext.Current.CancellationToken);
        Unverified(await AuditAsync(verify), "were changed");
        Assert.NotEqual(0, (await Ran.ProgramAsync(Needs.OnPath("node"), other)).ExitCode);
        (await AuditAsync([.. verify, "--key-file", data.File("coffer.key")])).Refused(64, "not both", "--help");
        (await AuditAsync("verify", "--file", file, "--public-key", file)).Refused(78,
            "is not a public key as coffer audit public-key shows it", "coffer audit public-key");
        (await AuditAsync("public-key", "--data", data.Path, "--url", "http://127.0.0.1:1")).Refused(64,
            "--data or --url", "--help");
        (await AuditAsync("public-key", "--url", "http://127.0.0.1:1")).Refused(69, "no answer from", "--url");
    }

    [Fact]
    public async Task Another_implementation_agrees_with_the_vectors_of_audit_logs()
    {
        var program = Path.Combine(Needs.Repository, "vectors", "audit.mjs");
        var ran = (await Ran.ProgramAsync(Needs.OnPath("node"), [program, "check"])).EndedWith(0);
        Assert.Matches(@"\A\d+ cases hold\n\z", ran.Stdout);
    }

    [Theory]
    [InlineData(
        "UPDATE audit SET entries = CAST(replace(CAST(entries AS TEXT), 'find', 'list') AS BLOB) WHERE first = 5",
        "entries 5 to 5 of node_1 were changed")]
    [InlineData("DELETE FROM audit WHERE first = 5", "entries 5 to 5 of node_1 are missing")]
    public async Task An_edited_store_is_2_and_the_place_is_named(string edit, string place)
    {
        using var data = new TemporaryDirectory();
        await using (var coffer = await WorkAsync(data))
            Assert.Equal(0, await coffer.StopAsync());
        await data.SqlAsync(edit);
        Unverified(await AuditAsync("verify", "--data", data.Path), place);

        // The server continues with it: to refuse would lock out those who did not do it.
        await using var again = await CofferProcess.ServeAsync(data);
        Unverified(await AuditAsync("verify", "--data", data.Path), place);
    }

    [Fact]
    public async Task What_cannot_be_read_is_refused_with_what_to_do()
    {
        using var data = new TemporaryDirectory();
        await using (var coffer = await WorkAsync(data))
            Assert.Equal(0, await coffer.StopAsync());
        var nowhere = data.File("nowhere");
        (await AuditAsync("verify")).Refused(64, "--data, or --file with --key-file or --public-key", "--help");
        (await AuditAsync("verify", "--file", nowhere)).Refused(64,
            "Give --file and --key-file together, or --public-key", "--help");
        (await AuditAsync("verify", "--data", data.Path, "--file", nowhere)).Refused(64, "--data, or --file", "--help");
        (await AuditAsync("list", "--data", data.Path, "--limit", "0")).Refused(64, "--limit must be at least 1",
            "--help");
        (await AuditAsync("list", "--data", data.Path, "--limit", Limit, "--since", "yesterday")).Refused(64,
            "'yesterday'", "--help");
        (await AuditAsync("list", "--limit", Limit)).Refused(78, "COFFER_ADMIN_KEY is not set", "ak_");
        (await AuditAsync("list", "--data", data.Path, "--url", "http://127.0.0.1:1")).Refused(64, "--data or --url",
            "--help");
        foreach (var verb in (string[])["verify", "list", "export"])
            (await AuditAsync(
                [verb, "--data", nowhere, .. verb == "list" ? ["--limit", Limit] : Array.Empty<string>()])).Refused(78,
                    nowhere, "--data");
        (await AuditAsync("verify", "--file", nowhere, "--key-file", data.File("coffer.key"))).Refused(74, nowhere);
        (await AuditAsync("verify", "--file", data.File("coffer.key"), "--key-file", data.File("coffer.key"))).Refused(
            78, "not an exported audit log", "coffer audit export");

        using var other = new TemporaryDirectory();
        await using (await CofferProcess.ServeAsync(other))
            await ExportAsync(data, other);
        (await AuditAsync("verify", "--file", other.File("log"), "--key-file",
            other.File("coffer.key"))).Refused(78, "key file");
        Assert.False(Path.Exists(nowhere));
    }

    /// <summary>A store with seven entries: its three keys, and four requests.</summary>
    private static async Task<CofferProcess> WorkAsync(TemporaryDirectory data, params string[] more)
    {
        var coffer = await CofferProcess.ServeAsync(data, more);
        try
        {
            using var clients = new AccountClients(coffer.Url, coffer.TestKey);
            (await clients["acct_1"].SetAsync("the name", "the payload")).Is(200);
            (await clients["acct_1"].FindAsync("the name")).Is(200);
            (await clients["acct_1"].FindBareAsync("the name")).Is(200); // shows no payload: not recorded
            (await clients["acct_1"].SetAsync("the name", "the payload 2", user: "usr_1")).Is(200);
            (await clients[""].DeleteAsync("the name", idempotencyKey: "k")).Is(404);
            return coffer;
        }
        catch
        {
            await coffer.DisposeAsync();
            throw;
        }
    }

    private static async Task<string> ExportAsync(TemporaryDirectory data, TemporaryDirectory to)
    {
        var export = (await AuditAsync("export", "--data", data.Path)).EndedWith(0);
        await File.WriteAllBytesAsync(to.File("log"), export.Output, TestContext.Current.CancellationToken);
        return export.Stdout;
    }

    private static void Unverified(Ran ran, string place)
    {
        var problem = Assert.Single(ran.EndedWith(2).Stderr.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.StartsWith("coffer: error: ", problem, StringComparison.Ordinal);
        Assert.Contains(place, problem, StringComparison.Ordinal);
        Assert.EndsWith(" 1 problems\n", ran.Stdout, StringComparison.Ordinal);
    }

    private static Task<Ran> AuditAsync(params string[] arguments) => Ran.CofferAsync(["audit", .. arguments]);

    private static string? Text(JsonElement entry, string field) => entry.GetProperty(field).GetString();

    private static string Deed(JsonElement entry) => $"{Text(entry, "verb")} {Text(entry, "outcome")}";
}
