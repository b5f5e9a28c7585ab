using System.Text.RegularExpressions;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// Every parameter that is a moment or a length of time, by every form that cannot be meant. A parameter that is not
/// in the table fails a test.
/// </summary>
[Trait("Reports from the field", "R2-10")]
public sealed partial class MomentTableTests : ServerTests
{
    private static readonly string[] NoMoment =
    [
        "2031", "20310228", "2031-02-28", "2031-02-28T12:00:00Z", "1e9", "0x7f", "4105080000.0", "+4105080000",
        "4105080000s", " 4105080000", "４１０５０８００００", "never", "-1", "99999999", "253402300800",
        "4105080000000", "9223372036854775807", "9223372036854775808", "\"4105080000\"",
    ];

    private static readonly string[] NoLength =
        ["3600000", "1h", "60s", "1e3", "60.0", "+60", " 60", "-60", "PT1H", "9223372036854775808", "\"60\""];

    /// <summary>Where it is sent, what else is, and which parameter it is.</summary>
    private static readonly (string Route, string With, string Param, string[] Bad)[] Doors =
    [
        ("POST /v1/apps/secrets", "name=k&payload=p&scope[type]=account", "expires_at", NoMoment),
        ("POST /v1/ephemeral_keys", "user=usr_1", "expires_in", NoLength),
        ("GET /v1/apps/installs", "", "created", NoMoment),
        ($"POST {KeysPath}", "type=admin", "expires_at", NoMoment),
        ($"POST {KeysPath}", "type=secret&app={app}", "expires_at", NoMoment),
        ($"POST {KeysPath}/{{key}}/roll", "", "grace_period", NoLength),
        ($"POST {Apps}/{{app}}/signing_secret/roll", "", "grace_period", NoLength),
        ("GET /admin/v1/secrets/search", "", "expiring_before", NoMoment),
        ("GET /admin/v1/audit", "", "since", NoMoment),
        ("GET /admin/v1/audit", "", "until", NoMoment),
    ];

    // Whole numbers that are no times.
    private static readonly string[] Counts = ["if_version", "secrets_per_scope", "limit"];

    [Fact]
    public void Every_parameter_that_is_a_time_is_in_the_table()
    {
        var read = Directory.GetFiles(Repository.File("src/Coffer/Api"), "*.cs", SearchOption.AllDirectories)
            .SelectMany(file => Reads().Matches(File.ReadAllText(file)).Select(match => match.Groups["param"].Value))
            .Except(Counts).Distinct().Order();
        Assert.Equal(Doors.Select(door => door.Param).Distinct().Order(), read);
    }

    [Fact]
    public async Task No_door_takes_what_cannot_be_meant_and_each_names_the_parameter()
    {
        var app = await Server.AppIdAsync();
        var key = (await Server.KeyAsync("secret", livemode: false)).Id();
        foreach (var (route, with, param, bad) in Doors)
        {
            var (method, path) = (route.Split(' ')[0], Filled(route.Split(' ')[1]));
            var caller = path.StartsWith("/admin/", StringComparison.Ordinal) ? Server.Admin : Server.Client();
            foreach (var value in bad)
            {
                var form = $"{Filled(with)}&{param}={Uri.EscapeDataString(value)}".TrimStart('&');
                var answer = method == "GET"
                    ? await caller.Raw(HttpMethod.Get, $"{path}?{form}", null)
                    : await caller.Raw(HttpMethod.Post, path, form);
                Assert.True(answer.Status == 400, $"{route} took {param}={value}: {answer.Text}");
                Assert.Equal(param, (string?)answer.Json["error"]!["param"]);
            }
        }

        string Filled(string text) => text.Replace("{app}", app, StringComparison.Ordinal)
            .Replace("{key}", key, StringComparison.Ordinal);
    }

    [GeneratedRegex("""\b(?:Integer|Time|Date)\((?:[a-z.]*form, )?"(?<param>[a-z_]+)"\)""",
        RegexOptions.ExplicitCapture | RegexOptions.IgnoreCase)]
    private static partial Regex Reads();
}
