using System.Globalization;
using System.Text;

namespace Coffer.Cli;

/// <summary>
/// Gives new shares to people, each once: at a terminal one after the other, or as files. Words go from memory that is
/// cleared to where they are shown, and through nothing else.
/// </summary>
/// <param name="shares">Their words.</param>
/// <param name="threshold">How many open the store.</param>
/// <param name="store">The store's id.</param>
internal sealed class ShareDeal(IReadOnlyList<SecretBytes> shares, int threshold, string store)
{
    private const int WordsOfLine = 4, WidthOfWord = 10;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    // The screen, and what has scrolled out of it.
    private const string Clear = "\u001b[H\u001b[2J\u001b[3J";

    /// <summary>Shows them; the next one once the last has been written down.</summary>
    /// <returns>Whether all were seen.</returns>
    public bool Show()
    {
        ConsoleCancelEventHandler clear = static (_, _) => Terminal.WriteRaw(Clear);
        Console.CancelKeyPress += clear;
        try
        {
            for (var i = 0; i < shares.Count; i++)
            {
                Terminal.WriteRaw($"{Clear}{Title(i)}\n\n");
                WriteWords(shares[i].Span);
                Terminal.WriteRaw("\nIt is not shown again. Press Enter once it is written down.");
                if (Console.ReadLine() is null)
                {
                    Terminal.WriteRaw(Clear);
                    new Failure(ExitCode.Usage, "not all shares were shown, and nothing was changed",
                        "Destroy those that were written down, and run it again.").Report();
                    return false;
                }
            }

            return true;
        }
        finally
        {
            Terminal.WriteRaw(Clear);
            Console.CancelKeyPress -= clear;
        }
    }

    /// <summary>Writes each to a file that only its owner may read.</summary>
    /// <exception cref="IOException">There are files already, or one cannot be written; none is left.</exception>
    public void Write(string directory)
    {
        if (Directory.Exists(directory) && Directory.EnumerateFileSystemEntries(directory).Any())
            throw new IOException($"{directory} is not empty, and shares are not mixed with others");
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(directory);
        else
            Directory.CreateDirectory(directory, OwnerOnly);
        var written = new List<string>();
        try
        {
            for (var i = 0; i < shares.Count; i++)
            {
                var head = Encoding.ASCII.GetBytes($"# {Title(i)}\n");
                using var content = SecretBytes.Rent(head.Length + shares[i].Length + 1);
                head.CopyTo(content.Span);
                shares[i].Span.CopyTo(content.Span[head.Length..]);
                content.Span[^1] = (byte)'\n';
                written.Add(Path.Combine(directory, string.Create(CultureInfo.InvariantCulture,
                    $"share-{i + 1}-of-{shares.Count}.txt")));
                DurableFile.Write(written[^1], content.Span, overwrite: false);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            foreach (var file in written)
                File.Delete(file);
            throw;
        }
    }

    private string Title(int share) => string.Create(CultureInfo.InvariantCulture,
        $"Recovery share {share + 1} of {shares.Count} of the Coffer store {store}. Any {threshold} open it.");

    // Numbered, as a word is asked for on the telephone.
    private static void WriteWords(ReadOnlySpan<byte> words)
    {
        var output = StandardStream.Output;
        var number = 0;
        foreach (var part in words.Split((byte)' '))
        {
            var word = words[part];
            output.Write(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{++number,4} ")));
            output.Write(word);
            output.Write(Encoding.ASCII.GetBytes(
                number % WordsOfLine == 0 ? "\n" : new string(' ', WidthOfWord - word.Length)));
        }

        output.Write("\n"u8);
    }
}
