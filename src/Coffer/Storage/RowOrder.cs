using System.Text;

namespace Coffer.Storage;

/// <summary>The order of rows, as both engines have it: by bytes, of a text too.</summary>
internal static class RowOrder
{
    public static readonly IComparer<byte[]> OfBytes =
        Comparer<byte[]>.Create(static (one, other) => one.AsSpan().SequenceCompareTo(other));

    /// <summary>Of texts. Ordinal order is another for what is beyond U+FFFF.</summary>
    public static readonly IComparer<string> OfTexts = Comparer<string>.Create(static (one, other) =>
        OfBytes.Compare(Encoding.UTF8.GetBytes(one), Encoding.UTF8.GetBytes(other)));
}
