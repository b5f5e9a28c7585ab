using Coffer.Hosting;

namespace Coffer.Tests.Support;

/// <summary>Exported audit logs, verified with a key file.</summary>
internal static class Exports
{
    public static Task<AuditArchive.AuditReport> VerifyAsync(string file, string keyFile, string? checkpoints) =>
        AuditArchive.VerifyExportAsync(file, new KeySettings([WrapperUrl.Of(keyFile)]), checkpoints, default);
}
