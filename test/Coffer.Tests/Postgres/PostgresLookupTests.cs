using System.Threading.Channels;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

public sealed class PostgresLookupTests
{
    private readonly Channel<Statement> statements = Channel.CreateUnbounded<Statement>();
    private readonly ManualTime time = new();

    [Fact]
    public async Task Who_asks_alone_is_read_for_at_once()
    {
        var asked = Lookup().FindAsync(7);
        (await NextAsync()).Answer();
        Assert.Equal("row 7", await asked);
    }

    [Fact]
    public async Task Those_who_ask_while_a_statement_is_under_way_share_the_next_and_each_gets_its_own_row()
    {
        var lookup = Lookup();
        _ = lookup.FindAsync(0);
        var others = Enumerable.Range(1, 50).Select(lookup.FindAsync).ToList();
        var first = await NextAsync();
        Assert.False(statements.Reader.TryPeek(out _));
        first.Answer();

        var second = await NextAsync();
        Assert.Equal(Enumerable.Range(1, 50), second.Keys);
        second.Answer();
        Assert.Equal(Enumerable.Range(1, 50).Select(key => key % 10 == 9 ? null : $"row {key}"),
            await Task.WhenAll(others));
    }

    [Fact]
    public async Task More_statements_are_under_way_while_they_are_slow_and_fewer_when_they_are_quick_again()
    {
        var lookup = Lookup();
        var asked = Enumerable.Range(0, 41).Select(lookup.FindAsync).ToList();
        var slow = await NextAsync();
        time.Move(TimeSpan.FromMilliseconds(3));
        slow.Answer();
        Statement[] two = [await NextAsync(), await NextAsync()];
        Assert.Equal([20, 20], two.Select(statement => statement.Keys.Count));

        foreach (var statement in two)
            statement.Answer();
        await Task.WhenAll(asked);
        asked = [.. Enumerable.Range(0, 5).Select(lookup.FindAsync)];
        for (var left = 5; left > 0;)
        {
            var one = await NextAsync();
            Assert.False(statements.Reader.TryPeek(out _));
            left -= one.Keys.Count;
            one.Answer();
        }

        await Task.WhenAll(asked);
    }

    [Fact]
    public async Task Under_load_the_first_to_ask_shares_a_statement_too()
    {
        var lookup = Lookup();
        var most = 0;
        for (var round = 0; round < 100; round++)
        {
            var asked = Enumerable.Range(0, 20).Select(lookup.FindAsync).ToList();
            for (var left = 20; left > 0;)
            {
                var statement = await NextAsync();
                if (left == 20)
                    most = Math.Max(most, statement.Keys.Count);
                left -= statement.Keys.Count;
                statement.Answer();
            }

            await Task.WhenAll(asked);
        }

        Assert.InRange(most, 2, 20);
    }

    [Fact]
    public async Task A_statement_reads_a_bounded_number_of_rows()
    {
        var lookup = Lookup();
        var asked = Enumerable.Range(0, 301).Select(lookup.FindAsync).ToList();
        foreach (var count in (int[])[1, 128, 128, 44])
        {
            var statement = await NextAsync();
            Assert.Equal(count, statement.Keys.Count);
            statement.Answer();
        }

        await Task.WhenAll(asked);
    }

    [Fact]
    public async Task What_the_server_cannot_read_fails_those_alone_who_ask_for_it()
    {
        var lookup = Lookup();
        var asked = Enumerable.Range(0, 6).Select(lookup.FindAsync).ToList();
        (await NextAsync()).Answer();
        var damaged = ApiError.StorageUnavailable(
            new PostgresException("invalid page", "ERROR", "ERROR", PostgresErrorCodes.DataCorrupted));
        (await NextAsync()).Rows.SetException(damaged);
        for (var i = 1; i < 6; i++)
        {
            var alone = await NextAsync();
            if (Assert.Single(alone.Keys) == 3)
                alone.Rows.SetException(damaged);
            else
                alone.Answer();
        }

        await Assert.ThrowsAsync<ApiError>(() => asked[3]);
        asked.RemoveAt(3);
        Assert.Equal((IEnumerable<string?>)["row 0", "row 1", "row 2", "row 4", "row 5"], await Task.WhenAll(asked));
    }

    [Fact]
    public async Task A_database_that_is_away_fails_all_who_wait_and_is_asked_again_for_the_next()
    {
        var lookup = Lookup();
        var asked = Enumerable.Range(0, 5).Select(lookup.FindAsync).ToList();
        var away = ApiError.StorageUnavailable(new NpgsqlException("connection refused"));
        (await NextAsync()).Rows.SetException(away);
        (await NextAsync()).Rows.SetException(away);
        foreach (var task in asked)
            await Assert.ThrowsAsync<ApiError>(() => task);

        var back = lookup.FindAsync(1);
        (await NextAsync()).Answer();
        Assert.Equal("row 1", await back);
    }

    private PostgresLookup<int, string> Lookup() => new(async keys =>
    {
        var statement = new Statement(keys);
        await statements.Writer.WriteAsync(statement);
        return await statement.Rows.Task;
    }, 8, time);

    private async Task<Statement> NextAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        return await statements.Reader.ReadAsync(limit.Token);
    }

    private sealed record Statement(IReadOnlyList<int> Keys)
    {
        public TaskCompletionSource<IReadOnlyList<string?>> Rows { get; } = new();

        // Keys that end in 9 have no row.
        public void Answer() => Rows.SetResult([.. Keys.Select(key => key % 10 == 9 ? null : $"row {key}")]);
    }
}
