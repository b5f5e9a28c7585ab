using System.Collections;
using Coffer.Settings;

namespace Coffer.Tests;

/// <summary>
/// A value that cannot be meant as it was written is refused by name, at each door of each setting, before anything is
/// created.
/// </summary>
[Trait("Reports from the field", "R2-05")]
[Trait("Firm edges", "12")]
public sealed class LiteralTextTests
{
    private static readonly (string Value, string Problem)[] Wrong =
    [
        ("\"store\"", "is in quotes"), ("'store'", "is in quotes"), ("\"store", "is in quotes"),
        ("\u201Cstore\u201D", "is in quotes"), ("`store`", "is in quotes"), ("", "is empty"), (" ", "is empty"),
        ("store\r", "line break"), (" store", "white space before"), ("store ", "white space before"),
        ("sto\nre", "line break"), ("sto\0re", "control character"), ("st\uFFFDre", "is not UTF-8"),
        ("--listen", "begins with a dash"), ("-x", "begins with a dash"),
        ("COFFER_DATA=store", "repeats the name"), ("export COFFER_DATA=store", "repeats the name"),
    ];

    private static readonly (string Value, string Problem)[] Unfilled =
    [
        ("$DATA", "nothing has filled in"), ("${DATA}", "nothing has filled in"),
        ("/srv/$NAME", "nothing has filled in"),
        ("$(pwd)/store", "nothing has filled in"), ("%APPDATA%", "nothing has filled in"),
        ("{{ data }}", "nothing has filled in"), ("<data>", "nothing has filled in"), ("~/store", "nothing has filled"),
        ("~", "nothing has filled in"), ("/srv/store\"", "is in quotes"), ("/srv/store'", "is in quotes"),
    ];

    public static TheoryData<string> Names() => [.. SettingsTable.All.Select(setting => setting.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Each_setting_refuses_it_at_each_door(string name)
    {
        var setting = SettingsTable.All.Single(each => each.Name == name);
        using var directory = new TemporaryDirectory();
        foreach (var (value, problem) in setting.IsPrivate ? Wrong : [.. Wrong, .. Unfilled])
        {
            if (setting.InDev)
                Refuses(Configuration.ForDev(new Dictionary<string, string> { [name] = value }), $"--{name}");
            if (!setting.InServe)
                continue;
            Refuses(Configuration.ForServe(With(value), null, new Hashtable()), $"--{name}");
            Refuses(Configuration.ForServe(With(), null, new Hashtable { [setting.Environment] = value }),
                setting.Environment);
            // A file is read line by line, each without the spaces around it, and may have no value.
            if (value.Trim() != value || value.Contains('\n', StringComparison.Ordinal))
                continue;
            var file = directory.File("coffer.conf");
            File.WriteAllText(file, $"{name} = {value}");
            Refuses(Configuration.ForServe(With(), file, new Hashtable()), $"{file} line 1: {name}");

            void Refuses(CofferOptions options, string written)
            {
                var shown = setting.IsPrivate ? "" : $" '{value}'";
                Assert.Contains(options.Misread, each => each.StartsWith($"{written}{shown} ", StringComparison.Ordinal)
                    && each.Contains(problem, StringComparison.Ordinal));
            }
        }

        Dictionary<string, string> With(string? value = null)
        {
            var flags = new Dictionary<string, string>();
            if (name != "data")
                flags["data"] = "d";
            if (value is not null)
                flags[name] = value;
            return flags;
        }
    }

    [Theory]
    [InlineData("/var/lib/coffer")]
    [InlineData("./-store")]
    [InlineData("my store's")]
    [InlineData("C:\\coffer")]
    [InlineData("a$")]
    [InlineData("50%")]
    [InlineData("-1")]
    [InlineData("https://0.0.0.0:443")]
    [InlineData("données")]
    public void What_may_be_meant_is_accepted(string value) => Assert.Null(LiteralText.Problem(value));

    [Theory]
    [InlineData("Host=db;Password=$ecret${x}")]
    [InlineData("Host=db;Password='a b'")]
    public void A_password_may_have_any_character(string value) =>
        Assert.Null(LiteralText.Problem(value, isFree: true));
}
