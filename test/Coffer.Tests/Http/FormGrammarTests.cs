using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Coffer.Http;

namespace Coffer.Tests.Http;

/// <summary>
/// The grammar of docs/wire.md, "Parameters": what it says is accepted, what it does not say is refused by its name,
/// and a second, plain implementation agrees on random forms. TEST_SEED repeats a run.
/// </summary>
[Trait("Firm ground", "15")]
public sealed class FormGrammarTests
{
    private const int Forms = 60_000;

    private static readonly string[] Pieces =
    [
        "scope", "expand", "name", "x", "[", "]", "[]", "[0]", "[1]", "[01]", "[user]", "[type]", "[x]",
        "=", "=", "&", "&", "a", "b",
        "%", "%5B", "%5d", "%26", "%3D", "%25", "%00", "%C3%A9", "%C3", "%zz", "%4", "+", "é", "\0", " ", "-1", "true",
    ];

    private readonly Choices choices = new();

    [Theory]
    [InlineData("scope[user]]=v", "scope[user]]")]
    [InlineData("scope[user]x[y]=v", "scope[user]x[y]")]
    [InlineData("expand[0]]=x", "expand[0]]")]
    [InlineData("scope]=v", "scope]")]
    [InlineData("scope[user=v", "scope[user")]
    [InlineData("scope[[user]]=v", "scope[[user]]")]
    [InlineData("scope[user[x]]=v", "scope[user[x]]")]
    [InlineData("scope[user] =v", "scope[user] ")]
    [InlineData("scope[user].x=v", "scope[user].x")]
    [InlineData("scope[user][=v", "scope[user][")]
    [InlineData("scope[user]]%5B=v", "scope[user]][")]
    [InlineData("scope%5Buser%5D%5D=v", "scope[user]]")]
    [InlineData("[user]=v", "[user]")]
    [InlineData("[]=v", "[]")]
    [InlineData("][=v", "][")]
    [InlineData("sc%zzope=v", "sc%zzope")]
    [InlineData("sc%=v", "sc%")]
    [InlineData("sc%ffope=v", "sc\uFFFDope")]
    [InlineData("=v", null)]
    public void A_name_that_the_grammar_does_not_have_is_refused_by_its_name(string query, string? param)
    {
        var error = Assert.Throws<ApiError>(() => new StripeForm(query, default));
        Assert.Equal((400, param), (error.Status, error.Param));
        var inBody = Assert.Throws<ApiError>(() => new StripeForm("", Encoding.ASCII.GetBytes(query)));
        Assert.Equal((400, param), (inBody.Status, inBody.Param));
    }

    [Theory]
    [InlineData("expand[00]=a")]
    [InlineData("expand[01]=a")]
    [InlineData("expand[-1]=a")]
    [InlineData("expand[1.0]=a")]
    [InlineData("expand[ 1]=a")]
    [InlineData("expand[x]=a")]
    [InlineData("expand[0][0]=a")]
    [InlineData("expand[][]=a")]
    [InlineData("expand[%D9%A3]=a")]
    public void A_place_of_an_array_has_one_name(string query) =>
        Assert.Equal("expand", Assert.Throws<ApiError>(() => Form(query).Strings("expand")).Param);

    [Theory]
    [InlineData("expand[0]=a&expand[0]=b", "expand[0]")]
    [InlineData("expand=a&expand=b", "expand")]
    [InlineData("expand=&expand=b", "expand")]
    [InlineData("expand[1]=a&expand[0]=a&expand[1]=", "expand[1]")]
    public void A_place_of_an_array_that_is_sent_twice_must_have_one_value(string query, string param)
    {
        Assert.Equal(param, Assert.Throws<ApiError>(() => Form(query).Strings("expand")).Param);
        Assert.Equal(["a"], Form("expand[0]=a&expand[0]=a").Strings("expand"));
        Assert.Equal(["a", "a"], Form("expand[]=a&expand[]=a").Strings("expand"));
    }

    [Theory]
    [InlineData("scope%5Btype%5D=user&scope%5Buser%5D=u&expand%5B0%5D=payload")] // Python, .NET
    [InlineData("scope[type]=user&scope[user]=u&expand[0]=payload")] // Node, Ruby, PHP
    [InlineData("scope[type]=user&scope[user]=u&expand[]=payload")] // curl
    [InlineData("scope[type]=user&scope[user]=u&expand=payload")]
    [InlineData("&scope[type]=user&&scope[user]=u&expand[0]=payload&expand[1]=&")]
    public void What_the_SDKs_send_is_read(string query)
    {
        using var form = Form(query);
        form.Only("scope", "expand");
        form.ObjectOf("scope", "type", "user");
        Assert.Equal("u", Encoding.UTF8.GetString(form.RequiredText("scope[user]", 10).Span));
        Assert.Equal(["payload"], form.Strings("expand"));
    }

