using System.Text;
using Coffer.Hosting;

namespace Coffer.Cli;

/// <summary>
/// Asks for shares, one at a time and without showing them; where there is no terminal it reads one a line. A wrong one
/// is named before the next is asked for.
/// </summary>
internal static class SharePrompt
{
    private const int MostBytes = 64 * 1024, MostTries = 10;

    /// <exception cref="InvalidDataException">There are not enough of them, or one is wrong.</exception>
    public static async Task GatherAsync(ShareGathering gathering, CancellationToken ct)
    {
        if (Console.IsInputRedirected)
            await ReadAsync(gathering, ct);
        else
            await AskAsync(gathering, ct);
    }

    private static async Task AskAsync(ShareGathering gathering, CancellationToken ct)
    {
        for (var tries = 0; gathering.Given < gathering.Needed;)
        {
            var name = $"share {gathering.Given + 1} of {gathering.Needed}";
            try
            {
                var typed = await Terminal.AskAsync($"Words of {name}:", "type the words of one share", ct);
                using var text = SecretBytes.Rent(Encoding.UTF8.GetByteCount(typed));
                Encoding.UTF8.GetBytes(typed, text.Span);
                gathering.Add(text.Span);
                tries = 0;
            }
            catch (Exception e) when (e is FormatException or InvalidDataException)
            {
                if (++tries == MostTries)
                    throw new InvalidDataException($"{name}: {e.Message}", e);
                await Console.Error.WriteLineAsync($"coffer: error: {name}: {Terminal.Shown(e.Message)}. Try again.");
            }
        }
    }

    private static async Task ReadAsync(ShareGathering gathering, CancellationToken ct)
    {
        using var text = SecretBytes.Rent(MostBytes);
        await using var input = StandardStream.OpenInput();
        var length = await input.ReadAtLeastAsync(text.Memory, MostBytes, throwOnEndOfStream: false, ct);
        if (length == MostBytes)
            throw new InvalidDataException("standard input has more than shares: give one a line");
        text.Shrink(length);
        Add(gathering, text.Span);
        if (gathering.Given < gathering.Needed)
        {
            throw new InvalidDataException(
                $"{gathering.Needed} shares are needed, and {gathering.Given} were given: give one a line");
        }
    }

    private static void Add(ShareGathering gathering, ReadOnlySpan<byte> text)
    {
        var number = 0;
        foreach (var part in text.Split((byte)'\n'))
        {
            number++;
            var line = text[part].Trim(" \t\r"u8);
            if (line.IsEmpty || line[0] == (byte)'#' || gathering.Given == gathering.Needed)
                continue;
            try
            {
                gathering.Add(line);
            }
            catch (FormatException e)
            {
                throw new InvalidDataException($"the share in line {number}: {e.Message}", e);
            }
        }
    }
}
