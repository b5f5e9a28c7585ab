// Http: the wire protocol. This room knows nothing of secrets: it reads forms, writes JSON, knows headers and errors.

using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Coffer.Http;

/// <summary>
/// The parameters of a request: query and body as one bag, in Stripe's form grammar (docs/wire.md, "Parameters").
/// Values are decoded in place in a buffer that is cleared afterwards, so that a payload in a body never becomes a
/// string.
/// </summary>
internal sealed class StripeForm : IDisposable
{
    /// <summary>How many parameters are read; a client needs fewer than twenty.</summary>
    public const int MostFields = 200;

    // The parameters of secrets: their names are not made again for each request.
    private static readonly Parameter[] Known =
    [
        .. ((string[])["name", "scope[type]", "scope[user]", "payload", "expand[]", "expand[0]", "expires_at",
            "if_version"]).Select(static name => Parameter.Of(Encoding.UTF8.GetBytes(name))!),
    ];

    private readonly SecretBytes buffer;
    private readonly List<Field> fields = [];

    /// <param name="query">The raw query without its question mark; ASCII, as HTTP has it.</param>
    /// <param name="body">The raw form body; it is copied.</param>
    /// <exception cref="ApiError">400 that names the parameter that cannot be read.</exception>
    public StripeForm(ReadOnlySpan<char> query, ReadOnlySpan<byte> body)
    {
        buffer = SecretBytes.Rent(query.Length + 1 + body.Length);
        try
        {
            var length = Encoding.UTF8.GetBytes(query, buffer.Span);
            buffer.Span[length++] = (byte)'&';
            body.CopyTo(buffer.Span[length..]);
            Parse(length + body.Length);
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    /// <summary>Refuses every parameter whose first name is none of <paramref name="names"/>.</summary>
    public void Only(params ReadOnlySpan<string> names)
    {
        List<string>? unknown = null;
        foreach (var field in fields)
        {
            if (!names.Contains(field.Root) && unknown?.Contains(field.Name) is not true)
                (unknown ??= []).Add(field.Name);
        }

        if (unknown is not null)
            throw ApiError.ParameterUnknown(unknown);
    }

    /// <summary>
    /// A string of 1 to <paramref name="longest"/> characters (Unicode code points), as UTF-8 that lives as long as the
    /// form; null if it was not sent.
    /// </summary>
    /// <param name="param">Its name in bracket form.</param>
    /// <param name="longest">The most characters it may have.</param>
    /// <param name="isSecret">Whether it must not be shown in an error.</param>
    public ReadOnlyMemory<byte>? Text(string param, int longest, bool isSecret = false)
    {
        Field? found = null;
        foreach (var field in fields)
        {
            if (field.Name == param)
            {
                if (found is { } first && !Value(first).SequenceEqual(Value(field)))
                    throw ApiError.ParameterConflict(param);
                found = field;
            }
            else if (field.IsWithin(param))
            {
                throw ApiError.NotAString(param);
            }
        }

        if (found is null)
            return null;
        var value = Value(found.Value);
        if (value.IsEmpty)
            throw ApiError.ParameterEmpty(param);
        // No character is shorter than a byte: most values need no counting.
        if (value.Length > longest && Characters(value) > longest)
            throw ApiError.TooLong(param, isSecret ? null : Encoding.UTF8.GetString(value), longest);
        return buffer.Memory[found.Value.From..found.Value.To];
    }

    /// <summary>The same, refused if it was not sent.</summary>
    public ReadOnlyMemory<byte> RequiredText(string param, int longest, bool isSecret = false) =>
        Text(param, longest, isSecret) ?? throw ApiError.ParameterMissing(param);

    /// <summary>
    /// A decimal integer; one beyond 64 bits counts as the largest or smallest there is. Null if it was not sent.
    /// </summary>
    public long? Integer(string param)
    {
        if (Text(param, 5_000) is not { } utf8)
            return null;
        var text = Encoding.UTF8.GetString(utf8.Span);
        var digits = text.AsSpan(text.StartsWith('-') ? 1 : 0);
        if (digits.IsEmpty || digits.ContainsAnyExceptInRange('0', '9'))
            throw ApiError.NotAnInteger(param, text);
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value))
            return value;
        return text.StartsWith('-') ? long.MinValue : long.MaxValue;
    }

