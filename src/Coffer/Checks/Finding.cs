namespace Coffer.Checks;

/// <summary>How much a finding matters.</summary>
internal enum Grade
{
    /// <summary>Nothing is wrong.</summary>
    Ok,

    /// <summary>It works, and will not for ever, or could not be looked at.</summary>
    Warning,

    /// <summary>Something is lost, refused or unsafe, now or at the next start.</summary>
    Problem,
}

/// <summary>What a check found.</summary>
/// <param name="Check">The name of the check, for scripts: it stays.</param>
/// <param name="Grade">How much it matters.</param>
/// <param name="Text">What is so, in lower case and without a full stop. It holds no secret.</param>
/// <param name="Hint">What to do, as whole sentences; null if there is nothing to do.</param>
internal sealed record Finding(string Check, Grade Grade, string Text, string? Hint);

/// <summary>What one check finds, while it looks.</summary>
/// <param name="check">Its name.</param>
internal sealed class Findings(string check)
{
    private readonly List<Finding> found = [];

    /// <summary>All so far: a check that is given up may still be at it.</summary>
    public IReadOnlyList<Finding> All
    {
        get
        {
            lock (found)
                return [.. found];
        }
    }

    public bool AreOk => All.All(finding => finding.Grade == Grade.Ok);

    public void Ok(string text) => Add(Grade.Ok, text, hint: null);

    public void Warn(string text, string hint) => Add(Grade.Warning, text, hint);

    public void Problem(string text, string hint) => Add(Grade.Problem, text, hint);

    private void Add(Grade grade, string text, string? hint)
    {
        lock (found)
            found.Add(new Finding(check, grade, text, hint));
    }
}

/// <summary>Something could not be looked at, because of what another check has found.</summary>
/// <param name="reason">What stands in the way.</param>
internal sealed class NotLookedException(string reason) : Exception(reason);
