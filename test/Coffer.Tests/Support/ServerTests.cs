namespace Coffer.Tests.Support;

/// <summary>Tests that each have a server of their own.</summary>
/// <param name="secretsPerScope">How many secrets a scope may hold there.</param>
public abstract class ServerTests(int secretsPerScope = 10) : IAsyncLifetime
{
    private protected TestServer Server { get; private set; } = null!;

    public virtual async ValueTask InitializeAsync() => Server = await TestServer.StartAsync(secretsPerScope);

    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return Server.DisposeAsync();
    }
}
