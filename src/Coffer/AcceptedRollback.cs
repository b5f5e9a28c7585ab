using System.Globalization;

namespace Coffer;

/// <summary>
/// What one start is told to accept: that the audit log of a node ends where it ends now, and what came after is
/// lost.
/// </summary>
internal readonly record struct AcceptedRollback(string Node, long Sequence)
{
    /// <summary>
    /// The flag that says so. It is not a setting: what is accepted once is not accepted again by the next start.
    /// </summary>
    public const string Flag = "--accept-rollback";

    /// <summary>As the flag takes it, and as a refusal prints it.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Node}:{Sequence}");

    /// <returns>Null if the text is not of the form NODE:SEQUENCE.</returns>
    public static AcceptedRollback? Parse(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon > 0 && long.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture,
            out var sequence)
            ? new AcceptedRollback(text[..colon], sequence)
            : null;
    }
}
