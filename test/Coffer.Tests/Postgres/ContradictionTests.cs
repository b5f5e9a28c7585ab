using Coffer.Storage;
using Coffer.Storage.Postgres;

namespace Coffer.Tests.Postgres;

/// <summary>
/// Connection strings that say what a node cannot do with, or contradict themselves: it works all the same, or one
/// sentence names the cause.
/// </summary>
[Trait("Reports from the field", "R2-22")]
public sealed class ContradictionTests(PostgresServer server)
{
    [Theory]
    [InlineData("Pooling=false")]
    [InlineData("Multiplexing=true")]
    [InlineData("Multiplexing=true;Pooling=false")]
    [InlineData("Target Session Attributes=standby")]
    [InlineData("Target Session Attributes=read-only;Load Balance Hosts=true")]
    [InlineData("Maximum Pool Size=1")]
    [InlineData("Minimum Pool Size=50")]
    [InlineData("Minimum Pool Size=50;Maximum Pool Size=2")]
    [InlineData("No Reset On Close=false;Enlist=true")]
    [InlineData("Command Timeout=0;Cancellation Timeout=-1")]
    [InlineData("Connection Lifetime=1;Connection Idle Lifetime=1;Connection Pruning Interval=1")]
    [InlineData("Max Auto Prepare=0;Auto Prepare Min Usages=1")]
    [InlineData("Max Auto Prepare=1;Auto Prepare Min Usages=1")]
    [InlineData("Read Buffer Size=512;Write Buffer Size=512")]
    [InlineData("Keepalive=1;Tcp Keepalive=true")]
    [InlineData("Client Encoding=LATIN1")]
    [InlineData("Timezone=Asia/Kathmandu")]
    [InlineData("Server Compatibility Mode=NoTypeLoading")]
    [InlineData("Options=-c default_transaction_isolation=serializable")]
    [InlineData("Options=-c synchronous_commit=off -c jit=on -c enable_indexscan=off")]
    [InlineData("Options=-c lc_messages=C -c DateStyle=German -c bytea_output=escape")]
    [InlineData("Options=-c idle_in_transaction_session_timeout=1s")]
    [InlineData("Options=-c default_transaction_read_only=on")]
    [InlineData("Server Compatibility Mode=Redshift")]
    [InlineData("Application Name=")]
    public async Task A_node_works_with_it(string more)
    {
        using var engine = await PostgresEngine.OpenAsync($"{await server.NewDatabaseAsync()};{more}", default);
        await engine.JoinAsync(default);
        await using (await engine.HoldStartAsync(default))
        {
            for (var i = 0; i < 5; i++)
            {
                engine.Write([new Change.Plain(new RowWrite.PutMeta("ключ", [(byte)i]))], _ => null);
                Assert.Equal([(byte)i], (await engine.FindMetaAsync("ключ", default))!);
                Assert.Null(await engine.FindSecretAsync(new SecretKey(1, [1]), default));
            }
        }
    }

    [Theory]
    [InlineData("Search Path=nowhere", "schema")]
    [InlineData("Options=-c no_such_setting=1", "no_such_setting")]
    [InlineData("Database=nowhere", "nowhere")]
    [InlineData("Username=nobody", "nobody")]
    [InlineData("SSL Mode=Require", "SSL")]
    public async Task It_is_refused_and_the_cause_is_named(string more, string cause)
    {
        var store = $"{await server.NewDatabaseAsync()};{more}";
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenAsync(store, default));
        Assert.Contains(cause, $"{refused.Message} {refused.Hint}", StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain('\n', refused.Message);
    }
}
