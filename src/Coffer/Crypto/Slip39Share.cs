using System.Security.Cryptography;
using System.Text;

namespace Coffer.Crypto;

/// <summary>What all shares of a secret have in common.</summary>
/// <param name="Identifier">A random number that shows which shares belong together.</param>
/// <param name="IsExtendable">Whether the secret is encrypted without the identifier.</param>
/// <param name="Exponent">How much work the encryption is.</param>
/// <param name="GroupThreshold">How many groups are needed.</param>
/// <param name="Groups">How many there are.</param>
internal readonly record struct Slip39Set(
    int Identifier, bool IsExtendable, int Exponent, int GroupThreshold, int Groups)
{
    /// <summary>How many identifiers there are.</summary>
    public const int Identifiers = 1 << 15;
}

/// <summary>A share, which is written in words of ten bits each: 33 of them for a secret of 32 bytes.</summary>
/// <param name="set">What it has in common with others.</param>
/// <param name="group">Of which group it is, from 0.</param>
/// <param name="member">Which one of the group it is, from 0.</param>
/// <param name="threshold">How many of the group are needed.</param>
/// <param name="value">Its value; it is disposed of with the share.</param>
internal sealed class Slip39Share(Slip39Set set, byte group, byte member, byte threshold, SecretBytes value)
    : IDisposable
{
    private const int HeadWords = 4, ChecksumWords = 3, LeastWords = 20, MostWords = 64, BitsOfWord = 10;
    private const int Modulus = 1 << BitsOfWord;

    private static readonly string[] Words = ReadWords();

    private static readonly uint[] Generator =
    [
        0x0e0e040, 0x1c1c080, 0x3838100, 0x7070200, 0xe0e0009, 0x1c0c2412, 0x38086c24, 0x3090fc48, 0x21b1f890,
        0x3f3f120,
    ];

    public Slip39Set Set => set;

    public byte Group => group;

    public byte Member => member;

    public byte Threshold => threshold;

    public SecretBytes Value => value;

    /// <summary>Reads a share from its words, in whichever case, with any white space between them.</summary>
    /// <param name="text">ASCII.</param>
    /// <param name="words">How many words it must have; null is as many as the standard allows.</param>
    /// <exception cref="FormatException">It is no share; the message says why, and shows no word of it.</exception>
    public static Slip39Share Read(ReadOnlySpan<byte> text, int? words = null)
    {
        Span<ushort> numbers = stackalloc ushort[MostWords];
        try
        {
            var count = Number(text, numbers);
            if (count != (words ?? count) || count is < LeastWords or > MostWords)
                throw new FormatException($"a share has {words ?? LeastWords} words, and this has {count}");
            return Read(numbers[..count]);
        }
        finally
        {
            numbers.Clear();
        }
    }

    /// <summary>Its words with a space between them, in ASCII, for the caller to dispose of.</summary>
    public SecretBytes ToText()
    {
        var ofValue = ((8 * value.Length) + BitsOfWord - 1) / BitsOfWord;
        Span<ushort> numbers = stackalloc ushort[HeadWords + ofValue + ChecksumWords];
        WriteHead(numbers);
        WriteValue(numbers.Slice(HeadWords, ofValue));
        var checksum = Checksum(numbers, set.IsExtendable) ^ 1;
        for (var i = 0; i < ChecksumWords; i++)
            numbers[^(ChecksumWords - i)] = (ushort)((checksum >> (BitsOfWord * (ChecksumWords - 1 - i))) % Modulus);

        var text = SecretBytes.Rent(numbers.Length * 9); // no word has more than 8 letters
        var length = 0;
        foreach (var number in numbers)
        {
            length += Encoding.ASCII.GetBytes(Words[number], text.Span[length..]);
            text.Span[length++] = (byte)' ';
        }

        numbers.Clear();
        text.Shrink(length - 1);
        return text;
    }

    public void Dispose() => value.Dispose();

    public override string ToString() => "[redacted]";

    private static Slip39Share Read(ReadOnlySpan<ushort> numbers)
    {
        var set = new Slip39Set((numbers[0] << 5) | (numbers[1] >> 5), ((numbers[1] >> 4) & 1) == 1,
            numbers[1] & 0xf, ((numbers[2] >> 2) & 0xf) + 1, (((numbers[2] & 3) << 2) | (numbers[3] >> 8)) + 1);
        if (Checksum(numbers, set.IsExtendable) != 1)
        {
            throw new FormatException("its checksum does not hold: a word is not the one that was written down, or two "
                + "have changed places");
        }

        if (set.GroupThreshold > set.Groups)
            throw new FormatException("it says that more groups are needed than there are");
        var ofValue = numbers[HeadWords..^ChecksumWords];
        var padding = BitsOfWord * ofValue.Length % 16;
        if (padding > 8 || ofValue[0] >> (BitsOfWord - padding) != 0)
            throw new FormatException("it has the checksum of a share, but not the form of one");
        var value = SecretBytes.Rent(((BitsOfWord * ofValue.Length) - padding) / 8);
        var (bits, held, at) = (-padding, 0u, 0);
        foreach (var number in ofValue)
        {
            (held, bits) = ((held << BitsOfWord) | number, bits + BitsOfWord);
            for (; bits >= 8; bits -= 8)
                value.Span[at++] = (byte)(held >> (bits - 8));
        }

        return new Slip39Share(set, (byte)(numbers[2] >> 6), (byte)((numbers[3] >> 4) & 0xf),
            (byte)((numbers[3] & 0xf) + 1), value);
    }

    private void WriteHead(Span<ushort> numbers)
    {
        var groups = set.Groups - 1;
        numbers[0] = (ushort)(set.Identifier >> 5);
        numbers[1] = (ushort)(((set.Identifier & 0x1f) << 5) | (set.IsExtendable ? 1 << 4 : 0) | set.Exponent);
        numbers[2] = (ushort)((group << 6) | ((set.GroupThreshold - 1) << 2) | (groups >> 2));
        numbers[3] = (ushort)(((groups & 3) << 8) | (member << 4) | (threshold - 1));
    }

    private void WriteValue(Span<ushort> numbers)
    {
        var (bits, held, at) = ((BitsOfWord * numbers.Length) - (8 * value.Length), 0u, 0);
        foreach (var each in value.Span)
        {
            (held, bits) = ((held << 8) | each, bits + 8);
            for (; bits >= BitsOfWord; bits -= BitsOfWord)
                numbers[at++] = (ushort)((held >> (bits - BitsOfWord)) % Modulus);
        }
    }

    // RS1024, a Reed-Solomon code over words: 1 where its three last words are right.
    private static uint Checksum(ReadOnlySpan<ushort> numbers, bool isExtendable)
    {
        var sum = 1u;
        foreach (var letter in isExtendable ? "shamir_extendable"u8 : "shamir"u8)
            sum = Step(sum, letter);
        foreach (var number in numbers)
            sum = Step(sum, number);
        return sum;

        static uint Step(uint sum, uint number)
        {
            var top = sum >> 20;
            sum = ((sum & 0xfffff) << BitsOfWord) ^ number;
            for (var bit = 0; bit < Generator.Length; bit++)
                sum ^= ((top >> bit) & 1) == 1 ? Generator[bit] : 0;
            return sum;
        }
    }

    // How many words there are; their numbers, as far as there is room for them.
    private static int Number(ReadOnlySpan<byte> text, Span<ushort> numbers)
    {
        var count = 0;
        foreach (var part in text.SplitAny(" \t\r\n"u8))
        {
            if (text[part] is not { IsEmpty: false } word)
                continue;
            if (count < numbers.Length)
                numbers[count] = NumberOf(word, count + 1);
            count++;
        }

        return count;
    }

    private static ushort NumberOf(ReadOnlySpan<byte> word, int place)
    {
        Span<char> letters = stackalloc char[Math.Min(word.Length, 16)];
        for (var i = 0; i < letters.Length; i++)
            letters[i] = (char)(word[i] is >= (byte)'A' and <= (byte)'Z' ? word[i] + 32 : word[i]);
        for (var i = 0; i < Words.Length; i++)
        {
            if (letters.SequenceEqual(Words[i]))
                return (ushort)i;
        }

        var nearest = Words[0];
        foreach (var known in Words)
        {
            if (Distance(letters, known) < Distance(letters, nearest))
                nearest = known;
        }

        letters.Clear();
        throw new FormatException($"word {place} is not in the list of words; the nearest that is: {nearest}");
    }

    /// <summary>How many letters have to be put in, left out or changed, or change places with the next.</summary>
    private static int Distance(ReadOnlySpan<char> from, string to)
    {
        var all = new int[from.Length + 1, to.Length + 1];
        for (var i = 0; i <= from.Length; i++)
        {
            for (var j = 0; j <= to.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    all[i, j] = i + j;
                    continue;
                }

                var isSame = from[i - 1] == to[j - 1];
                all[i, j] = Math.Min(Math.Min(all[i - 1, j], all[i, j - 1]) + 1, all[i - 1, j - 1] + (isSame ? 0 : 1));
                if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
                    all[i, j] = Math.Min(all[i, j], all[i - 2, j - 2] + 1);
            }
        }

        return all[from.Length, to.Length];
    }

    private static string[] ReadWords()
    {
        const string Name = "slip39-words.txt";
        using var stream = typeof(Slip39Share).Assembly.GetManifestResourceStream(Name)
            ?? throw new InvalidOperationException($"the program has no {Name}");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
