using Coffer.Storage.Postgres;

namespace Coffer.Tests.Postgres;

/// <summary>No part of a connection string that may be a password is in a message, however it was mistyped.</summary>
[Trait("Reports from the field", "R2-16")]
public sealed class AddressSecretsTests
{
    [Theory]
    [InlineData("Host=127.0.0.1;Port=1;Username=coffer;Password=canary;Timeout=1")] // nobody listens there
    [InlineData("Host=db.invalid;Username=coffer;Password=canary;Timeout=1")]
    [InlineData("Host=127.0.0.1;Port=x;Password=canary")]
    [InlineData("Host=127.0.0.1;Port=1;Pasword=canary")]
    [InlineData("Host=127.0.0.1;Port=1;Password=canary;Prot=1")]
    [InlineData("Host=127.0.0.1;Port=1;Password='canary")]
    [InlineData("Host=127.0.0.1;Port=1;Password=\"canary")]
    [InlineData("Host=127.0.0.1;Port=1 Password=canary")]
    [InlineData("Host=127.0.0.1,Password=canary;Port=1;Timeout=1")]
    [InlineData("Host=coffer:canary@127.0.0.1;Port=1;Timeout=1")]
    [InlineData("postgres://coffer:canary@127.0.0.1:1/coffer")]
    [InlineData("postgresql://coffer:canary@127.0.0.1:1/coffer?sslmode=require")]
    [InlineData("jdbc:postgresql://127.0.0.1:1/coffer?user=coffer&password=canary")]
    [InlineData("Host=127.0.0.1;Port=1;Username=coffer;Password=canary;SSL Mode=Sometimes")]
    [InlineData("Host=127.0.0.1;Port=1;Username=coffer;Password=canary;Timeout=-1")]
    [InlineData("Host=127.0.0.1;Port=1;Username=coffer;Password=canary;Passfile=/none;Pooling=perhaps")]
    [InlineData("Host=127.0.0.1;Port=1;SSL Password=canary;SSL Certificate=/none;SSL Mode=Require;Timeout=1")]
    [InlineData("PGPASSWORD=canary Host=127.0.0.1")]
    [InlineData("Password=canary")]
    [InlineData("canary")]
    [InlineData("canary;canary=canary")]
    public async Task A_store_that_cannot_be_opened_is_refused_without_its_password(string store)
    {
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenAsync(store, default));
        for (Exception? e = refused; e is not null; e = e.InnerException)
            Assert.DoesNotContain("canary", e.Message, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("canary", refused.Hint, StringComparison.OrdinalIgnoreCase);
    }
}