    [Fact]
    public void A_second_implementation_agrees_on_random_forms()
    {
        var (accepted, refused) = (0, 0);
        for (var number = 0; number < Forms; number++)
        {
            var query = new string([.. NewForm().Where(char.IsAscii)]);
            var body = Encoding.UTF8.GetBytes(NewForm());
            var said = Said(() => new StripeForm(query, body));
            var expected = Expected(() => new PlainForm(query, body));
            Assert.True(expected == said,
                $"{choices}, form {number}: '{query}' and {Convert.ToHexString(body)}\n" +
                $"plain: {expected}\nours:  {said}");
            _ = said.StartsWith("read", StringComparison.Ordinal) ? accepted++ : refused++;
        }

        // A test that is refused everywhere, or nowhere, proves nothing.
        Assert.True(accepted > Forms / 20 && refused > Forms / 20, $"{accepted} accepted, {refused} refused");
    }

    private static StripeForm Form(string query) => new(query, default);

    // What each way to read a form gives, as one text: both implementations must write the same.
    private static string Said(Func<StripeForm> make)
    {
        StripeForm form;
        try
        {
            form = make();
        }
        catch (ApiError error)
        {
            return Word(error);
        }

        using (form)
        {
            return "read; " + string.Join("; ",
                Try(() => form.Text("name", 1_000) is { } utf8 ? Encoding.UTF8.GetString(utf8.Span) : "none"),
                Try(() => form.Text("scope[user]", 1_000) is { } utf8 ? Encoding.UTF8.GetString(utf8.Span) : "none"),
                Try(() => string.Join(',', form.Strings("expand"))),
                Try(() => Void(() => form.ObjectOf("scope", "type", "user"))),
                Try(() => Void(() => form.Only("scope", "expand", "name"))));
        }

        static string Try(Func<string> read)
        {
            try
            {
                return read();
            }
            catch (ApiError error)
            {
                return Word(error);
            }
        }
    }

    private static string Expected(Func<PlainForm> make)
    {
        PlainForm form;
        try
        {
            form = make();
        }
        catch (PlainForm.Refused refused)
        {
            return Word(refused);
        }

        return "read; " + string.Join("; ",
            Try(() => form.Text("name") ?? "none"),
            Try(() => form.Text("scope[user]") ?? "none"),
            Try(() => string.Join(',', form.Strings("expand"))),
            Try(() => Void(() => form.ObjectOf("scope", "type", "user"))),
            Try(() => Void(() => form.Only("scope", "expand", "name"))));

        static string Try(Func<string> read)
        {
            try
            {
                return read();
            }
            catch (PlainForm.Refused refused)
            {
                return Word(refused);
            }
        }
    }

    private static string Void(Action act)
    {
        act();
        return "fine";
    }

    private static string Word(PlainForm.Refused refused)
    {
        // As errors show what a client sent: cut, and with control characters replaced.
        var param = refused.Param ?? "";
        if (param.Length > 100)
            param = param[..100] + "...";
        return $"{refused.Why} "
            + $"{string.Concat(param.Select(c => char.IsControl(c) || char.IsSurrogate(c) ? '\uFFFD' : c))}";
    }

    private static string Word(ApiError error)
    {
        Assert.Equal(400, error.Status);
        var why = error.Message switch
        {
            var text when text.StartsWith("Received a parameter whose name", StringComparison.Ordinal) => "name",
            var text when text.StartsWith("Invalid percent-encoding", StringComparison.Ordinal) => "escape",
            var text when text.StartsWith("Invalid UTF-8", StringComparison.Ordinal) => "utf-8",
            var text when text.StartsWith("Received too many", StringComparison.Ordinal) => "too many",
            var text when text.StartsWith("Received parameter more than once", StringComparison.Ordinal) => "conflict",
            var text when text.StartsWith("Received unknown", StringComparison.Ordinal) => "unknown",
            var text when text.StartsWith("You passed an empty string", StringComparison.Ordinal) => "empty",
            var text when text.StartsWith("Invalid string: ", StringComparison.Ordinal) => "not a string",
            "Invalid array" => "not an array",
            "Invalid object" => "not an object",
            var text => text,
        };
        return $"{why} {error.Param}";
    }

    // Mostly what a client could mean, with something put in, taken out or doubled.
    private string NewForm()
    {
        var parts = new List<string>();
        for (var count = Next(5); count > 0; count--)
        {
            parts.Add(Next(3) == 0
                ? Pieces[Next(4)]
                : ((string[])["scope[user]", "scope[type]", "expand[]", "expand[0]", "expand", "name"])[Next(6)]);
            if (Next(8) == 0)
                parts.Add(Pieces[Next(Pieces.Length)]);
            parts.Add("=");
            parts.Add(Pieces[Next(8) == 0 ? Next(Pieces.Length) : 17 + Next(2)]);
            parts.Add("&");
        }

        for (var changes = Next(3); changes > 0 && parts.Count > 0; changes--)
        {
            if (Next(2) == 0)
                parts.Insert(Next(parts.Count), Pieces[Next(Pieces.Length)]);
            else
                parts.RemoveAt(Next(parts.Count));
        }

        return string.Concat(Next(500) == 0 ? Enumerable.Repeat("a=1&", 195 + Next(10)) : parts);
    }

    private int Next(int below) => choices.Next(below);
}
