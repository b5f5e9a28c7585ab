using System.Text.RegularExpressions;

namespace Coffer.Tests.House;

/// <summary>No condition is chained: of more than two outcomes, a switch or an early return says which.</summary>
[Trait("House in order", "5")]
public sealed class ConditionsTests
{
    // Where a "?" does not ask, or another one is meant: comments, texts and characters.
    private static readonly Regex Texts = new("""
        //.*|("{3,})(.|\n)*?\1|@"([^"]|"")*"|"(\\.|[^"\\\n])*"|'(\\.|[^'\\])'
        """);

    [Fact]
    public void No_condition_is_chained() => Assert.Empty(DocumentLinks.Code()
        .Where(path => path.EndsWith(".cs", StringComparison.Ordinal))
        .SelectMany(path => Chains(File.ReadAllText(Repository.File(path))).Select(line => $"{path}:{line}")));

    [Theory]
    [InlineData("var a = b ? c : d ? e : f;", 1)]
    [InlineData("var a = b\n    ? c\n    : d\n        ? e : f;", 1)]
    [InlineData("var a = b ? c ? d : e : f;", 1)]
    [InlineData("var a = b ? F(c ? d : e) : f;", 0)]
    [InlineData("F(a ? b : c, d ? e : f);", 0)]
    [InlineData("var a = b ? c : d; var e = f ? g : h;", 0)]
    [InlineData("int? a = b ?? (c ? d : e?.F ?? g);", 0)]
    [InlineData("var a = b ? \" ? \" : \"\"; // c ? d : e", 0)]
    public void A_chain_is_found(string code, int count) => Assert.Equal(count, Chains(code).Count());

    /// <summary>The lines on which a second condition begins in what a first one chooses from.</summary>
    private static IEnumerable<int> Chains(string code)
    {
        var bare = Texts.Replace(code, text => new string('\n', text.Value.Count(letter => letter == '\n')) + "_");
        // Whether a condition has begun: in what no bracket closes yet, innermost last.
        var isAsked = new Stack<bool>([false]);
        for (var i = 1; i < bare.Length - 1; i++)
        {
            var letter = bare[i];
            if (letter is ')' or ']' or '}' && isAsked.Count > 1)
                isAsked.Pop();
            if (letter is '(' or '[' or '{')
                isAsked.Push(false);
            else if (letter is ',' or ';' or '}') // the end of a block is that of a statement
                Set(false);
            else if (letter == '?' && char.IsWhiteSpace(bare[i - 1]) && char.IsWhiteSpace(bare[i + 1]) && Set(true))
                yield return bare[..i].Count(each => each == '\n') + 1;
        }

        // Gives what was.
        bool Set(bool value)
        {
            var before = isAsked.Pop();
            isAsked.Push(value);
            return before;
        }
    }
}
