using System.Security.Cryptography;

namespace Coffer.EndToEnd;

/// <summary>
/// Pages of the store file rot on the disk: what is still given out is right, and what is lost is never said to be
/// absent.
/// </summary>
public sealed class CorruptPageTests
{
    private const int Page = 4096;
    private const int Secrets = 300;
    private static readonly TimeSpan InTime = TimeSpan.FromSeconds(10);

    [Fact]
    public async Task A_page_of_random_bytes_gives_errors_and_never_wrong_data_or_a_404()
    {
        using var data = new TemporaryDirectory();
        var (key, whole) = await SetAllAsync(data);
        var pages = whole.Length / Page;
        Assert.True(pages > Secrets, $"only {pages} pages: the log was not written back");
        var damaged = 0;

        // Several pages over the file, since it depends on the page what it takes with it.
        foreach (var page in (int[])[pages / 4, pages * 3 / 8, pages / 2, pages * 5 / 8, pages - 1])
        {
            var seen = await OpenAsync(data, key, whole, page);
            Assert.True(seen.Exit is null or 78, $"with page {page + 1} damaged it ended with {seen.Exit}");
            damaged += seen.Errors;
        }

        Assert.True(damaged > 0, "no page that was overwritten was ever needed: nothing was tested");
        var healed = await OpenAsync(data, key, whole, page: null);
        Assert.Equal((Secrets, 0), (healed.Right, healed.Errors));
    }

    [Fact]
    public async Task A_damaged_page_that_the_start_reads_refuses_the_start_with_78()
    {
        using var data = new TemporaryDirectory();
        var (key, whole) = await SetAllAsync(data);
        var exits = new List<string>();
        for (var page = 0; page < 12; page++)
        {
            if (await OpenAsync(data, key, whole, page) is { Exit: { } exit })
                exits.Add($"page {page + 1}: {exit}");
        }

        Assert.NotEmpty(exits); // the first page at least is read
        Assert.DoesNotContain(exits, exit => !exit.EndsWith(" 78", StringComparison.Ordinal));
    }

    private static async Task<(string Key, byte[] File)> SetAllAsync(TemporaryDirectory data)
    {
        await using var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "1000");
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        await Task.WhenAll(
            Enumerable.Range(0, Secrets).Select(
                async number => (await client.SetAsync(Name(number), Payload(number))).Is(200)));
        Assert.Equal(0, await coffer.StopAsync());
        return (coffer.TestKey, await File.ReadAllBytesAsync(data.File("coffer.db"),
            TestContext.Current.CancellationToken));
    }

    /// <summary>
    /// Starts on the file, with a page of it damaged, and asks for everything, one by one and as lists.
    /// </summary>
    private static async Task<Seen> OpenAsync(TemporaryDirectory data, string key, byte[] whole, int? page)
    {
        var file = (byte[])whole.Clone();
        if (page is { } number)
            RandomNumberGenerator.Fill(file.AsSpan(number * Page, Page));
        await File.WriteAllBytesAsync(data.File("coffer.db"), file, TestContext.Current.CancellationToken);
        var seen = await AskAsync(data, key);
        TestContext.Current.TestOutputHelper?.WriteLine($"{(page is null ? "whole" : $"page {page + 1}")}: {seen}");
        // What a server that was killed left behind belongs to the damaged file, not to the next one.
        File.Delete(data.File("coffer.db-wal"));
        File.Delete(data.File("coffer.db-shm"));
        return seen;
    }

    private static async Task<Seen> AskAsync(TemporaryDirectory data, string key)
    {
        var seen = new Seen();
        CofferProcess coffer;
        try
        {
            coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "1000");
        }
        catch (EndedException refusal)
        {
            seen.Exit = refusal.Exit;
            return seen;
        }

        await using (coffer)
        {
            using var client = new WireClient(coffer.Url, key);
            for (var number = 0; number < Secrets; number++)
            {
                var answer = await client.FindAsync(Name(number)).WaitAsync(InTime,
                    TestContext.Current.CancellationToken);
                if (Count(seen, answer))
                    Assert.Equal(Payload(number), answer.Payload);
            }

            await ListAsync(client, seen);
            Count(
                seen,
                await client.SetAsync(Name(0), Payload(0)).WaitAsync(InTime, TestContext.Current.CancellationToken),
                isSecret: false);
            (await client.GetAsync("/healthz")).Is(200);
        }

        return seen;
    }

    private static async Task ListAsync(WireClient client, Seen seen)
    {
        var found = 0;
        string? last = null;
        while (true)
        {
            var answer = await client.ListAsync(after: last).WaitAsync(InTime, TestContext.Current.CancellationToken);
            if (!Count(seen, answer, isSecret: false))
                return;
            foreach (var secret in answer.Body.GetProperty("data").EnumerateArray())
            {
                Assert.Equal(Payload(int.Parse(secret.GetProperty("name").GetString()!)),
                    secret.GetProperty("payload").GetString());
                last = secret.GetProperty("id").GetString();
                found++;
            }

            if (answer.Body.GetProperty("has_more").GetBoolean())
                continue;
            Assert.Equal(Secrets, found); // a list that ends without an error is whole
            return;
        }
    }

    /// <summary>
    /// Whether it was answered; if not, it must be an error of the server's, for nothing here is absent.
    /// </summary>
    private static bool Count(Seen seen, Answer answer, bool isSecret = true)
    {
        if (answer.Status is 500 or 503)
        {
            Assert.Equal("api_error", answer.Body.GetProperty("error").GetProperty("type").GetString());
            seen.Errors++;
            return false;
        }

        answer.Is(200);
        seen.Right += isSecret ? 1 : 0;
        return true;
    }

    private static string Name(int number) => number.ToString();

    private static string Payload(int number) => $"{number} {new string('x', 3_000)} {number}";

    /// <summary>How a store with a damaged page fared; <c>Exit</c> is null when it started.</summary>
    private sealed class Seen
    {
        public int? Exit { get; set; }

        public int Right { get; set; }

        public int Errors { get; set; }

        public override string ToString() =>
            Exit is { } exit ? $"the start ended with {exit}" : $"{Right} secrets right, {Errors} requests refused";
    }
}
