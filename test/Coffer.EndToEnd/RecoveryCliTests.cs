using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>
/// Recovery shares at the command line: created beside a running server, proven, and used when the key file is lost.
/// </summary>
[Trait("Keys", "S12")]
public sealed class RecoveryCliTests
{
    private const string Stopped = "Start the server, then run: coffer root-keys rotate";

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Shares_are_written_to_files_proven_and_open_a_store_that_lost_its_key_file()
    {
        using var data = new TemporaryDirectory();
        using var shares = new TemporaryDirectory();
        var folder = shares.File("shares");
        string key;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            key = coffer.TestKey;
            var cli = new AdminCli(coffer);
            (await cli.RunAsync("root-keys", "shares", "verify")).Refused(1, "no recovery shares", "shares create");
            (await cli.RunAsync("root-keys", "shares", "create")).Refused(64, "at a terminal only", "--out");
            foreach (var wrong in (string[][])[["--threshold", "1"], ["--threshold", "6"], ["--shares", "17"]])
            {
                (await cli.RunAsync(["root-keys", "shares", "create", "--out", folder, .. wrong]))
                    .Refused(64, "--threshold");
            }

            Assert.False(Directory.Exists(folder));

            var created = (await cli.RunAsync("root-keys", "shares", "create", "--out", folder)).EndedWith(0);
            Assert.Matches(@"file:\S+, shares:[0-9a-f]{64}", created.Stdout);
            Assert.Contains("coffer root-keys shares verify", created.Stderr, StringComparison.Ordinal);
            Assert.Equal(5, Directory.GetFiles(folder).Length);
            Assert.All(Directory.GetFiles(folder), file => Assert.Equal(
                UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file)));
            foreach (var file in Directory.GetFiles(folder))
                Assert.DoesNotContain(Words(file), created.Stdout + created.Stderr + coffer.Stdout + coffer.Stderr,
                    StringComparison.Ordinal);

