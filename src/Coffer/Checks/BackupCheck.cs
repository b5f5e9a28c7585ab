using System.Globalization;
using Coffer.Hosting;

namespace Coffer.Checks;

/// <summary>How old the newest scheduled back-up is, and whether its keys are beside it.</summary>
internal static class BackupCheck
{
    private const string Why = "The server's log says why. Make one by hand: coffer backup create.";

    public static Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var plan = BackupSchedule.Plan.Of(at.Options.Backups)!;
        if (!Directory.Exists(plan.Directory))
        {
            found.Problem($"there is no directory {plan.Directory}: no back-up was made", Why);
            return Task.CompletedTask;
        }

        if (BackupSchedule.List(plan.Directory, at.Instance.Id) is not [.., var newest])
        {
            found.Problem($"{plan.Directory} has no back-up of this store", Why);
            return Task.CompletedTask;
        }

        var keys = plan.KeysOf(newest.File);
        var age = at.Time.GetUtcNow() - DateTimeOffset.FromUnixTimeSeconds(newest.Header.Created);
        var shown = string.Create(CultureInfo.InvariantCulture, $"{age.TotalHours:0} hours");
        if (!File.Exists(keys))
            found.Problem($"the newest back-up has no keys: {keys} is missing", "Nothing of an account opens without.");
        else if (age > 2 * plan.Every)
        {
            found.Problem(
                $"the newest back-up is {shown} old, and one is due every {plan.Every.TotalHours:0} hours", Why);
        }
        else
            found.Ok($"the newest back-up is {shown} old");
        return Task.CompletedTask;
    }
}
