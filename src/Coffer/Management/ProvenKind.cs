using Coffer.Access;
using Coffer.Audit;

namespace Coffer.Management;

/// <summary>
/// A kind of what a pepper proves: the register of all of it (docs/envelope.md, "What a pepper proves"). When a pepper
/// is renewed, each kind is proven again by the new one.
/// </summary>
/// <param name="Name">As docs/envelope.md calls it.</param>
/// <param name="Table">Where it stands.</param>
/// <param name="Key">In <c>meta</c>, the key, or what it begins with; null elsewhere.</param>
internal sealed record ProvenKind(string Name, string Table, string? Key = null)
{
    public static readonly ProvenKind
        ApiKey = new("API key", "api_keys"),
        EndedKey = new("ended key", "ended_keys"),
        Generation = new("generation of a tenant", "generations"),
        Receipt = new("receipt", "receipts"),
        Cut = new("beginning of a log", "meta", AuditCut.MetaPrefix),
        Rollbacks = new("accepted roll-backs", "meta", Audit.Rollbacks.MetaPrefix),
        FormatOne = new("end of ephemeral keys of format 1", "meta", Access.FormatOne.MetaKey),
        WithoutGeneration = new("end of ephemeral keys without generation", "meta",
            Access.WithoutGeneration.MetaKey),
        Rotations = new("rotations of tenant keys", "meta", TenantRotations.MetaKey);

    /// <summary>All of them.</summary>
    public static IReadOnlyList<ProvenKind> All { get; } =
    [
        ApiKey, EndedKey, Generation, Receipt, Cut, Rollbacks, FormatOne, WithoutGeneration, Rotations,
    ];
}
