namespace Coffer.EndToEnd;

/// <summary>Arguments that are no text, and standard streams that are closed, full, or read by nobody.</summary>
[Trait("Firm edges", "1 2")]
public sealed class StreamsTests(ServedStore store) : IClassFixture<ServedStore>
{
    [Fact]
    public async Task Arguments_that_are_not_UTF_8_are_refused_and_none_takes_the_place_of_another()
    {
        // Each differs from the other in one byte that is no text; the last one is U+FFFD itself, which is.
        const string Line = """
            for line in 'set \351 --payload p' 'set \350 --payload p' 'set k --payload \351' 'set k --user \351' \
              'find k --account \351' 'set k --payload-file /\351' 'reveal s --app a --account b --reason \351'; do
              set -- $(printf "$line"); "$coffer" secrets "$@"; echo "$? "
            done
            "$coffer" serve --data "$(printf '/tmp/\351')"; echo "$? "
            "$coffer" secrets set "$(printf '\357\277\275')" --payload p --json >/dev/null; echo "$?"
            """;
        var ran = await ShellAsync(Line);
        Assert.Equal(string.Concat(Enumerable.Repeat("64 \n", 8)) + "0\n", ran.Stdout);
        Assert.Equal(8, ran.Stderr.Split("is not UTF-8 text").Length - 1);
        Assert.Contains("argument 3 is not UTF-8", ran.Stderr, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_closed_or_full_stream_ends_a_command_with_a_code_and_in_words()
    {
        var ran = await ShellAsync("""
            "$coffer" secrets set closed <&- ; echo "in $?"
            "$coffer" secrets find none 2>&- ; echo "error $?"
            "$coffer" secrets find none 2>/dev/full ; echo "error $?"
            "$coffer" secrets list --json >/dev/full ; echo "out $?"
            "$coffer" secrets list >&- ; echo "out $?"
            "$coffer" keys mint --user usr_1 --json | true ; echo "out ${PIPESTATUS[0]}"
            "$coffer" keys mint --user usr_1 | true ; echo "out ${PIPESTATUS[0]}"
            "$coffer" --help | true ; echo "help ${PIPESTATUS[0]}"
            "$coffer" secrets list <&- >&- 2>&- ; echo "all $?"
            """);
        Assert.Equal("in 74\nerror 1\nerror 1\nout 74\nout 74\nout 74\nout 74\nhelp 0\nall 74\n", ran.Stdout);
        Assert.Contains("standard input is closed", ran.Stderr, StringComparison.Ordinal);
        Assert.Contains("standard output cannot be written: No space left on device", ran.Stderr,
            StringComparison.Ordinal);
        Assert.DoesNotContain("Unhandled exception", ran.Stderr, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm edges", "2 3")]
    public async Task A_first_start_whose_keys_cannot_be_printed_makes_no_store()
    {
        using var data = new TemporaryDirectory();
        var ran = await ShellAsync($"""
            for out in /dev/full closed "pipe"; do
              case $out in
                closed) "$coffer" serve --data {data.Path} --listen http://127.0.0.1:0 >&- ; echo "$?" ;;
                pipe) "$coffer" serve --data {data.Path} --listen http://127.0.0.1:0 | true
                  echo "$(({"${PIPESTATUS[0]}"}))" ;;
                *) "$coffer" serve --data {data.Path} --listen http://127.0.0.1:0 >$out ; echo "$?" ;;
              esac
            done
            """);
        Assert.Equal("74\n74\n74\n", ran.Stdout);
        Assert.Equal(3, ran.Stderr.Split("the first keys of the store cannot be shown").Length - 1);
        await using var coffer = await CofferProcess.ServeAsync(data);
        using var client = new WireClient(coffer.Url, coffer.TestKey); // it has keys now, and has shown them
        (await client.SetAsync("k", "p")).Is(200);
    }

    [Fact]
    public async Task Nobody_is_asked_where_nobody_is()
    {
        var script = Needs.OnPath("script");
        var ran = await ShellAsync($"""
            CI=true {script} -qec '"$coffer" secrets set asked' /dev/null; echo "$?"
            {script} -qec '"$coffer" secrets set asked 2>/dev/null' /dev/null; echo "$?"
            CI=true {script} -qec '"$coffer" accounts forget acct_1 --app app_1' /dev/null; echo "$?"
            "$coffer" accounts forget acct_1 --app app_1 </dev/null; echo "$?"
            """);
        Assert.Equal(4, ran.Stdout.Split('\n').Count(line => line == "64"));
        Assert.Contains("there is no terminal to ask at", ran.Stdout, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_log_that_nobody_reads_delays_no_answer_and_no_stop_and_what_it_lacks_is_counted()
    {
        const int First = 2_400, Meanwhile = 50, Last = 700; // more than wait, and than a pipe holds
        using var data = new TemporaryDirectory();
        var pipe = data.File("log");
        (await Ran.ProgramAsync(Needs.OnPath("mkfifo"), [pipe])).EndedWith(0);
        await using var log = new FileStream(pipe, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, 1);
        await using var coffer = await CofferProcess.StartAsync(
            ["serve", "--data", data.Path, "--secrets-per-scope", "10000", "--rate-per-key", "0"],
            under: ["/bin/sh", "-c", $"exec \"$0\" \"$@\" 2>{pipe}"]);
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        await EachAsync(0, First + Meanwhile + Last, async i => (await client.SetAsync($"k{i}", "p")).Is(200));
        // The log names each that is asked for.
        await data.SqlAsync("UPDATE secrets SET sealed = zeroblob(length(sealed))");
        await EachAsync(0, First, FailAsync);

        // Once it is read again, the next line comes after one that counts those that are not there.
        var text = new System.Text.StringBuilder();
        var reading = Task.Run(async () =>
        {
            var bytes = new byte[1 << 16];
            while (!text.ToString().Contains("were left out", StringComparison.Ordinal))
                text.Append(System.Text.Encoding.UTF8.GetString(bytes, 0, await log.ReadAsync(bytes)));
        }, TestContext.Current.CancellationToken);
        for (var i = First; !reading.IsCompleted; i++)
        {
            Assert.True(i < First + Meanwhile, $"nothing is said to be left out in {text.Length} characters");
            await FailAsync(i);
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }

        await reading;
        Assert.Matches("[0-9]+ lines of the log were left out", text.ToString());
        await EachAsync(First + Meanwhile, Last, FailAsync);
        Assert.Equal(0, await coffer.StopAsync()); // within what its log never gets

        async Task FailAsync(int i) => (await client.FindBareAsync($"k{i}")).Is(500);

        static Task EachAsync(int from, int count, Func<int, Task> act) => Parallel.ForAsync(from, from + count,
            new ParallelOptions { MaxDegreeOfParallelism = 32 }, async (i, _) => await act(i));
    }

    private Task<Ran> ShellAsync(string lines) => Ran.ProgramAsync(Needs.OnPath("bash"), ["-c", lines],
        new Dictionary<string, string>
        {
            ["coffer"] = Needs.Program,
            ["COFFER_URL"] = store.Coffer.Url.ToString(),
            ["COFFER_API_KEY"] = store.Coffer.TestKey,
            ["COFFER_ADMIN_KEY"] = store.Coffer.AdminKey,
            ["LC_ALL"] = "C.UTF-8",
        });
}
