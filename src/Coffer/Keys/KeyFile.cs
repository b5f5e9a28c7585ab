using System.Buffers.Text;
using System.Globalization;
using System.IO.Hashing;
using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;

namespace Coffer.Keys;

/// <summary>
/// The key wrapper that is a text file: one key a line, the newest (last) wraps, all unwrap. A line is <c>coffer-key-v1
/// ID CREATED KEY CHECKSUM</c>: id a number that grows, created in ISO 8601, the key as base64url of 32 bytes, the
/// checksum 8 hex digits of CRC32 over the line before it. Empty lines and lines that begin with # are skipped.
/// </summary>
internal sealed class KeyFile
{
    private const string Tag = "coffer-key-v1";
    private const string Made = "yyyy-MM-dd'T'HH:mm:ss'Z'";
    private const UnixFileMode Forbidden = (UnixFileMode)0b111_111; // any bit for group or other
    private const int LargestFile = 64 * 1024;

    private readonly SealingKey[] keys;

    private KeyFile(SealingKey[] keys) => this.keys = keys;

    /// <summary>
    /// Makes a file with one new key, readable by its owner alone, and has it on the disk before it returns.
    /// </summary>
    /// <exception cref="IOException">The file exists, or cannot be written.</exception>
    public static void Create(string path, DateTimeOffset now)
    {
        using var key = SecretBytes.Rent(SealingKey.Size);
        RandomNumberGenerator.Fill(key.Span);
        var line = $"{Tag} 1 {now.UtcDateTime:yyyy-MM-ddTHH:mm:ssZ} {Base64Url.EncodeToString(key.Span)}";
        var text =
            "# The key to everything in this Coffer store. Keep a copy apart from the store: without it the store "
                + "cannot be opened.\n"
                   + $"{line} {Checksum(line)}\n";

        // A start that is killed must not leave half a key file, nor a power cut a store whose only key is gone.
        DurableFile.Write(path, Encoding.ASCII.GetBytes(text), overwrite: false);
    }

    /// <exception cref="ConfigurationException">
    /// The file is missing, open to others, or not a key file; the message says what to do.
    /// </exception>
    public static KeyFile Load(string path)
    {
        var file = new FileInfo(path);
        if (!file.Exists)
            throw new ConfigurationException(
                $"the key file {path} is missing",
                "Restore the key file that this store was created with. Coffer never creates a new key for existing "
                    + "data.");
        if (!OperatingSystem.IsWindows() && (file.UnixFileMode & Forbidden) != UnixFileMode.None)
            throw new ConfigurationException(
                $"the key file {path} can be read or written by other users than its owner", $"Run: chmod 600 {path}");
        if (file.Length > LargestFile)
            throw new ConfigurationException($"the key file {path} is too large to be a key file",
                "Restore the key file that this store was created with.");

        var lines = File.ReadAllLines(path);
        var found = new List<SealingKey>();
        for (var i = 0; i < lines.Length; i++)
        {
            var line = lines[i].Trim();
            if (line.Length == 0 || line.StartsWith('#'))
                continue;
            var key = ParseLine(line);
            if (key is null || (found.Count > 0 && key.Version <= found[^1].Version))
                throw new ConfigurationException($"line {i + 1} of the key file {path} is damaged",
                    "Restore a whole copy of the key file; do not edit it by hand.");
            found.Add(key);
        }

        return found.Count > 0
            ? new KeyFile([.. found])
            : throw new ConfigurationException($"the key file {path} holds no key",
                "Restore the key file that this store was created with.");
    }

    public byte[] Wrap(ReadOnlySpan<byte> key, ReadOnlySpan<byte> associatedData) =>
        Envelope.Seal(keys[^1], key, associatedData);

    /// <returns>
    /// The key, for the caller to dispose of; null when this file has not the key that it is wrapped with.
    /// </returns>
    public SecretBytes? Unwrap(ReadOnlySpan<byte> wrapped, ReadOnlySpan<byte> associatedData)
    {
        var id = Envelope.KeyVersionOf(wrapped);
        return Array.Find(keys, key => key.Version == id) is { } key
            ? Envelope.Open(key, wrapped, associatedData)
            : null;
    }

    private static SealingKey? ParseLine(string line)
    {
        var fields = line.Split(' ');
        if (fields.Length != 5 || fields[0] != Tag || Checksum(line[..line.LastIndexOf(' ')]) != fields[4]
            || !uint.TryParse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out var id)
            || fields[1].StartsWith('0')
            || !DateTime.TryParseExact(fields[2], Made, CultureInfo.InvariantCulture, DateTimeStyles.None, out _))
            return null;

        using var key = SecretBytes.Rent(SealingKey.Size);
        var isKey = fields[3].Length == Base64Url.GetEncodedLength(SealingKey.Size) && Base64Url.IsValid(fields[3])
            && Base64Url.TryDecodeFromChars(fields[3], key.Span, out var written) && written == SealingKey.Size;
        return isKey && IsAsWritten(fields[3], key.Span)
            ? new SealingKey(id, key.Span)
            : null;
    }

    // Other text decodes to the same bytes: with white space in it, or other bits after the last byte.
    private static bool IsAsWritten(ReadOnlySpan<char> text, ReadOnlySpan<byte> key)
    {
        Span<char> written = stackalloc char[Base64Url.GetEncodedLength(SealingKey.Size)];
        Base64Url.EncodeToChars(key, written);
        var isSame = written.SequenceEqual(text);
        written.Clear();
        return isSame;
    }

    private static string Checksum(string line) =>
        Crc32.HashToUInt32(Encoding.UTF8.GetBytes(line)).ToString("x8", CultureInfo.InvariantCulture);
}
