#pragma warning disable RS0030 // Random: nothing here is a secret.

using System.Diagnostics;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>A <c>coffer serve</c> on the shared database.</summary>
internal sealed class FailoverNode(string name, string store, TemporaryDirectory data, string key) : IAsyncDisposable
{
    public string Name { get; } = name;

    public string Store { get; } = store;

    public TemporaryDirectory Data { get; } = data;

    public bool IsAlive { get; private set; }

    /// <summary>
    /// Whether it may find nothing where another node finds a secret. What it does find must be right all the same.
    /// </summary>
    public bool MayMiss { get; set; }

    public CofferProcess Process { get; private set; } = null!;

    public AccountClients Clients { get; private set; } = null!;

    public string Key { get; private set; } = key;

    public async Task StartAsync()
    {
        await StopAsync();
        Process = await CofferProcess.ServeAsync(
            Data, "--store", Store, "--secrets-per-scope", "100", "--webhook-networks", "127.0.0.1");
        if (Key.Length == 0)
            Key = Process.TestKey;
        Clients = new AccountClients(Process.Url, Key);
        IsAlive = true;
    }

    /// <summary>A data directory for another node of the store.</summary>
    public TemporaryDirectory CopyOfData()
    {
        var copy = new TemporaryDirectory();
        File.Copy(Data.File("coffer.key"), copy.File("coffer.key"));
        File.SetUnixFileMode(copy.File("coffer.key"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return copy;
    }

    public async Task CrashAsync()
    {
        IsAlive = false;
        await Process.CrashAsync();
    }

    public async Task<int> EndAsync()
    {
        IsAlive = false;
        return await Process.StopAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Data.Dispose();
    }

    private async Task StopAsync()
    {
        IsAlive = false;
        Clients?.Dispose();
        if (Process is not null)
            await Process.DisposeAsync();
    }
}

/// <summary>Two nodes on one database, with a load on both that remembers each answer.</summary>
internal sealed class FailoverStore : IAsyncDisposable
{
    private const int Writers = 8;

    private readonly FailoverWriter[] writers = [
        .. Enumerable.Range(0, Writers).Select(number => new FailoverWriter(number, new Random(number)))];
    private CancellationTokenSource? stop;
    private Task running = Task.CompletedTask;

    public List<FailoverNode> Nodes { get; } = [];

    public FailoverTally Tally { get; } = new();

    private Receiver? Receiver { get; init; }

    /// <summary>Starts both nodes and the load on them.</summary>
    /// <param name="store">What the first node is given as its store.</param>
    /// <param name="second">What the second one is given, if that is another way to the same.</param>
    /// <param name="receiver">What is sent all that happens; null keeps no events.</param>
    public static async Task<FailoverStore> StartAsync(string store, string? second = null, Receiver? receiver = null)
    {
        var started = new FailoverStore { Receiver = receiver };
        try
        {
            await started.AddNodeAsync("first node", store, "");
            if (receiver is not null)
            {
                var node = started.Nodes[0].Process;
                await SentEvents.ListenAsync(node.Url, node.AdminKey, receiver);
            }

            await started.AddNodeAsync("second node", second ?? store, started.Nodes[0].Key);
            started.Load();
            return started;
        }
        catch
        {
            await started.DisposeAsync();
            throw;
        }
    }

    /// <summary>Lets the load run for a while.</summary>
    public async Task RunAsync(double seconds)
    {
        var first = await Task.WhenAny(running,
            Task.Delay(TimeSpan.FromSeconds(seconds), TestContext.Current.CancellationToken));
        if (first == running)
            await running; // a writer has failed, and says why
    }

    /// <summary>Has each writer rest after each operation from now on.</summary>
    public void Slow(TimeSpan rest)
    {
        foreach (var writer in writers)
            writer.Rest = rest;
    }

    /// <summary>
    /// Returns once as many more were acknowledged; as it is, enough that each account has something.
    /// </summary>
    public async Task UntilAcknowledgedAsync(int more = 80)
    {
        var enough = Tally.Acknowledged + more;
        var longest = TimeSpan.FromSeconds(30 + more / 20);
        for (var waited = Stopwatch.StartNew(); Tally.Acknowledged < enough; await RunAsync(0.1))
            Assert.True(waited.Elapsed < longest, $"too little is acknowledged while all is well: {Tally}");
    }

    /// <summary>
    /// Returns once each node has acknowledged a write that was sent after the fault, and says that it is ready.
    /// </summary>
    public async Task UntilRecoveredAsync(double seconds = 30)
    {
        for (var waited = Stopwatch.StartNew();
            Tally.Recovered.Count < Nodes.Count || !await AreReadyAsync();
            await RunAsync(0.1))
        {
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(seconds),
                $"not recovered after {waited.Elapsed}: {Tally}; "
                    + string.Join("; ", Nodes.Select(node => $"{node.Name} said {node.Process.Stderr}")));
        }
    }

    /// <summary>
    /// After a little more load, ends it and the nodes: all that was acknowledged is there, everywhere and once, and
    /// the audit log proves it.
    /// </summary>
    public async Task AssertWholeAsync()
    {
        await EndLoadAsync();
        await Task.WhenAll(Nodes.Select(node => AuditVerb.VerifiedAsync(node.Data, "--store", node.Store)));
        var verbs = (await AuditVerb.ListAsync(Nodes[0].Data, "--store", Nodes[0].Store, "--outcome", "ok"))
            .CountBy(entry => entry.GetProperty("verb").GetString()!).ToDictionary();
        Assert.Equal((Tally.Sets, Tally.Deletes), (verbs.GetValueOrDefault("set"), verbs.GetValueOrDefault("delete")));
        TestContext.Current.TestOutputHelper?.WriteLine(Tally.ToString());
    }

    /// <summary>After a little more load, ends it and the nodes: all that was acknowledged is there.</summary>
    public async Task EndLoadAsync()
    {
        await RunAsync(0.5);
        await stop!.CancelAsync();
        await running;
        await Task.WhenAll(writers.Select(writer => writer.CheckAsync(Nodes, Tally)));
        if (Receiver is not null)
            await AssertSentAsync(Receiver);
        Assert.All(await Task.WhenAll(Nodes.Select(node => node.EndAsync())), exit => Assert.Equal(0, exit));
    }

    // As many events as changes, and each was sent, in order.
    private async Task AssertSentAsync(Receiver receiver)
    {
        var listed = await SentEvents.AssertAllAsync(Nodes[0].Process.Url, Nodes[0].Key, receiver);
        var kinds = listed.CountBy(static each => each.Type).ToDictionary();
        Assert.Equal((Tally.Sets, Tally.Deletes),
            (kinds.GetValueOrDefault("secret.set"), kinds.GetValueOrDefault("secret.deleted")));
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{listed.Count} events, {receiver.All.Count} deliveries");
    }

    public async ValueTask DisposeAsync()
    {
        if (stop is not null)
            await stop.CancelAsync();
        foreach (var node in Nodes)
            await node.DisposeAsync();
        await running.ContinueWith(static _ => { }, TaskScheduler.Default);
        stop?.Dispose();
    }

    private void Load()
    {
        stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        running = FirstFailureAsync(
            [.. writers.Select(writer => Task.Run(() => writer.RunAsync(Nodes, Tally, stop.Token)))]);
    }

    private static async Task FirstFailureAsync(List<Task> tasks)
    {
        while (tasks.Count > 0)
        {
            var ended = await Task.WhenAny(tasks);
            await ended;
            tasks.Remove(ended);
        }
    }

    private async Task AddNodeAsync(string name, string store, string key)
    {
        var data = Nodes.Count == 0 ? new TemporaryDirectory() : Nodes[0].CopyOfData();
        var node = new FailoverNode(name, store, data, key);
        Nodes.Add(node);
        await node.StartAsync();
    }

    private async Task<bool> AreReadyAsync()
    {
        foreach (var node in Nodes)
        {
            if ((await node.Clients[""].GetAsync("/readyz")).Status != 200)
                return false;
        }

        return true;
    }
}
