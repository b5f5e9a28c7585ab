namespace Coffer;

/// <summary>Which entries of the audit log to take; null takes all.</summary>
internal sealed record AuditFilter(string? App, string? Account, string? Verb, string? Outcome, string? Key,
    DateTimeOffset? Since, DateTimeOffset? Until)
{
    /// <summary>Only what is about one of these apps.</summary>
    public IReadOnlyList<string>? HeldTo { get; init; }
}
