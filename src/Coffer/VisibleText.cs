using System.Globalization;
using System.Text;

namespace Coffer;

/// <summary>
/// Text from outside as it may be shown: what moves a cursor, reorders a line, takes no room or is no character is
/// written out as <c>\u202e</c>, so that two texts that differ look different, and none hides a part of itself.
/// </summary>
internal static class VisibleText
{
    /// <summary>
    /// What Unicode has renderers ignore by default (DerivedCoreProperties, Default_Ignorable_Code_Point) without being
    /// of the category of format characters, as selectors of variations and fillers are.
    /// </summary>
    private static readonly (int First, int Last)[] Ignored =
    [
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF),
    ];

    /// <summary>The same text with what is not visible written out; of JSON it is the same JSON.</summary>
    public static string Of(string text)
    {
        StringBuilder? shown = null;
        for (var i = 0; i < text.Length;)
        {
            var isWhole = Rune.DecodeFromUtf16(text.AsSpan(i), out var rune, out var length)
                == System.Buffers.OperationStatus.Done;
            var isShown = isWhole && IsVisible(rune);
            if (!isShown)
                shown ??= new StringBuilder(text, 0, i, text.Length + 16);
            foreach (var unit in text.AsSpan(i, length))
                _ = isShown ? shown?.Append(unit) : shown!.Append(CultureInfo.InvariantCulture, $"\\u{(int)unit:x4}");
            i += length;
        }

        return shown?.ToString() ?? text;
    }

    private static bool IsVisible(Rune rune) => Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control
        or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator)
        && !Array.Exists(Ignored, range => rune.Value >= range.First && rune.Value <= range.Last);
}
