using Coffer.Cli;

namespace Coffer.Tests;

/// <summary>Text from outside hides nothing and looks like what it is, wherever people read it.</summary>
[Trait("Firm edges", "13")]
public sealed class VisibleTextTests
{
    [Theory]
    [InlineData("a\u202Eb\u2066c\u200Fd\u061Ce", @"a\u202eb\u2066c\u200fd\u061ce")] // bidirectional
    [InlineData("a\u200Bb\u200Cc\u200Dd\u2060e\uFEFFf\u00ADg", @"a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg")]
    [InlineData("a\U000E0001\U000E0041\U000E007Fb", @"a\udb40\udc01\udb40\udc41\udb40\udc7fb")] // tags
    [InlineData("a\uFE0Fb\U000E0100c", @"a\ufe0fb\udb40\udd00c")] // selectors of variations
    [InlineData("a\u3164b\u115Fc\u034Fd\uFFA0", @"a\u3164b\u115fc\u034fd\uffa0")] // fillers
    [InlineData("a\u0007b\u009Bc\r\nd\u2028e\u2029", @"a\u0007b\u009bc\u000d\u000ad\u2028e\u2029")]
    [InlineData("\u202E", @"\u202e")]
    public void What_is_not_seen_is_written_out(string text, string shown)
    {
        Assert.Equal(shown, VisibleText.Of(text));
        Assert.Equal(shown, Terminal.Shown(text));
    }

    [Fact]
    public void Half_of_a_pair_is_no_character() => Assert.Equal(@"a\ud83db", VisibleText.Of("a\uD83Db"));

    [Theory]
    [InlineData("Zürich, 東京, שלום, ไทย, e\u0301, 🔑 \U0001F1E9\U0001F1EA")]
    [InlineData("a\u00A0b 'c' \\u202e")]
    [InlineData("")]
    public void What_is_seen_stays_as_it_is(string text) => Assert.Same(text, VisibleText.Of(text));

    [Fact]
    public void Lines_of_JSON_say_the_same_and_show_it_too()
    {
        const string Name = "a\u202Eb\U000E0041\u0001\"\\é";
        var line = Terminal.JsonLine(System.Text.Json.JsonSerializer.SerializeToElement(Name));
        Assert.DoesNotContain(line, c => c is '\u202E' or '\uDB40' or '\u0001');
        Assert.Contains("é", line, StringComparison.Ordinal);
        Assert.Equal(Name, System.Text.Json.JsonSerializer.Deserialize<string>(line));
    }

    [Fact]
    public void What_a_key_service_says_is_shown_so_too() =>
        Assert.Equal(
            @"denied\u202e for \u200byou", Coffer.Keys.KeyServiceText.Shown("denied\u202E\nfor \u200Byou\r\n"));
}
