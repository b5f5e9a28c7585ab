using System.Globalization;
using Coffer.Hosting;

namespace Coffer.Checks;

/// <summary>The clock of this machine, against the database's and against what the store has seen.</summary>
internal static class ClockCheck
{
    private const string SetIt = "Set the clock of this machine right, and keep it so: chronyd or systemd-timesyncd.";

    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var last = await at.FindLastChangeAsync(ct);
        var now = at.Time.GetUtcNow();
        var behind = at.Options.Store is null ? null : (await at.ConditionAsync(ct)).Behind;
        if (behind is { } offset && offset.Duration() > ClockWatch.LeastOffset)
        {
            var way = offset > TimeSpan.Zero ? "ahead of" : "behind";
            var text = string.Create(CultureInfo.InvariantCulture,
                $"the clock is {offset.Duration().TotalSeconds:0.#} seconds {way} the database's");
            if (offset.Duration() > ClockWatch.MostOffset)
                found.Problem(text, SetIt);
            else
                found.Warn(text, SetIt);
        }

        if (now <= last - ClockWatch.LeastStep)
        {
            found.Problem($"the clock says {Shown(now)}, and the store was last changed at {Shown(last!.Value)}: what "
                + "has expired is not removed until then", SetIt);
        }
        else if (now - last > ClockWatch.LongestRest && at is { Holder: null, Options.Store: null })
        {
            found.Warn($"the clock says {Shown(now)}, and the store was last changed at {Shown(last!.Value)}",
                "If the clock is right, all is well: a start removes nothing that has expired for an hour, in case it "
                    + "is not.");
        }

        if (found.AreOk)
            found.Ok(behind is null ? $"it says {Shown(now)}, after the last change of the store"
                : $"it says {Shown(now)}, as the database's clock does, after the last change of the store");
    }

    private static string Shown(DateTimeOffset moment) => UnixTime.Shown(moment.ToUnixTimeSeconds());
}