            (await cli.RunAsync("root-keys", "shares", "create", "--out", folder))
                .Refused(64, "cannot be undone", "--yes");
            (await cli.RunAsync("root-keys", "shares", "create", "--out", folder, "--yes")).EndedWith(74);
            Assert.Contains("These 3 shares open the store", (await VerifyAsync(coffer, Texts(folder, 5, 2, 1)))
                .EndedWith(0).Stdout, StringComparison.Ordinal);
            (await VerifyAsync(coffer, Texts(folder, 5, 2))).EndedWith(65);
            using (var client = new WireClient(coffer.Url, key))
                (await client.SetAsync("k", "kept")).Is(200);
            (await RecoverAsync(data, Texts(folder, 1, 2, 3))).Refused(78, "another process uses");
        }

        foreach (var lost in (string[])["coffer.key", "coffer.anchor", "audit-checkpoints.jsonl"])
            File.Delete(data.File(lost));
        Assert.Equal(78, (await Assert.ThrowsAsync<EndedException>(() => CofferProcess.ServeAsync(data))).Exit);
        var typo = Texts(folder, 1, 2, 4).Replace("academic", "acadmic", StringComparison.Ordinal);
        var named = (await RecoverAsync(data, typo)).EndedWith(65);
        Assert.Contains("the share in line 2: word 3 is not in the list of words; the nearest that is: academic",
            named.Stderr, StringComparison.Ordinal);
        Assert.False(File.Exists(data.File("coffer.key")));
        Assert.Contains(Stopped, (await RecoverAsync(data, Texts(folder, 1, 2, 4))).EndedWith(0).Stdout,
            StringComparison.Ordinal);
        Assert.True(File.Exists(data.File("coffer.key")));
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            using var client = new WireClient(coffer.Url, key);
            Assert.Equal("kept", (await client.FindAsync("k")).Is(200).Payload);
        }

        (await Ran.CofferAsync("audit", "verify", "--data", data.Path)).EndedWith(0);
    }

    [Fact]
    public async Task At_a_terminal_each_share_is_shown_once_and_a_wrong_one_is_asked_for_again()
    {
        using var data = new TemporaryDirectory();
        string[] shares;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            var shown = (await AtTerminal.RunAsync(Needs.Program,
                ["root-keys", "shares", "create", "--shares", "3", "--threshold", "2"], Variables(coffer),
                ("1 of 3", "\n"), ("2 of 3", "\n"), ("3 of 3", "\n"))).EndedWith(0).Stdout;
            // Each between two times that the screen, and what has scrolled out of it, is cleared.
            var screens = shown.Split("\u001b[H\u001b[2J\u001b[3J");
            Assert.Equal(5, screens.Length);
            // After the title, which has a number and a word too.
            shares = [.. screens[1..4].Select(screen => string.Join(' ', Regex.Matches(
                screen, @"(?<=\d )[a-z]{4,8}\b", RegexOptions.None, TimeSpan.FromSeconds(1)).Skip(1).Take(33)))];
            Assert.All(shares, share => Assert.Equal(33, share.Split(' ').Length));
            var proven = (await AtTerminal.RunAsync(Needs.Program, ["root-keys", "shares", "verify"], Variables(coffer),
                ("Words of share 1 of 2", shares[2] + "\n"), ("Words of share 2 of 2", shares[2] + "\n"),
                ("share 3, which was given already", $"{shares[0]} zero\n"),
                ("a share has 33 words, and this has 34", shares[0] + "\n"))).EndedWith(0).Stdout;
            Assert.Contains("These 2 shares open the store", proven, StringComparison.Ordinal);
            Assert.DoesNotContain(shares[0][..40], proven, StringComparison.Ordinal); // it is not echoed
        }

        File.Delete(data.File("coffer.key"));
        var recovered = (await AtTerminal.RunAsync(Needs.Program, ["root-keys", "recover", "--data", data.Path], null,
            ("Words of share 1 of 2", shares[1] + "\n"), ("Words of share 2 of 2", shares[0] + "\n")))
            .EndedWith(0).Stdout;
        Assert.Contains(Stopped, recovered, StringComparison.Ordinal);
        await using var again = await CofferProcess.ServeAsync(data);
    }

    [Fact]
    public async Task Another_implementation_opens_a_store_with_shares_and_coffer_one_with_the_others()
    {
        using var data = new TemporaryDirectory();
        using var shares = new TemporaryDirectory();
        JsonObject made;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            var cli = new AdminCli(coffer);
            var node = Needs.Node();
            await cli.OkAsync("root-keys", "shares", "create", "--shares", "6", "--threshold", "4", "--out",
                shares.File("own"));
            await cli.OkAsync("root-keys", "rotate");
            var exported = (await Ran.CofferAsync("audit", "export", "--data", data.Path)).EndedWith(0).Stdout;
            var opened = await NodeAsync(node, "open", new JsonObject
            {
                ["export"] = JsonNode.Parse(exported.Split('\n')[0]),
                ["words"] = new JsonArray([.. new[] { 6, 1, 3, 4 }.Select(share => (JsonNode)Words(
                    Path.Combine(shares.File("own"), $"share-{share}-of-6.txt")))]),
            });
            Assert.Equal("""[{"version":1,"opens_control":false},{"version":2,"opens_control":true}]""", opened);

            using var operating = new WireClient(coffer.Url, coffer.AdminKey);
            var store = (await operating.GetAsync("/admin/v1/root_keys/shares")).Is(200).Body;
            made = (JsonObject)JsonNode.Parse(await NodeAsync(node, "make", new JsonObject
            {
                ["store"] = AdminCli.Text(store, "store"),
                ["anchor"] = AdminCli.Text(store, "anchor"),
                ["threshold"] = 3,
                ["count"] = 4,
            }))!;
            (await operating.PostAsync("/admin/v1/root_keys/shares", [("shares", (string)made["stored"]!)])).Is(200);
            (await VerifyAsync(coffer, Texts(made, 3, 0, 2))).EndedWith(0);
        }

        File.Delete(data.File("coffer.key"));
        (await RecoverAsync(data, Texts(made, 0, 1, 2))).EndedWith(0);
        await using var again = await CofferProcess.ServeAsync(data);
    }

    /// <summary>
    /// What a server is told of new shares is one commit: those of before open the store, or the new ones.
    /// </summary>
    [Fact]
    public async Task Killed_anywhere_while_shares_are_created_a_store_has_these_or_those_of_before()
    {
        using var data = new TemporaryDirectory();
        using var shares = new TemporaryDirectory();
        string admin;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            admin = coffer.AdminKey;
            await new AdminCli(coffer).OkAsync("root-keys", "shares", "create", "--out", shares.File("0"));
        }

        // The first sync is that of the entry about a look at what there is.
        var (kinds, round) = (new HashSet<bool>(), 0);
        foreach (var (calls, nth) in ((string, int)[])[("fdatasync,fsync", 2), ("pwrite64", 6), ("pwrite64", 9)])
        {
            round++;
            await using (var coffer = await CofferProcess.ServeAsync(data))
            {
                await using var strace = await Strace.AttachAsync(
                    coffer, calls, $"signal=SIGKILL:when={nth}", data.File("coffer.db-wal"));
                var ran = await new AdminCli(coffer, admin).RunAsync(
                    "root-keys", "shares", "create", "--yes", "--out", shares.File($"{round}"));
                Assert.Contains(ran.ExitCode, (int[])[0, 69]);
                if (ran.ExitCode == 69 && Directory.Exists(shares.File($"{round}")))
                    Assert.Contains("coffer root-keys shares verify tells", ran.Stderr, StringComparison.Ordinal);
            }

            File.Delete(data.File("coffer.key"));
            var opening = new List<int>();
            foreach (var set in Enumerable.Range(0, round + 1).Where(set => Directory.Exists(shares.File($"{set}"))))
            {
                if ((await RecoverAsync(data, Texts(shares.File($"{set}"), 1, 3, 5))).ExitCode == 0)
                    opening.Add(set);
            }

            kinds.Add(Assert.Single(opening) == round);
        }

        Assert.Contains(true, kinds);
    }

    [Theory]
    [InlineData("coffer.key.new", "fdatasync,fsync", 1, false)]
    [InlineData("coffer.db-wal", "pwrite64", 1, false)]
    [InlineData("coffer.db-wal", "fdatasync,fsync", 1, true)]
    [InlineData("coffer.anchor.new", "fdatasync,fsync", 1, true)]
    public async Task A_recovery_that_is_killed_is_done_or_is_done_again(
        string file, string calls, int nth, bool mayBeDone)
    {
        using var data = new TemporaryDirectory();
        using var shares = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.ServeAsync(data))
            await new AdminCli(coffer).OkAsync("root-keys", "shares", "create", "--out", shares.File("0"));
        foreach (var lost in (string[])["coffer.key", "coffer.anchor"])
            File.Delete(data.File(lost));
        await Strace.KillAsync(calls, nth, data.File(file), ["root-keys", "recover", "--data", data.Path],
            Encoding.ASCII.GetBytes(Texts(shares.File("0"), 2, 3, 4)));
        if (!mayBeDone)
            Assert.Equal(78, (await Assert.ThrowsAsync<EndedException>(() => CofferProcess.ServeAsync(data))).Exit);
        (await RecoverAsync(data, Texts(shares.File("0"), 5, 3, 1))).EndedWith(0);
        await using var again = await CofferProcess.ServeAsync(data);
    }

    [Fact]
    public async Task A_store_in_a_database_opens_with_shares_and_an_empty_directory()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        var store = cluster.Store(cluster.Primary.Port);
        using var data = new TemporaryDirectory();
        using var shares = new TemporaryDirectory();
        string key;
        await using (var coffer = await CofferProcess.ServeAsync(data, "--store", store))
        {
            key = coffer.TestKey;
            await new AdminCli(coffer).OkAsync("root-keys", "shares", "create", "--out", shares.File("0"));
            using var client = new WireClient(coffer.Url, key);
            (await client.SetAsync("k", "kept")).Is(200);
        }

        using var empty = new TemporaryDirectory();
        (await RecoverAsync(empty, Texts(shares.File("0"), 2, 1, 4), "--store", store)).EndedWith(0);
        await using var again = await CofferProcess.ServeAsync(empty, "--store", store);
        using var asking = new WireClient(again.Url, key);
        Assert.Equal("kept", (await asking.FindAsync("k")).Is(200).Payload);
        (await Ran.CofferAsync("audit", "verify", "--data", empty.Path, "--store", store)).EndedWith(0);
    }

    private static Task<Ran> RecoverAsync(TemporaryDirectory data, string shares, params string[] more) =>
        Ran.ProgramAsync(Needs.Program, ["root-keys", "recover", "--data", data.Path, .. more],
            input: Encoding.ASCII.GetBytes(shares));

    private static Task<Ran> VerifyAsync(CofferProcess coffer, string shares) =>
        Ran.ProgramAsync(Needs.Program, ["root-keys", "shares", "verify"], Variables(coffer),
            Encoding.ASCII.GetBytes(shares));

    private static async Task<string> NodeAsync(string node, string verb, JsonObject asked) => (await Ran.ProgramAsync(
        node, [Path.Combine(Needs.SdkFolder, "slip39.mjs"), verb], input: Encoding.UTF8.GetBytes(asked.ToJsonString())))
        .EndedWith(0).Stdout.TrimEnd('\n');

    private static Dictionary<string, string> Variables(CofferProcess coffer) => new()
    {
        ["COFFER_URL"] = coffer.Url.ToString(),
        ["COFFER_ADMIN_KEY"] = coffer.AdminKey,
        ["TERM"] = "xterm",
    };

    // Files as they are, one after the other: a comment, and the words in a line.
    private static string Texts(string folder, params int[] which) => string.Concat(which.Select(
        share => File.ReadAllText(Directory.GetFiles(folder, $"share-{share}-of-*.txt").Single())));

    private static string Texts(JsonObject made, params int[] which) =>
        string.Concat(which.Select(share => (string)made["words"]![share]! + "\n"));

    private static string Words(string file) => File.ReadAllLines(file)[1];
}
