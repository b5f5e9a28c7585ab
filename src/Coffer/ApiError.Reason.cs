using System.Collections.Concurrent;

namespace Coffer;

/// <summary>What operators learn of a refusal, and the client does not.</summary>
internal sealed partial class ApiError
{
    private static readonly ConcurrentDictionary<string, string> Reasons = new();

    private readonly string factory;
    private string? outcome;

    /// <summary>
    /// Why, in one fixed word for operators: the outcome that the audit log has of it, or else the name of its factory,
    /// such as <c>parameter_missing</c>. The client does not see it.
    /// </summary>
    public string Reason => outcome ?? Reasons.GetOrAdd(factory, static name => string.Concat(name.Select(
        (c, at) => char.IsAsciiLetterUpper(c) ? $"{(at == 0 ? "" : "_")}{char.ToLowerInvariant(c)}" : $"{c}")));

    /// <summary>The id of the key that it refuses, or that was used, if it is a known one. Operators see it.</summary>
    public string? KeyId { get; private set; }

    /// <summary>Says of what was just made, for operators, whom and what it refuses.</summary>
    /// <param name="keyId">The id of the key, if it is a known one.</param>
    /// <param name="because">What the audit log has of it, in one word; null leaves its own.</param>
    public ApiError Of(string? keyId, string? because = null)
    {
        (KeyId, outcome) = (keyId, because ?? outcome);
        return this;
    }
}