    /// <summary><c>true</c> or <c>false</c>; null if it was not sent.</summary>
    public bool? Boolean(string param)
    {
        if (Text(param, 5_000) is not { } utf8)
            return null;
        if (utf8.Span.SequenceEqual("true"u8))
            return true;
        return utf8.Span.SequenceEqual("false"u8)
            ? false
            : throw ApiError.NotABoolean(param, Encoding.UTF8.GetString(utf8.Span));
    }

    /// <summary>Whether a parameter was sent empty, which takes a setting back.</summary>
    public bool IsEmpty(string param) =>
        fields.Exists(field => field.Name == param)
            && fields.TrueForAll(field => field.Root != param || (field.Name == param && field.From == field.To));

    /// <summary>All that was sent, whatever its order: names and values, each after its length.</summary>
    public byte[] Canonical()
    {
        using var canonical = new MemoryStream();
        foreach (var field in fields.OrderBy(field => field.Name, StringComparer.Ordinal).ThenBy(
            field => Encoding.UTF8.GetString(Value(field)), StringComparer.Ordinal))
        {
            Write(Encoding.UTF8.GetBytes(field.Name));
            Write(Value(field));
        }

        return canonical.ToArray();

        void Write(ReadOnlySpan<byte> text)
        {
            canonical.Write(BitConverter.GetBytes(text.Length));
            canonical.Write(text);
        }
    }

    /// <summary>Whether anything was sent under a name, as a value or as an object or array.</summary>
    public bool Has(string root)
    {
        foreach (var field in fields)
        {
            if (field.Root == root)
                return true;
        }

        return false;
    }

    /// <summary>Whether something was sent within a name: as an object or array.</summary>
    public bool IsNested(string root) => fields.Exists(field => field.Root == root && field.Name != root);

    /// <summary>
    /// Checks that what was sent as <paramref name="param"/>, if anything, is an object with no other keys than
    /// <paramref name="keys"/>.
    /// </summary>
    public void ObjectOf(string param, params ReadOnlySpan<string> keys)
    {
        foreach (var field in fields)
        {
            if (field.Root != param)
                continue;
            if (field.Name == param || field.Key is null or "")
                throw ApiError.NotAnObject(param);
            if (!keys.Contains(field.Key))
                throw ApiError.ParameterUnknown([field.Name]);
        }
    }

    /// <summary>
    /// The elements of an array, sent as <c>p[]</c>, <c>p[0]</c> or, for one, <c>p</c>. Empty elements are skipped.
    /// A place that is named twice, <c>p</c> or <c>p[0]</c>, counts once and must have one value.
    /// </summary>
    public IReadOnlyList<string> Strings(string param)
    {
        List<string>? values = null;
        for (var at = 0; at < fields.Count; at++)
        {
            var field = fields[at];
            if (field.Root != param)
                continue;
            if (field.Depth > 1 || field.Key is not (null or "") && !IsIndex(field.Key))
                throw ApiError.NotAnArray(param);
            if (field.Key != "" && IsSentBefore(at))
                continue;
            if (!Value(field).IsEmpty)
                (values ??= []).Add(Encoding.UTF8.GetString(Value(field)));
        }

        return values ?? (IReadOnlyList<string>)[];
    }

    // There are at most 200 fields, so looking through them is cheap.
    private bool IsSentBefore(int at)
    {
        for (var before = 0; before < at; before++)
        {
            if (fields[before].Name != fields[at].Name)
                continue;
            if (!Value(fields[before]).SequenceEqual(Value(fields[at])))
                throw ApiError.ParameterConflict(fields[at].Name);
            return true;
        }

        return false;
    }

    // Decimal digits without a leading zero: a place of an array has one name.
    private static bool IsIndex(string key) =>
        !key.AsSpan().ContainsAnyExceptInRange('0', '9') && (key.Length == 1 || key[0] != '0');

    public void Dispose() => buffer.Dispose();

    private ReadOnlySpan<byte> Value(Field field) => buffer.Span[field.From..field.To];

    private static int Characters(ReadOnlySpan<byte> utf8)
    {
        var count = 0;
        foreach (var b in utf8)
            count += (b & 0xC0) == 0x80 ? 0 : 1;
        return count;
    }

    private void Parse(int length)
    {
        var bytes = buffer.Span[..length];
        for (var at = 0; at < length;)
        {
            var end = bytes[at..].IndexOf((byte)'&') is var amp and >= 0 ? at + amp : length;
            if (end > at)
            {
                if (fields.Count == MostFields)
                    throw ApiError.TooManyParameters(MostFields);
                var equals = bytes[at..end].IndexOf((byte)'=') is var eq and >= 0 ? at + eq : end;
                fields.Add(ParseField(bytes, at, equals, Math.Min(equals + 1, end), end));
            }

            at = end + 1;
        }
    }

