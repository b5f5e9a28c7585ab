using System.Text.RegularExpressions;

namespace Coffer.Settings;

/// <summary>
/// Whether a value can have been meant as it was written. What a shell, an env file or a template was to take away or
/// to fill in would otherwise be a name: of a second, empty store, for example. The grammar is in docs/settings.md.
/// </summary>
internal static partial class LiteralText
{
    /// <summary>The end of the sentence about a value that cannot be meant, or null.</summary>
    /// <param name="text">As it was written.</param>
    /// <param name="isFree">
    /// Whether any character may be meant in the middle of it, as in a connection string with a password in it.
    /// </param>
    public static string? Problem(string text, bool isFree = false)
    {
        if (string.IsNullOrWhiteSpace(text))
            return "is empty: give a value, or leave it out";
        if (Quoted().IsMatch(text) || (!isFree && QuotedAtEnd().IsMatch(text)))
            return "is in quotes: write the value without them";
        if (text.Contains('\uFFFD', StringComparison.Ordinal))
            return "is not UTF-8: write it in that encoding";
        if (char.IsWhiteSpace(text[0]) || char.IsWhiteSpace(text[^1]) || text.Any(char.IsControl))
            return "has white space before or after it, or a line break or another control character in it: a file "
                + "with Windows line ends gives such values. Write the value alone";
        if (Flag().IsMatch(text))
            return "begins with a dash: the value before it seems to be missing. Write a directory of such a name as "
                + "./-NAME";
        if (Assignment().IsMatch(text))
            return "repeats the name of its variable: write the value alone";
        if (!isFree && Unfilled().IsMatch(text))
            return "has a variable or a place in it that nothing has filled in: write the value itself, and a "
                + "directory with ~ by its whole path";
        return null;
    }

    // In quotes of any kind, the ones of a word processor too.
    [GeneratedRegex("^[\"'`\u2018\u2019\u201C\u201D\u00AB\u00BB]", RegexOptions.NonBacktracking)]
    private static partial Regex Quoted();

    // Of a connection string it may close a value.
    [GeneratedRegex("[\"'`\u2018\u2019\u201C\u201D\u00AB\u00BB]$", RegexOptions.NonBacktracking)]
    private static partial Regex QuotedAtEnd();

    [GeneratedRegex("^--?[A-Za-z]", RegexOptions.NonBacktracking)]
    private static partial Regex Flag();

    [GeneratedRegex("^(export +)?COFFER_[A-Z_]+ *=", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Assignment();

    // $NAME, ${NAME}, $(…), %NAME%, {{ name }}, <name>, and what only a shell expands.
    [GeneratedRegex(@"\$[A-Za-z_{(]|%[A-Za-z_]+%|\{\{|^<.*>$|^~(/|$)",
        RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Unfilled();
}
