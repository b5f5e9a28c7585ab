using Coffer.Hosting;
using Coffer.Transfer;

namespace Coffer.Tests.Support;

/// <summary>Exported audit logs.</summary>
internal static class Exports
{
    /// <summary>Exports the log of a store.</summary>
    public static async Task WriteAsync(StoreLocation store, string file)
    {
        await using var writer = new StreamWriter(file) { NewLine = "\n" };
        await AuditArchive.ExportAsync(store, writer, default);
    }

    /// <summary>Verifies one with a key file.</summary>
    public static Task<AuditArchive.AuditReport> VerifyAsync(string file, string keyFile, string? checkpoints) =>
        AuditArchive.VerifyExportAsync(file, new KeySettings([WrapperUrl.Of(keyFile)]), checkpoints, default);
}
