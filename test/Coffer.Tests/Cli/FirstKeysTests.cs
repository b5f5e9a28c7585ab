using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Tests.Cli;

/// <summary>A store knows its first keys only once somebody has them.</summary>
[Trait("Firm edges", "2")]
public sealed class FirstKeysTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    private CofferOptions Options => new() { Data = directory.Path, Listen = "http://127.0.0.1:0" };

    [Fact]
    public async Task Keys_that_nobody_could_be_given_are_never_stored_and_the_next_start_makes_others()
    {
        FirstKeys? lost = null;
        await Assert.ThrowsAsync<IOException>(() => StartAsync(keys =>
        {
            lost = keys;
            throw new IOException("the disk is full");
        }));
        Assert.NotNull(lost);

        FirstKeys? given = null;
        var server = await StartAsync(keys => given = keys);
        Assert.Same(given, server.FirstKeys);
        Assert.NotEqual(lost.AdminKey, given!.AdminKey);
        await server.DisposeAsync();

        await using var again = await StartAsync(_ => Assert.Fail("a store is made once"));
        Assert.Null(again.FirstKeys);
    }

    [Fact]
    [Trait("Firm edges", "3")]
    public async Task A_store_is_made_without_being_served_and_only_once_its_keys_are_kept()
    {
        await Assert.ThrowsAsync<IOException>(() => NewStore.MakeAsync(Options, TimeProvider.System,
            _ => throw new IOException("the disk is full"), default));

        FirstKeys? kept = null;
        await NewStore.MakeAsync(Options, TimeProvider.System, keys =>
        {
            kept = keys;
            return Task.CompletedTask;
        }, default);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => NewStore.MakeAsync(Options,
            TimeProvider.System, _ => Task.CompletedTask, default));
        Assert.Contains("there is a store already", refused.Message, StringComparison.Ordinal);

        await using var server = await StartAsync(_ => Assert.Fail("a store is made once"));
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = server.Url };
        http.DefaultRequestHeaders.Authorization = new("Bearer", kept!.AdminKey);
        using var answer = await http.GetAsync(new Uri("/admin/v1/apps", UriKind.Relative));
        Assert.True(answer.IsSuccessStatusCode);
    }

    [Fact]
    [Trait("Firm edges", "7")]
    public async Task The_directory_that_it_is_started_in_may_be_gone()
    {
        using var app = Listeners.Build(Options, TimeProvider.System);
        var root = app.Environment.ContentRootPath.TrimEnd(Path.DirectorySeparatorChar);
        Assert.Equal(AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar), root);
        await app.DisposeAsync();
    }

    public void Dispose() => directory.Dispose();

    private Task<Server> StartAsync(Action<FirstKeys> made) =>
        Server.StartAsync(Options, TimeProvider.System, default, new StartSteps
        {
            KeysAreMade = started => made(started.FirstKeys!),
        });
}
