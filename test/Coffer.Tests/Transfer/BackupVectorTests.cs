using System.Text.Json;
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Transfer;

namespace Coffer.Tests.Transfer;

/// <summary>A back-up that another implementation wrote is read as it says (vectors/backup-v1.json).</summary>
public sealed class BackupVectorTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    [Fact]
    public async Task A_back_up_is_read_as_another_implementation_wrote_it()
    {
        using var vector = JsonDocument.Parse(
            await File.ReadAllTextAsync(Repository.File("vectors/backup-v1.json")));
        var file = directory.File("store");
        await File.WriteAllBytesAsync(file, vector.RootElement.GetProperty("data").GetBytesFromBase64());
        await File.WriteAllBytesAsync(
            file + BackupKeys.Suffix, vector.RootElement.GetProperty("keys").GetBytesFromBase64());
        // The line that docs/envelope.md shows: its key is the bytes 00 to 1f.
        var key = directory.File("coffer.key");
        await File.WriteAllTextAsync(key,
            "coffer-key-v1 1 2026-11-21T08:20:04Z AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 eb39805b\n");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(key, UnixFileMode.UserRead | UnixFileMode.UserWrite);

        using var backup = await OpenedBackup.OpenAsync(
            file, file + BackupKeys.Suffix, KeyWrappers.OfFile(key), anchor: null, default);
        Assert.Equal(("00112233445566778899aabbccddeeff", 1_795_247_460L, 1L),
            (backup.Header.Id, backup.Header.Created, backup.Forgotten));
        var tenant = Assert.Single(backup.Read(TenantRow.Table));
        Assert.Equal([7L, "app_1", 0L, "acct_1", 1_795_247_460L], tenant[..5]);
        Assert.Equal("sealed"u8.ToArray(), (byte[])tenant[5]!);
        Assert.Equal(["node_1", 1L, 2L], Assert.Single(backup.Read(AuditRow.Table))[..3]);
        Assert.Equal([("meta", 0L), ("tenants", 9L), ("audit", 3L)],
            backup.Tables.Select(each => (each.Table.Name, each.Position)));
    }

    public void Dispose() => directory.Dispose();
}
