using System.CommandLine;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// What <c>dev</c> and <c>serve</c> share: their common options, the ready file, and running until told to stop.
/// </summary>
internal static class RunningServer
{
    /// <summary>How long a start that is told to stop may take to end what it has begun.</summary>
    private static readonly TimeSpan Farewell = TimeSpan.FromSeconds(2);

    /// <summary>
    /// A flag for each of the settings. Their values are text: flags, environment and file are read alike.
    /// </summary>
    public static IReadOnlyList<Option<string?>> Flags(IEnumerable<Setting> settings) =>
        [.. settings.Select(setting => new Option<string?>($"--{setting.Name}")
    {
        Description = $"{setting.Help} Default: {setting.Default}.",
        HelpName = setting.Value,
        Arity = setting.IsSwitch ? ArgumentArity.ZeroOrOne : ArgumentArity.ExactlyOne,
    })];

    /// <summary>The values of the flags that were given, by the settings' names.</summary>
    public static IReadOnlyDictionary<string, string> Given(ParseResult parsed, IEnumerable<Option<string?>> flags) =>
        flags.Where(flag => parsed.GetResult(flag) is not null)
            .ToDictionary(flag => flag.Name.TrimStart('-'),
                flag => parsed.GetResult(flag)!.Tokens is [var value] ? value.Value : "true");

    /// <summary>What this start accepts as lost; given as often as there are nodes that a refusal names.</summary>
    public static Option<AcceptedRollback[]> AcceptRollback() => new(AcceptedRollback.Flag)
    {
        Description = "Accept, for this start only, that the audit log of a node ends at an entry and that what came " +
            "after it is lost. A refused start prints the value. The audit log records it; it is not a setting.",
        HelpName = "NODE:SEQUENCE",
        Arity = ArgumentArity.OneOrMore,
        CustomParser = result =>
        {
            var pairs = result.Tokens.Select(token => AcceptedRollback.Parse(token.Value)).ToArray();
            if (pairs.Any(pair => pair is null))
                result.AddError($"{AcceptedRollback.Flag} needs NODE:SEQUENCE, as the refused start printed it.");
            return [.. pairs.OfType<AcceptedRollback>()];
        },
        DefaultValueFactory = static _ => [],
    };

    /// <summary>Starts a server and has it run until it is told to stop.</summary>
    /// <param name="options">How.</param>
    /// <param name="announce">Says that it serves, once it does.</param>
    /// <param name="showKeys">
    /// Shows the keys of a new store before it is stored; null if a ready file is to have them, or else nobody.
    /// </param>
    /// <param name="signals">What tells it to stop.</param>
    public static async Task<int> RunAsync(
        CofferOptions options, Action<Started> announce, Action<Started>? showKeys, StopSignals signals)
    {
        if (options.Store is null)
            ReadingThread.Use();
        using var manager = ServiceManager.OfEnvironment(TimeProvider.System);
        var ready = ReadyFile.At(options.ReadyFile);
        var steps = new StartSteps
        {
            DirectoryIsHeld = () => ready?.RemoveStale(),
            KeysAreMade = started => Keep(started, ready, showKeys),
        };
        // On a thread of its own: what blocks it blocks no stop.
        var starting = Task.Run(() => Server.StartAsync(options, TimeProvider.System, signals.Stop, steps),
            CancellationToken.None);
        try
        {
            var server = await starting.WaitAsync(signals.Stop);
            return await ServeAsync(server, options, announce, ready, signals, manager);
        }
        catch (OperationCanceledException) when (signals.Stop.IsCancellationRequested)
        {
            // It takes back what it has begun; what it may hang on is not waited for.
            await Task.WhenAny(starting, Task.Delay(Farewell, signals.Hurry));
            if (starting.IsCompletedSuccessfully)
                await starting.Result.StopAsync(options.StopWithin);
            return ExitCode.Ok;
        }
    }

    private static void Keep(Started started, ReadyFile? ready, Action<Started>? showKeys)
    {
        try
        {
            if (ready is not null)
                ready.Keep(started);
            else
                showKeys?.Invoke(started);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StandardStreamException($"the first keys of the store cannot be shown: {Cause.Of(e)}",
                "The store was not made: the next start makes it, with other keys. Give --ready-file, or run coffer "
                    + "init first.");
        }
    }

    private static async Task<int> ServeAsync(
        Server server, CofferOptions options, Action<Started> announce, ReadyFile? ready, StopSignals signals,
        ServiceManager? manager)
    {
        var status = $"It serves {server.Url}";
        try
        {
            signals.OnReload(() =>
            {
                manager?.Reloading();
                server.Reload();
                manager?.Ready(status);
            });
            announce(server.Started);
            ready?.Write(server.Started);
            if (ready?.OthersKeys is { } others)
            {
                const string Others = "{File} has first keys that are not this store's, or of a release before: move "
                    + "them to their place";
                server.Log.LogWarning(Others, others);
            }

            manager?.Ready(status);
            manager?.Watch(() => server.DeadLoop, server.Log);
            await Task.Delay(Timeout.InfiniteTimeSpan, signals.Stop).ContinueWith(static _ => { },
                TaskScheduler.Default);
            manager?.Stopping();
            if (signals.IsDraining)
                await server.DrainAsync(options.Drain, signals.Hurry);
        }
        finally
        {
            await server.StopAsync(options.StopWithin);
        }

        return ExitCode.Ok;
    }
}
