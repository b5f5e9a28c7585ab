using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Coffer.Http;

/// <summary>
/// An answer's body as Stripe writes it: two-space indent, a line feed at the end, null fields left out. It is built in
/// a buffer that is cleared when it is disposed of. The writer alone serves the next answer of the thread.
/// </summary>
internal sealed class StripeJson : IBufferWriter<byte>, IDisposable
{
    private static readonly JsonWriterOptions Options = new()
    {
        Indented = true,
        NewLine = "\n",
        // The type is application/json with nosniff: nothing reads it as HTML.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        SkipValidation = true,
    };

    /// <summary>More than most answers have, in bytes; what is rented is cleared.</summary>
    private const int Usual = 1024;

    [ThreadStatic]
    private static StripeJson? spare;

    private SecretBytes? rented;
    private int length;

    private StripeJson() => Writer = new Utf8JsonWriter(this, Options);

    /// <summary>An empty body, for the caller to dispose of, once.</summary>
    public static StripeJson Begin()
    {
        var json = spare ?? new StripeJson();
        spare = null;
        (json.rented, json.length) = (SecretBytes.Rent(Usual), 0);
        return json;
    }

    public Utf8JsonWriter Writer { get; }

    /// <summary>The whole body; call once all is written.</summary>
    public ReadOnlyMemory<byte> Finish()
    {
        Writer.Flush();
        GetSpan(1)[0] = (byte)'\n';
        Advance(1);
        return Buffer.Memory[..length];
    }

    /// <summary>What was written, apart from the answer that it may become, for the caller to dispose of.</summary>
    public static SecretBytes Written(Action<Utf8JsonWriter> write)
    {
        using var json = Begin();
        write(json.Writer);
        json.Writer.Flush();
        return SecretBytes.Copy(json.Buffer.Span[..json.length]);
    }

    /// <summary>An error's body: its keys in alphabetical order, as recorded.</summary>
    /// <param name="error">What to say.</param>
    /// <param name="docs">Address of the documentation page.</param>
    public void WriteError(ApiError error, string docs)
    {
        length = 0; // nothing of a half-written answer is sent
        Writer.Reset();
        Writer.WriteStartObject();
        Writer.WriteStartObject("error"u8);
        if (error.Code is { } code)
        {
            Writer.WriteString("code"u8, code);
            Writer.WriteString("doc_url"u8, $"{docs}#{code.Replace('_', '-')}");
        }

        Writer.WriteString("message"u8, error.Message.Replace(ApiError.Docs, docs, StringComparison.Ordinal));
        if (error.Param is { } param)
            Writer.WriteString("param"u8, param);
        Writer.WriteString("type"u8, error.Type);
        Writer.WriteEndObject();
        Writer.WriteEndObject();
    }

    public void Advance(int count) => length += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Ensure(sizeHint);
        return Buffer.Memory[length..];
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Ensure(sizeHint);
        return Buffer.Span[length..];
    }

    public void Dispose()
    {
        if (rented is null)
            return;
        Writer.Reset(); // it refers to the buffer, and to nothing else of what was written
        rented.Dispose();
        rented = null;
        spare ??= this;
    }

    private SecretBytes Buffer => rented ?? throw new ObjectDisposedException(nameof(StripeJson));

    private void Ensure(int more)
    {
        if (Buffer.Length - length >= Math.Max(more, 1))
            return;
        var wanted = Math.Max(2 * Buffer.Length, length + more);
        if (Buffer.TryGrow(wanted))
            return;
        var larger = SecretBytes.Rent(wanted);
        Buffer.Span[..length].CopyTo(larger.Span);
        Buffer.Dispose();
        rented = larger;
    }
}
