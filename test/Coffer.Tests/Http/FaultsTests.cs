using Coffer.Http;
using Microsoft.Extensions.Logging;

namespace Coffer.Tests.Http;

/// <summary>A bad day does not fill the log, and what is a fault of Coffer is in it whole.</summary>
[Trait("Firm edges", "14")]
public sealed class FaultsTests
{
    private readonly KeptLog<Faults> log = new();

    [Fact]
    public async Task A_storage_that_goes_away_has_one_line_and_one_when_it_is_back_with_the_count()
    {
        var (isBack, isAsked) = (false, new SemaphoreSlim(0));
        using var faults = new Faults(_ =>
        {
            var answer = Volatile.Read(ref isBack); // what is set once it was asked is for the next time
            isAsked.Release();
            return Task.FromResult(answer);
        }, TimeProvider.System, log);
        var restart = new Npgsql.NpgsqlException("outer", new IOException("Connection refused"));
        Parallel.For(0, 24_462, i => faults.Report(
            i % 2 == 0 ? ApiError.StorageUnavailable(Thrown(restart)) : ApiError.StorageUncertain(Thrown(restart)),
            $"req_{i}"));

        var line = Assert.Single(log.Lines);
        Assert.Null(line.Exception);
        Assert.Contains("503 until it can: Connection refused. req_", line.Text, StringComparison.Ordinal);
        Assert.True(line.Text.Length < 300, line.Text);

        var ct = TestContext.Current.CancellationToken;
        Assert.True(await isAsked.WaitAsync(TimeSpan.FromSeconds(10), ct));
        Assert.Single(log.Lines); // it is asked, and is not back
        Volatile.Write(ref isBack, true);
        Assert.True(await isAsked.WaitAsync(TimeSpan.FromSeconds(10), ct));
        await UntilAsync(() => log.Lines.Count == 2);
        Assert.Contains("again, after", log.Lines[1].Text, StringComparison.Ordinal);
        Assert.Contains("24462 requests were answered 503, the last for: Connection refused", log.Lines[1].Text,
            StringComparison.Ordinal);

        // The next time is another one.
        faults.Report(ApiError.EntriesLost(), "req_next");
        Assert.Equal(3, log.Lines.Count);
    }

    [Fact]
    public void A_fault_of_Coffer_is_logged_with_where_it_happened_and_what_is_none_without()
    {
        using var faults = new Faults(static _ => Task.FromResult(false), TimeProvider.System, log);
        faults.Report(ApiError.Internal(Thrown(new InvalidOperationException("a bug"))), "req_1");
        faults.Report(ApiError.KeyServiceUnavailable(Thrown(new KeyServiceException("it is away", true))), "req_2");
        Assert.IsType<InvalidOperationException>(log.Lines[0].Exception);
        Assert.Equal((null, "req_2 answered 503: it is away"), (log.Lines[1].Exception, log.Lines[1].Text));
    }

    [Fact]
    public void Work_beside_requests_says_what_it_met_and_no_more()
    {
        var full = Thrown(new IOException("No space left on device"));
        foreach (var foreseen in (Exception[])[full, Thrown(ApiError.StorageUnavailable(full)),
            Thrown(new UnauthorizedAccessException("No space left on device"))])
            log.LogFailure(LogLevel.Warning, foreseen, "A back-up could not be made");
        log.LogFailure(LogLevel.Error, Thrown(new NotSupportedException("a bug")), "A back-up could not be made");
        Assert.All(log.Lines.Take(3), line => Assert.Equal(
            (null, "A back-up could not be made: No space left on device"), (line.Exception, line.Text)));
        Assert.IsType<NotSupportedException>(log.Lines[3].Exception);
    }

    private static T Thrown<T>(T e) where T : Exception
    {
        try
        {
            throw e;
        }
        catch (T thrown)
        {
            return thrown;
        }
    }

    private static async Task UntilAsync(Func<bool> isSo)
    {
        for (var tries = 0; !isSo(); tries++)
        {
            Assert.True(tries < 500, "it did not come");
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }
}
