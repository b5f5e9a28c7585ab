using System.Diagnostics;

namespace Coffer.Keys;

/// <summary>The wrappers that an operator has set, in their order: the first that can opens the store.</summary>
internal sealed class KeyWrappers
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(250), LongestPause =
        TimeSpan.FromSeconds(5);

    private readonly IReadOnlyList<(string Url, KeyWrapper Wrapper)> all;
    private readonly TimeSpan patience;

    private KeyWrappers(IReadOnlyList<(string Url, KeyWrapper Wrapper)> all, TimeSpan patience) =>
        (this.all, this.patience) = (all, patience);

    /// <summary>Those that can be asked.</summary>
    public IEnumerable<KeyWrapper> All => all.Select(each => each.Wrapper);

    /// <summary>How the operator wrote a wrapper that holds this name; null if none is set.</summary>
    public string? UrlOf(string id) => all.FirstOrDefault(each => each.Wrapper.Holds(id)).Url;

    /// <summary>What is wrong with the others, a sentence each.</summary>
    public IReadOnlyList<string> Troubles { get; private init; } = [];

    /// <summary>The key files among them: stores of level 1 are wrapped by nothing else.</summary>
    public IEnumerable<KeyFile> Files => All.OfType<KeyFile>();

    public static KeyWrappers Of(params KeyWrapper[] wrappers) =>
        new([.. wrappers.Select(wrapper => (wrapper.Id, wrapper))], TimeSpan.Zero);

    /// <summary>A store's own key file and nothing else.</summary>
    /// <exception cref="ConfigurationException">It cannot be read.</exception>
    public static KeyWrappers OfFile(string path) => Of(KeyFile.Load(path));

    /// <summary>Makes ready what is set. One that is not there does not stand in the way of others.</summary>
    /// <exception cref="ConfigurationException">None can be made ready.</exception>
    public static KeyWrappers Open(KeySettings settings)
    {
        var (ready, troubles) = (new List<(string, KeyWrapper)>(), new List<ConfigurationException>());
        foreach (var url in settings.Urls)
        {
            try
            {
                ready.Add((url.ToString(), Open(url, settings)));
            }
            catch (ConfigurationException e)
            {
                troubles.Add(e);
            }
        }

        if (ready.Count == 0)
            throw troubles[0];
        return new(ready, settings.Patience) { Troubles = [.. troubles.Select(each => each.Message)] };
    }

    private static KeyWrapper Open(WrapperUrl url, KeySettings settings) => url.Scheme switch
    {
        WrapperUrl.Exec => new ExecWrapper(url.Rest, settings.ExecArguments, settings.ExecEnvironment),
        WrapperUrl.Vault => new VaultWrapper(url, settings),
        WrapperUrl.AwsKms => new AwsKmsWrapper(url, settings),
#if !NATIVE // which refuses these where they are set: Product.Lacks
        WrapperUrl.AzureKeyVault => new AzureKeyVaultWrapper(url, settings),
        WrapperUrl.GoogleKms => new GoogleKmsWrapper(url, settings),
#endif
        _ => KeyFile.Load(url.File!, isCredential: url.Scheme == WrapperUrl.Credential),
    };

    /// <summary>The wrapper that an operator names by its URL, or null if it is not set.</summary>
    public KeyWrapper? At(string url) => all.FirstOrDefault(each => each.Url == url).Wrapper;

    /// <summary>
    /// Asks wrappers, in their order, until one gives what is asked for. Where all fail and it may pass, they are asked
    /// again, with growing pauses or those that a service asks for, for as long as the operator has set.
    /// </summary>
    /// <param name="ask">Gives null where a wrapper has nothing to do with it.</param>
    /// <param name="waits">Whether they are asked again.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>The first answer, and what went wrong before it; no answer if none has one to give.</returns>
    /// <exception cref="KeyServiceException">Some could not be asked, and no other had an answer.</exception>
    public async Task<(T? Answer, IReadOnlyList<string> Troubles)> AskAsync<T>(
        Func<KeyWrapper, Task<T?>> ask, bool waits, CancellationToken ct)
        where T : class
    {
        var began = Stopwatch.GetTimestamp();
        for (var pause = FirstPause; ; pause = pause < LongestPause ? pause * 2 : LongestPause)
        {
            var (troubles, mayPass, wait) = (new List<string>(), false, pause);
            foreach (var (url, wrapper) in all)
            {
                try
                {
                    if (await ask(wrapper) is { } answer)
                        return (answer, troubles);
                }
                catch (KeyServiceException e)
                {
                    troubles.Add($"{url}: {e.Message}");
                    mayPass |= e.MayPass;
                    wait = e.RetryAfter > wait ? e.RetryAfter : wait;
                }
            }

            if (troubles.Count == 0)
                return (null, troubles);
            if (!mayPass || !waits || Stopwatch.GetElapsedTime(began) + wait > patience)
                throw new KeyServiceException(string.Join("; ", troubles), mayPass);
            await Task.Delay(wait, ct);
        }
    }
}
