// What the parts that are cleverer than they would have to be are worth: each beside the plain way to do the same, in
// turn, in one process. Prints the median of the rounds, in nanoseconds, and the ratio. Or what the parts of a request
// take and allocate; or what metrics and traces cost a find. Usage: bench/micro [ROUNDS, 9], bench/micro parts, or by
// bench/telemetry
using System.Diagnostics;
using System.Security.Cryptography;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using Coffer;
using Coffer.Crypto;
using Coffer.Micro;

if (args is ["telemetry", var pairs, var seconds, var warm, var collector])
{
    await TelemetryCosts.RunAsync(int.Parse(pairs, null), int.Parse(seconds, null), int.Parse(warm, null), collector);
    return;
}

if (args is ["parts"])
{
    // In this process: what is measured is the program's own, and no other assembly sees it.
    BenchmarkRunner.Run<Parts>(ManualConfig.Create(DefaultConfig.Instance)
        .AddJob(Job.ShortRun.WithToolchain(InProcessNoEmitToolchain.Instance))
        .WithArtifactsPath(Path.Combine(Path.GetTempPath(), "coffer-micro")));
    return;
}

var rounds = args.Length > 0 ? int.Parse(args[0], null) : 9;
var (nonce, sealedBytes, plain, mac) = (new byte[24], new byte[216], new byte[200], new byte[32]);

// A key that is used often keeps what is prepared for it; of many that are used now and then none does.
using var hot = new Xaes256Gcm(RandomNumberGenerator.GetBytes(32));
var cold = Enumerable.Range(0, 20_000).Select(_ => new Xaes256Gcm(RandomNumberGenerator.GetBytes(32))).ToArray();
hot.Encrypt(nonce, plain, sealedBytes, default);
var coldSealed = Array.ConvertAll(cold, key =>
{
    var sealedByKey = new byte[216];
    key.Encrypt(nonce, plain, sealedByKey, default);
    return sealedByKey;
});
await CompareAsync("open 200 bytes: context kept, set up each time", 20_000,
    i => hot.TryDecrypt(nonce, sealedBytes, plain, default),
    i => cold[i].TryDecrypt(nonce, coldSealed[i], plain, default));

var label = "micro"u8.ToArray();
using var hotMac = MacKey.Derived(RandomNumberGenerator.GetBytes(32), label);
var coldMacs = Enumerable.Range(0, 20_000).Select(_ => MacKey.Derived(RandomNumberGenerator.GetBytes(32), label))
    .ToArray();
await CompareAsync("MAC of 100 bytes: context kept, set up each time", 20_000,
    i => hotMac.Compute(mac, plain.AsSpan(0, 100)),
    i => coldMacs[i].Compute(mac, plain.AsSpan(0, 100)));

using var twice = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, RandomNumberGenerator.GetBytes(32));
await CompareAsync("MAC of 28 and 150 bytes: in one call, in two", 20_000,
    i => hotMac.Compute(mac, plain.AsSpan(0, 28), plain.AsSpan(28, 150)),
    i =>
    {
        twice.AppendData(plain.AsSpan(0, 28));
        twice.AppendData(plain.AsSpan(28, 150));
        twice.GetHashAndReset(mac);
    });
await CompareAsync("a nonce: of a block, by itself", 20_000,
    i => Nonces.Next(nonce),
    i => RandomNumberGenerator.Fill(nonce));

// The keys of tenants come and go by the ten thousand; a collection of all memory is part of what that costs.
await CompareAsync("memory of a key, with its collection: a place in a block, pinned memory of its own", 50_000,
    i => SecretBytes.ForKeys(96).Dispose(),
    i => new OwnMemory(96).Dispose(),
    after: static () => GC.Collect());

async Task CompareAsync(string what, int times, Action<int> clever, Action<int> simple, Action? after = null)
{
    var (fast, slow) = (new List<double>(), new List<double>());
    for (var round = 0; round < rounds + 2; round++)
    {
        var (a, b) = (await TimeAsync(clever), await TimeAsync(simple));
        if (round < 2)
            continue; // the JIT is at it
        fast.Add(a);
        slow.Add(b);
    }

    fast.Sort();
    slow.Sort();
    var (median, other) = (fast[fast.Count / 2], slow[slow.Count / 2]);
    Console.WriteLine($"{what}: {median:0} ns, {other:0} ns, {other / median:0.00} times");

    async Task<double> TimeAsync(Action<int> work)
    {
        await Task.Delay(5_000); // longer than what tells a hot key from a cold one
        var began = Stopwatch.GetTimestamp();
        for (var i = 0; i < times; i++)
            work(i);
        after?.Invoke();
        return Stopwatch.GetElapsedTime(began).TotalNanoseconds / times;
    }
}
