namespace Coffer.Storage;

/// <summary>How a store in a database is reached, as it was found out at the start.</summary>
/// <param name="ArePooled">
/// Whether a pooler stands in between: then a session may be another one after each transaction, and nothing that
/// comes by on a session is relied on.
/// </param>
/// <param name="Prepare">Whether statements are prepared.</param>
internal sealed record Connections(bool ArePooled, bool Prepare)
{
    public string Way => ArePooled ? "pooled" : "direct";

    public string Statements => Prepare ? "prepared" : "not prepared";

    public string Shown => $"{Way}, statements {Statements}";
}
