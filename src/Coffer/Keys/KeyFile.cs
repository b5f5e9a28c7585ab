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
internal sealed class KeyFile : KeyWrapper
{
    private const string Tag = "coffer-key-v1";
    private const string Made = "yyyy-MM-dd'T'HH:mm:ss'Z'";
    private const UnixFileMode WrittenByOthers = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;
    private const int LargestFile = 64 * 1024, IdSize = 8;

    private readonly (string Id, SealingKey Key)[] lines;

    private KeyFile((string Id, SealingKey Key)[] lines) => this.lines = lines;

    /// <summary>Of the newest line: the same key has the same name in whichever file it stands.</summary>
    public override string Id => lines[^1].Id;

    public override bool Holds(string id) => Array.Exists(lines, line => line.Id == id);

    public override Task<byte[]> WrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct)
    {
        using var bound = name.Bound();
        return Task.FromResult(Envelope.Seal(SealedKind.RootKey, lines[^1].Key, text.Span, bound.Span));
    }

    public override Task<SecretBytes?> UnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct)
    {
        using var bound = name.Bound();
        return Task.FromResult(Unwrap(wrapped, bound.Span));
    }

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
    /// <param name="path">Where it is.</param>
    /// <param name="isCredential">
    /// Whether something that starts Coffer put it there for Coffer alone: then others may be let to read it.
    /// </param>
    public static KeyFile Load(string path, bool isCredential = false)
    {
        var file = new FileInfo(path);
        if (!file.Exists)
            throw new ConfigurationException(
                $"the key file {path} is missing",
                "Restore the key file that this store was created with. Coffer never creates a new key for existing "
                    + "data.");
        if (Problem(path, isCredential) is var (problem, hint))
            throw new ConfigurationException(problem, hint);
        if (file.Length > LargestFile)
            throw new ConfigurationException($"the key file {path} is too large to be a key file",
                "Restore the key file that this store was created with.");

        var text = Lines(path);
        var found = new List<(string Id, SealingKey Key)>();
        for (var i = 0; i < text.Length; i++)
        {
            var line = text[i].Trim();
            if (line.Length == 0 || line.StartsWith('#'))
                continue;
            if (ParseLine(line) is not { } read
                || (found.Count > 0 && read.Key.Version <= found[^1].Key.Version))
                throw new ConfigurationException($"line {i + 1} of the key file {path} is damaged",
                    "Restore a whole copy of the key file; do not edit it by hand.");
            found.Add(read);
        }

        return found.Count > 0
            ? new KeyFile([.. found])
            : throw new ConfigurationException($"the key file {path} holds no key",
                "Restore the key file that this store was created with.");
    }

    /// <returns>
    /// The key, for the caller to dispose of; null when this file has not the key that it is wrapped with.
    /// </returns>
    public SecretBytes? Unwrap(ReadOnlySpan<byte> wrapped, ReadOnlySpan<byte> associatedData)
    {
        var id = Envelope.KeyVersionOf(wrapped);
        return Array.Find(lines, line => line.Key.Version == id) is { Key: { } key }
            ? Envelope.Open(key, wrapped, associatedData)
            : null;
    }

    /// <summary>What is wrong with whose it is and who may touch it, and what to do; null if it may be used.</summary>
    /// <inheritdoc cref="Load"/>
    /// <param name="path">Where it is.</param>
    /// <param name="isCredential">Whether others may be let to read it.</param>
    /// <param name="by">Who uses it; null is this process.</param>
    public static (string Problem, string Hint)? Problem(
        string path, bool isCredential, FileRule.Users? by = null)
    {
        if (OperatingSystem.IsWindows())
            return null;
        var isOnlyRead = isCredential && (FileStatus.FactsOf(path).Mode & WrittenByOthers) == UnixFileMode.None;
        return isOnlyRead ? null : FileRule.ProblemOf(path, "the key file", by);
    }

    private static string[] Lines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (UnauthorizedAccessException)
        {
            throw new ConfigurationException(
                $"this user may not read the key file {path}", FileRule.HintToShare(path));
        }
    }

    private static (string Id, SealingKey Key)? ParseLine(string line)
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
            ? (IdOf(key.Span), new SealingKey(id, key.Span))
            : null;
    }

    private static string IdOf(ReadOnlySpan<byte> key)
    {
        Span<byte> name = stackalloc byte[IdSize];
        HKDF.Expand(HashAlgorithmName.SHA256, key, name, "coffer v1 key file id"u8);
        return WrapperUrl.KeyFile + Convert.ToHexStringLower(name);
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
