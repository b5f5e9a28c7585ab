using System.Text;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// A directory in which signed receipts outlive the store, a file each. What could not be written, or another node has
/// signed, is written later from the store: it keeps a receipt until it was.
/// </summary>
/// <param name="path">The directory, which is not made: it may be of a disk that is away.</param>
/// <param name="log">Says that it cannot be written, and when it can again.</param>
internal sealed class ReceiptFolder(string path, ILogger<ReceiptFolder> log)
{
    private const int Batch = 100;

    private const string Away = "receipts cannot be written to their directory; the server's log says why";

    private readonly LastingFailure failing = new(log);
    private volatile bool isBehind = true;

    /// <summary>Why receipts are not in the directory, or null.</summary>
    public string? Trouble => failing.IsOn ? Away : null;

    /// <summary>Whether it may lack some that the store has.</summary>
    public bool IsBehind => isBehind;

    /// <summary>Writes a receipt that was signed: durable, whole or not at all, readable by this user alone.</summary>
    public void Write(Receipt receipt) => Try(() =>
    {
        if (!isBehind)
            WriteFile(receipt);
    });

    /// <summary>Writes all that the store has and the directory lacks.</summary>
    public async Task CatchUpAsync(Engine engine, Instance instance, CancellationToken ct)
    {
        var isThere = Try(() =>
        {
            if (!Directory.Exists(path))
                throw new DirectoryNotFoundException($"there is no directory {path}");
        });
        if (!isThere)
            return;
        await foreach (var rows in Engine.PagesAsync(
            Batch, (after, most) => engine.ListSignedReceiptsAsync(after, most, ct), static row => row.Id))
        {
            var isWritten = Try(() =>
            {
                foreach (var row in rows.Where(row => !File.Exists(FileOf(row.Id))))
                {
                    if (Receipt.From(row, instance) is { } receipt)
                        WriteFile(receipt);
                }
            });
            if (!isWritten)
                return;
        }

        isBehind = false;
        if (failing.End())
            log.LogInformation("Receipts are written to {Directory} again", path);
    }

    private string FileOf(string id) => Path.Combine(path, id + SignedReceipt.Suffix);

    private void WriteFile(Receipt receipt) =>
        DurableFile.Write(FileOf(receipt.Id), Encoding.ASCII.GetBytes(receipt.Text + "\n"), overwrite: true);

    private bool Try(Action write)
    {
        try
        {
            write();
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            isBehind = true;
            failing.Begin(LogLevel.Error, e, $"Receipts are kept, and written later: {path} cannot be written");
            return false;
        }
    }
}
