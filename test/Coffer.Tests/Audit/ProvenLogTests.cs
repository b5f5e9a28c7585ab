namespace Coffer.Tests.Audit;

/// <summary>
/// A server whose log has eleven entries: three of the first start, in one row, and a row for each of eight more.
/// </summary>
public abstract class ProvenLogTests : ServerTests
{
    private protected string Checkpoints => Path.Combine(Server.Data, "audit-checkpoints.jsonl");

    public sealed override async ValueTask InitializeAsync()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "a file is copied, and rows in it are edited");
        await base.InitializeAsync();
        await SetAsync(8);
    }

    /// <summary>Stops it, and keeps its public keys in a file.</summary>
    private protected async Task<string> StopAsync()
    {
        await Server.StopAsync();
        return await PublicProofs.KeepAsync(Server.Data);
    }

    private protected async Task SetAsync(int count)
    {
        for (var i = 0; i < count; i++)
            (await Server.Client().Set($"k{i}")).IsOk();
    }
}
