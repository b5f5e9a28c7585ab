using System.Security.Cryptography;
using System.Text;

namespace Coffer.EndToEnd;

/// <summary>
/// Strings that must be nowhere, and a search for them in every form in which they could have been written down.
/// </summary>
public sealed class Canaries
{
    private readonly Dictionary<string, string> planted = new(StringComparer.Ordinal);

    /// <summary>A new one, of which no part can be there by chance.</summary>
    public string Plant(string what) =>
        Watch(what, $"canary{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12))}");

    /// <summary>Watches for a string that exists already.</summary>
    public string Watch(string what, string text)
    {
        planted.Add(what, text);
        return text;
    }

    /// <summary>Fails if any canary is in any of the files, naming which, where and in which form.</summary>
    public void AssertNotIn(IReadOnlyDictionary<string, byte[]> files, params IEnumerable<string> excepting)
    {
        var found =
            from canary in planted
            where !excepting.Contains(canary.Key)
            from form in Forms(canary.Value)
            from file in files
            where Contains(file.Value, form.Bytes)
            select $"the {canary.Key} is in {file.Key} as {form.Name}";
        Assert.Empty(found);
    }

    /// <summary>The same for what a process printed.</summary>
    public void AssertNotIn(string where, string text, params IEnumerable<string> excepting) =>
        AssertNotIn(new Dictionary<string, byte[]> { [where] = Encoding.UTF8.GetBytes(text) }, excepting);

    private static bool Contains(byte[] bytes, byte[] sought) => bytes.AsSpan().IndexOf(sought) >= 0;

    private static IEnumerable<(string Name, byte[] Bytes)> Forms(string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        yield return ("UTF-8", utf8);
        yield return ("UTF-16LE", Encoding.Unicode.GetBytes(text));
        yield return ("upper-case hex", Ascii(Convert.ToHexString(utf8)));
        yield return ("lower-case hex", Ascii(Convert.ToHexStringLower(utf8)));
        for (var offset = 0; offset < 3; offset++)
        {
            var base64 = Base64Within(utf8, offset);
            yield return ($"Base64 at offset {offset}", Ascii(base64));
            yield return ($"base64url at offset {offset}", Ascii(base64.Replace('+', '-').Replace('/', '_')));
        }
    }

    // Base64 turns three bytes into four characters, so a text within a larger one looks different at each offset
    // modulo three. Only the characters that are made of it alone are sought.
    private static string Base64Within(byte[] utf8, int offset)
    {
        var whole = Convert.ToBase64String([.. new byte[offset], .. utf8]);
        var first = (offset * 8 + 5) / 6;
        var end = (offset + utf8.Length) * 8 / 6;
        return whole[first..end];
    }

    private static byte[] Ascii(string text) => Encoding.ASCII.GetBytes(text);
}
