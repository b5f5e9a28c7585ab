namespace Coffer.Keys;

/// <summary>A renewal of the store after its root key has leaked, as far as it has come.</summary>
/// <param name="State">How far that is.</param>
/// <param name="Root">The oldest root key that may be left when the pepper is made.</param>
/// <param name="Pepper">The number of the pepper that it makes.</param>
/// <param name="Created">When it was asked for, in Unix seconds.</param>
internal sealed record Renewal(RenewalState State, uint Root, uint Pepper, long Created);

/// <summary>
/// How far a renewal has come: asked for, while root keys are replaced; there is a new pepper, and what the one before
/// has proven is believed and proven again; the new one alone is believed, while the keys of all tenants rotate; and
/// only an owner's word is left.
/// </summary>
internal enum RenewalState : byte
{
    Asked = 1,
    Proving = 2,
    Listed = 3,
    Waiting = 4,
}
