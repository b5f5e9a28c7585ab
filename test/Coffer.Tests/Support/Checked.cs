using Coffer.Checks;
using Coffer.Settings;

namespace Coffer.Tests.Support;

/// <summary>What <c>coffer check</c> found.</summary>
internal sealed record Checked(IReadOnlyList<Finding> Found)
{
    public static async Task<Checked> RunAsync(CofferOptions options, TimeProvider time) =>
        new(await Checkup.RunAsync(options, time, TestContext.Current.CancellationToken));

    /// <summary>Fails unless one finding is so.</summary>
    public Checked Says(Grade grade, string check, string text, string hint = "")
    {
        Assert.True(Found.Any(finding => finding.Grade == grade && finding.Check == check
            && finding.Text.Contains(text, StringComparison.Ordinal)
            && (finding.Hint ?? "").Contains(hint, StringComparison.Ordinal)),
            $"no {grade} of {check} with '{text}' and '{hint}' in:\n{this}");
        return this;
    }

    /// <summary>Fails unless everything is well but what these checks say.</summary>
    public Checked AndNothingElseBut(params string[] checks)
    {
        Assert.True(Found.All(finding => finding.Grade == Grade.Ok || checks.Contains(finding.Check)), $"{this}");
        return this;
    }

    public override string ToString() => string.Join('\n', Found);
}
