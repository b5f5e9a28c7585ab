using System.Diagnostics;

namespace Coffer.EndToEnd;

/// <summary>Clients that know what their secrets must be, and continue whatever happens behind the servers.</summary>
/// <param name="writers">The clients.</param>
internal sealed class SteadyLoad(IReadOnlyList<SteadyWriter> writers) : IDisposable
{
    /// <summary>Within which each writer is answered again, once what was away is back.</summary>
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(15);

    private readonly CancellationTokenSource stop = new();
    private IReadOnlyList<Task> working = [];

    /// <summary>How many requests were answered 503.</summary>
    public int Refused => writers.Sum(writer => writer.Refused);

    public void Start() => working = [.. writers.Select(writer => Task.Run(() => writer.RunAsync(stop.Token)))];

    /// <summary>Returns once each writer was answered 503.</summary>
    public Task UntilRefusedAsync()
    {
        var before = writers.Select(writer => writer.Refused).ToList();
        return UntilAsync(() => writers.Index().All(each => each.Item.Refused > before[each.Index]),
            "requests are answered by what is away");
    }

    /// <summary>Returns once each writer has a set acknowledged that it sends from now on.</summary>
    /// <param name="when">What has happened before, for the reader of the test's output.</param>
    public async Task UntilAnsweredAsync(string when)
    {
        var (moment, waited) = (Stopwatch.GetTimestamp(), Stopwatch.StartNew());
        await UntilAsync(() => writers.All(writer => writer.IsAnsweredSince(moment)), $"{when}: no answer");
        TestContext.Current.TestOutputHelper?.WriteLine($"{when}: answered after {waited.Elapsed.TotalSeconds:0.00} s");
    }

    /// <summary>Returns once something is so, as long as no writer has failed.</summary>
    public async Task UntilAsync(Func<bool> isSo, string complaint)
    {
        for (var waited = Stopwatch.StartNew(); !isSo(); await Task.Delay(20, TestContext.Current.CancellationToken))
        {
            if (working.FirstOrDefault(work => work.IsCompleted) is { } failed)
                await failed;
            Assert.True(waited.Elapsed < Soon, complaint);
        }
    }

    /// <summary>Ends it. Each of the servers has what was acknowledged to each writer last.</summary>
    public async Task EndAsync(params IEnumerable<Uri> servers)
    {
        await stop.CancelAsync();
        await Task.WhenAll(working);
        foreach (var server in servers)
            await Task.WhenAll(writers.Select(writer => writer.CheckAsync(server)));
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{writers.Sum(writer => writer.Acknowledged)} acknowledged, 0 lost, {Refused} answered 503");
    }

    public void Dispose()
    {
        stop.Cancel();
        foreach (var writer in writers)
            writer.Dispose();
        stop.Dispose();
    }
}
