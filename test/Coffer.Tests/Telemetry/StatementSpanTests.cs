using Coffer.Storage;

namespace Coffer.Tests.Telemetry;

/// <summary>What spans say of statements: the kind and the tables, and nothing of their text.</summary>
[Trait("Telemetry", "1")]
public sealed class StatementSpanTests
{
    [Theory]
    [InlineData("SELECT a FROM secrets WHERE name = 'payload'", "SELECT secrets")]
    [InlineData("INSERT INTO audit (node) VALUES ($1)", "INSERT audit")]
    [InlineData("UPDATE tenants SET counter = 1", "UPDATE tenants")]
    [InlineData("SELECT t.x FROM tenants t\n LEFT JOIN secrets s ON s.tenant = t.id", "SELECT tenants secrets")]
    [InlineData("SELECT s.x FROM unnest($1) AS asked JOIN secrets s ON true", "SELECT secrets")]
    [InlineData("SELECT x FROM canary", "SELECT")]
    [InlineData("COMMIT", "COMMIT")]
    public void A_statement_is_known_by_its_kind_and_the_tables_of_the_store(string sql, string name) =>
        Assert.Equal(name, StatementSpan.NameOf(sql));
}