    private static Field ParseField(Span<byte> bytes, int from, int nameEnd, int valueFrom, int valueEnd)
    {
        var sent = bytes[from..nameEnd];
        if (!IsEscaped(sent))
            throw ApiError.MalformedParameterName(Encoding.UTF8.GetString(sent));
        ReadOnlySpan<byte> decoded = sent[..Decode(sent)];
        var param = KnownOrNull(decoded) ?? Parameter.Of(decoded)
            ?? throw ApiError.MalformedParameterName(Encoding.UTF8.GetString(decoded));

        var value = bytes[valueFrom..valueEnd];
        if (!IsEscaped(value))
            throw ApiError.MalformedEscape(param.Name);
        var length = Decode(value);
        if (!Utf8.IsValid(value[..length]))
            throw ApiError.InvalidUtf8(param.Name);
        return new Field(param, valueFrom, valueFrom + length);
    }

    private static Parameter? KnownOrNull(ReadOnlySpan<byte> name)
    {
        foreach (var known in Known)
        {
            if (name.SequenceEqual(known.Utf8))
                return known;
        }

        return null;
    }

    // Whether each '%' has its two hexadecimal digits.
    private static bool IsEscaped(ReadOnlySpan<byte> text)
    {
        while (text.IndexOf((byte)'%') is var at and >= 0)
        {
            if (at + 2 >= text.Length || !char.IsAsciiHexDigit((char)text[at + 1])
                || !char.IsAsciiHexDigit((char)text[at + 2]))
                return false;
            text = text[(at + 3)..];
        }

        return true;
    }

    // Decoding never lengthens, so it is done where the text stands. Returns how long it is then.
    private static int Decode(Span<byte> text)
    {
        var length = text.IndexOfAny((byte)'%', (byte)'+');
        if (length < 0)
            return text.Length;
        for (var i = length; i < text.Length; i++)
        {
            var b = text[i];
            if (b == '%')
            {
                b = (byte)((Nibble(text[i + 1]) << 4) | Nibble(text[i + 2]));
                i += 2;
            }
            else if (b == '+')
            {
                b = (byte)' ';
            }

            text[length++] = b;
        }

        return length;
    }

    private static int Nibble(byte hex) => hex <= '9' ? hex - '0' : (hex | 0x20) - 'a' + 10;

    /// <param name="Of">What it is called.</param>
    /// <param name="From">Where the value begins in the buffer.</param>
    /// <param name="To">Where it ends.</param>
    private readonly record struct Field(Parameter Of, int From, int To)
    {
        public string Name => Of.Name;

        public string Root => Of.Root;

        public string? Key => Of.Key;

        public int Depth => Of.Depth;

        public bool IsWithin(string param) =>
            Name.Length > param.Length && Name[param.Length] == '[' && Name.StartsWith(param, StringComparison.Ordinal);
    }

    /// <param name="Name">The whole name, decoded: <c>scope[type]</c>.</param>
    /// <param name="Root">What stands before the first bracket.</param>
    /// <param name="Key">What stands in the first brackets, or null if there are none.</param>
    /// <param name="Depth">How many brackets there are.</param>
    private sealed record Parameter(string Name, string Root, string? Key, int Depth)
    {
        public required byte[] Utf8 { get; init; }

        /// <returns>Null if it is no name.</returns>
        public static Parameter? Of(ReadOnlySpan<byte> decoded)
        {
            var name = Encoding.UTF8.GetString(decoded);
            return System.Text.Unicode.Utf8.IsValid(decoded) && TrySplit(name, out var root, out var key, out var depth)
                ? new Parameter(name, root, key, depth) { Utf8 = decoded.ToArray() }
                : null;
        }

        // name = root *( "[" key "]" ), where a root is not empty and neither root nor key holds a bracket.
        private static bool TrySplit(string name, out string root, out string? key, out int depth)
        {
            (root, key, depth) = (name, null, 0);
            var at = name.AsSpan().IndexOfAny('[', ']');
            if (at < 0)
                return name.Length > 0;
            if (at == 0)
                return false;
            root = name[..at];
            while (at < name.Length)
            {
                var close = name[at] == '[' ? name.AsSpan(at + 1).IndexOfAny('[', ']') : -1;
                if (close < 0 || name[at + 1 + close] != ']')
                    return false;
                key ??= name.Substring(at + 1, close);
                depth++;
                at += close + 2;
            }

            return true;
        }
    }
}
