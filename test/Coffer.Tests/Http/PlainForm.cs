using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Coffer.Tests.Http;

/// <summary>
/// The form grammar of docs/wire.md written a second time, for FormGrammarTests: strings, lists and one regular
/// expression, with no thought of speed. It shares nothing with the program but the names of what it may answer.
/// </summary>
internal sealed partial class PlainForm
{
    private readonly List<(string Name, string Value)> fields = [];

    public PlainForm(string query, byte[] body)
    {
        // Latin-1 keeps each byte as one character, so that the rest can be said with strings.
        foreach (var part in $"{query}&{Encoding.Latin1.GetString(body)}".Split('&'))
        {
            if (part.Length == 0)
                continue;
            if (fields.Count == 200)
                throw new Refused("too many", null);
            var name = part.Split('=')[0];
            if (Decode(name) is not { } bytes)
                throw new Refused("name", Utf8(Encoding.Latin1.GetBytes(name)));
            if (Strict(bytes) is not { } text || !Name().IsMatch(text))
                throw new Refused("name", Utf8(bytes));
            if (Decode(part.Contains('=') ? part[(part.IndexOf('=') + 1)..] : "") is not { } value)
                throw new Refused("escape", text);
            fields.Add((text, Strict(value) ?? throw new Refused("utf-8", text)));
        }
    }

    public string? Text(string param)
    {
        string? found = null;
        foreach (var (name, value) in fields)
        {
            if (name.StartsWith(param + "[", StringComparison.Ordinal))
                throw new Refused("not a string", param);
            if (name != param)
                continue;
            if (found is not null && found != value)
                throw new Refused("conflict", param);
            found = value;
        }

        return found is "" ? throw new Refused("empty", param) : found;
    }

    public List<string> Strings(string param)
    {
        var places = new Dictionary<string, string>();
        var values = new List<string>();
        foreach (var (name, value) in fields.Where(field => Root(field.Name) == param))
        {
            if (name != param && !Element().IsMatch(name[param.Length..]))
                throw new Refused("not an array", param);
            if (name != param + "[]" && !places.TryAdd(name, value))
            {
                if (places[name] != value)
                    throw new Refused("conflict", name);
                continue;
            }

            if (value.Length > 0)
                values.Add(value);
        }

        return values;
    }

    public void ObjectOf(string param, params string[] keys)
    {
        foreach (var (name, _) in fields.Where(field => Root(field.Name) == param))
        {
            var key = name == param ? "" : name[(param.Length + 1)..].Split(']')[0];
            if (key.Length == 0)
                throw new Refused("not an object", param);
            if (!keys.Contains(key))
                throw new Refused("unknown", name);
        }
    }

    public void Only(params string[] names)
    {
        foreach (var (name, _) in fields.Where(field => !names.Contains(Root(field.Name))))
            throw new Refused("unknown", name);
    }

    private static string Root(string name) => name.Split('[')[0];

    private static byte[]? Decode(string text)
    {
        var bytes = new List<byte>();
        for (var at = 0; at < text.Length;)
        {
            if (text[at] != '%')
            {
                bytes.Add((byte)(text[at] == '+' ? ' ' : text[at]));
                at++;
                continue;
            }

            if (text.Length < at + 3 || !Hexadecimal().IsMatch(text.AsSpan(at + 1, 2)))
                return null;
            bytes.Add(byte.Parse(text.AsSpan(at + 1, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            at += 3;
        }

        return [.. bytes];
    }

    private static string Utf8(byte[] bytes) => Encoding.UTF8.GetString(bytes);

    private static string? Strict(byte[] bytes)
    {
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }

    [GeneratedRegex(@"\A[^\[\]]+(\[[^\[\]]*\])*\z", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture)]
    private static partial Regex Name();

    [GeneratedRegex(@"\A\[(0|[1-9][0-9]*)?\]\z", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture)]
    private static partial Regex Element();

    [GeneratedRegex(@"\A[0-9A-Fa-f]{2}\z", RegexOptions.CultureInvariant)]
    private static partial Regex Hexadecimal();

    /// <summary>What it refuses: why, and the parameter that it names.</summary>
    internal sealed class Refused(string why, string? param) : Exception(why)
    {
        public string Why => Message;

        public string? Param => param;
    }
}
