using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;
using Coffer.Transfer;

namespace Coffer.Hosting;

/// <summary>
/// Receipts in a directory, all of one store: which accounts do not come back with an older copy of it, and which files
/// of keys are old.
/// </summary>
internal sealed class KnownReceipts
{
    private const int MostShown = 20;

    private readonly List<(string File, SignedReceipt Receipt)> all = [];

    private KnownReceipts()
    {
    }

    /// <summary>How many there are.</summary>
    public int Count => all.Count;

    /// <summary>Reads and proves them.</summary>
    /// <param name="directory">The directory; what is no receipt by its name is left out.</param>
    /// <param name="instance">The store.</param>
    /// <exception cref="ConfigurationException">
    /// There is no such directory, or one was edited, or is of another store: each is named.
    /// </exception>
    public static KnownReceipts Read(string directory, Instance instance)
    {
        if (!Directory.Exists(directory))
            throw new ConfigurationException($"there is no directory {directory}", "Give the directory of receipts.");
        var (known, wrong) = (new KnownReceipts(), new List<string>());
        foreach (var file in Directory.EnumerateFiles(directory, "*" + SignedReceipt.Suffix).Order())
        {
            try
            {
                known.all.Add((file, SignedReceipt.ReadFile(file, instance.Id, instance.Signing.Public)));
            }
            catch (InvalidDataException e)
            {
                wrong.Add($"{file}: {e.Message}");
            }
        }

        if (wrong.Count == 0)
            return known;
        var more = wrong.Count > MostShown ? $"; and {wrong.Count - MostShown} more" : "";
        throw new ConfigurationException(
            $"{wrong.Count} receipts are not this store's: {string.Join("; ", wrong.Take(MostShown))}{more}",
            "Give the directory with the receipts of this store, as they were written, and no others. Nothing was "
                + "changed.");
    }

    /// <summary>Proves one receipt by public keys.</summary>
    /// <param name="file">Its file.</param>
    /// <param name="publicKeys">The keys as PEM, as coffer audit public-key shows them.</param>
    /// <param name="shown">Where they are from, to be shown.</param>
    /// <returns>What was signed, as JSON.</returns>
    /// <exception cref="ConfigurationException">The text has no public key.</exception>
    /// <exception cref="InvalidDataException">It does not verify.</exception>
    public static string Verify(string file, string publicKeys, string shown) => SignedReceipt.ReadFile(
        file, store: null, AuditArchive.PublicKeysIn(publicKeys, shown)).Statement;

    /// <summary>Refuses keys of tenants of a back-up that have an account which newer ones have no more.</summary>
    /// <exception cref="ConfigurationException">A receipt says so.</exception>
    public void RequireNewest(OpenedBackup backup)
    {
        foreach (var (file, receipt) in all)
        {
            if (receipt.BackUp is { } of && of.Backup == backup.Header.Id && of.Part > backup.KeysHeader.Number)
            {
                throw new ConfigurationException(
                    $"the keys of tenants are an old copy, number {backup.KeysHeader.Number}: {file} says that "
                        + $"{receipt.Account} of {receipt.App} was taken out of number {of.Part}",
                    "Give the newest copy of the file of keys with --keys, and destroy the old ones.");
            }
        }
    }

    /// <summary>
    /// Forgets again what they say was forgotten, and uninstalls what was uninstalled, if it is there because the store
    /// is older.
    /// </summary>
    /// <returns>How many accounts were forgotten.</returns>
    public async Task<int> ApplyAsync(OfflineStore store, CancellationToken ct)
    {
        var forgotten = 0;
        foreach (var (_, receipt) in all)
        {
            // What the store knows was before it: what is there of the account came after.
            if (receipt.BackUp is null && await store.Engine.FindReceiptAsync(receipt.Id, ct) is not { IsSound: true }
                && await ApplyAsync(store, receipt, ct))
                forgotten++;
        }

        return forgotten;
    }

    private static Task<bool> ApplyAsync(OfflineStore store, SignedReceipt receipt, CancellationToken ct) =>
        receipt.Livemode is { } livemode
            ? RestoredStore.UninstallAsync(
                store, new TenantId(receipt.App, livemode, receipt.Account), receipt, ct)
            : RestoredStore.ForgetAsync(store, receipt.App, receipt.Account, receipt, ct);
}
