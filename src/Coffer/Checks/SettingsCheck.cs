using Coffer.Hosting;

namespace Coffer.Checks;

/// <summary>What <c>serve</c> would refuse of the settings. The certificate has a check of its own.</summary>
internal static class SettingsCheck
{
    public static Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        foreach (var problem in Preflight.Problems(at.Options))
            found.Problem(problem, Preflight.Hint);
        if (found.AreOk)
        {
            var set = at.Options.InForce.Where(setting => !setting.IsDefault).Select(setting => setting.Name);
            found.Ok($"set: {string.Join(", ", set.DefaultIfEmpty("nothing"))}; the others have their defaults");
        }

        return Task.CompletedTask;
    }
}

/// <summary>From when until when clients accept the certificate that https is served with.</summary>
internal static class CertificateCheck
{
    private const string Renew = "Renew it; a running server reads the files again by itself.";

    public static Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        if (TlsPair.Of(at.Options) is not { Cert: var cert } files)
            throw new NotLookedException("it has no key, see settings");
        var lifetime = files.ReadLifetime();
        var (from, until) = lifetime;
        var now = at.Time.GetUtcNow();
        var end = UnixTime.Shown(until.ToUnixTimeSeconds());
        switch (lifetime.At(now))
        {
            case CertificateTime.Expired:
                found.Problem($"the certificate in {cert}, or one of its chain, expired at {end}", Renew);
                break;
            case CertificateTime.ToCome:
                found.Problem($"the certificate in {cert} is good from {UnixTime.Shown(from.ToUnixTimeSeconds())} only",
                    "Check the clock, or serve another one until then.");
                break;
            case CertificateTime.Ending:
                found.Warn($"the certificate in {cert} expires at {end}, in {lifetime.DaysLeft(now)} days", Renew);
                break;
            default:
                found.Ok($"the certificate in {cert} is good until {end}");
                break;
        }

        return Task.CompletedTask;
    }
}
