namespace Coffer.Access;

/// <summary>What an admin key is for; each may do what the ones before it may.</summary>
internal enum Role
{
    /// <summary>Looks at what there is, and at the audit log.</summary>
    Viewer = 1,

    /// <summary>Manages apps and their keys, and reveals a secret with a reason.</summary>
    Operator = 2,

    /// <summary>Everything: admin keys, root keys, settings, what leaves the store and what is forgotten.</summary>
    Owner = 3,
}

/// <summary>Roles as words.</summary>
internal static class RoleWords
{
    public const string Viewer = "viewer", Operator = "operator", Owner = "owner";

    public static string Word(this Role role) => role switch
    {
        Role.Viewer => Viewer,
        Role.Operator => Operator,
        _ => Owner,
    };

    /// <returns>Null if the word is none.</returns>
    public static Role? Parse(string? word) => word switch
    {
        Viewer => Role.Viewer,
        Operator => Role.Operator,
        Owner => Role.Owner,
        _ => null,
    };
}
