using System.Globalization;
using System.Text;
using System.Text.Json;
using Coffer.Hosting;
using Coffer.Http;
using Coffer.Settings;
using Microsoft.Extensions.Logging;

namespace Coffer.Tests.Logs;

/// <summary>No text, from wherever it is, makes a line of the log that it is not, in either format.</summary>
[Trait("Telemetry", "2")]
public sealed class LogLineTests
{
    private const string Forged = "2026-11-21T12:00:00.000Z info access request=req_forged: GET /v1/apps/secrets 200";

    private static readonly string[] Hostile =
    [
        $"x\n{Forged}", $"x\r\n{Forged}", $"x\r{Forged}", $"x\u2028{Forged}", $"x\u2029{Forged}", $"x\u0085{Forged}",
        $"x\v{Forged}", $"x\f{Forged}", "\u001b[2K\u001b[1A\u001b]0;title\a", "\u009b2J", "\0nul", "bell\a\b\b\b\u007f",
        "\u202egnp.exe", "\u2066a\u2069", "\u200b\u200d\ufeff", "\ud800 alone \udfff",
        "\"},\"body\":\"forged\",\"a\":{\"", "\\\" \\n \\u000a", "request=req_forged", ": request=req_forged",
        "\U000e0041\ufe0f\u115f", new string('x', 50_000), "",
    ];

    public static TheoryData<bool, int> All()
    {
        var all = new TheoryData<bool, int>();
        for (var at = 0; at < Hostile.Length; at++)
        {
            all.Add(false, at);
            all.Add(true, at);
        }

        return all;
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Whatever_a_text_says_it_stays_in_its_place_of_one_line(bool isJson, int number)
    {
        var text = Hostile[number];
        foreach (var line in (string[])[
            Written(isJson, log => log.LogError("{Text}", text)),
            Written(isJson, log => log.LogError(Thrown(new InvalidOperationException(text)), "it failed")),
            Written(isJson, log => log.LogError(Thrown(new AggregateException("many",
                new IOException(text, new IOException(text)), new IOException(text))), "{Text}", text)),
            Written(isJson, log => log.LogError("it failed"), category: text),
            Written(isJson, log => log.LogError("it failed"), id: text),
            Written(isJson, log => log.LogError("Request id {TraceIdentifier}", text))])
        {
            Assert.Equal(line.Length - 1, line.IndexOf('\n', StringComparison.Ordinal));
            AssertVisible(line[..^1]);
            Assert.InRange(line.Length, 40, 10 * LogLine.LongestText);
            if (isJson)
            {
                var parsed = JsonElement.Parse(line);
                Assert.Equal(["timestamp", "severity_text", "severity_number", "scope", "attributes", "body"],
                    parsed.EnumerateObject().Select(field => field.Name));
                foreach (var field in parsed.EnumerateObject().Concat(parsed.GetProperty("attributes")
                    .EnumerateObject()).Where(field => field.Value.ValueKind == JsonValueKind.String))
                    AssertVisible(field.NameEquals("exception.stacktrace")
                        ? field.Value.GetString()!.Replace('\n', ' ')
                        : field.Value.GetString()!);
            }
            else if (!line.Contains("request=\"", StringComparison.Ordinal))
            {
                var facts = line[..line.IndexOf(": ", StringComparison.Ordinal)];
                Assert.True(text.StartsWith(facts, StringComparison.Ordinal) || !facts.Contains(" request=req_forged",
                    StringComparison.Ordinal), facts);
            }
        }
    }

    [Fact]
    public void A_line_of_text_and_one_of_JSON_say_the_same()
    {
        const string Text = "2026-11-21T12:00:00.000Z warning Coffer.Hosting.Server request=req_1: "
            + "Two of “three” failed\n";
        Assert.Equal(Text, Written(false, Warn, "Coffer.Hosting.Server", "req_1"));
        Assert.Equal("""
            {"timestamp":"2026-11-21T12:00:00.000Z","severity_text":"WARN","severity_number":13,
            "scope":"Coffer.Hosting.Server","attributes":{"coffer.request_id":"req_1"},"body":"Two of “three” failed"}

            """.Replace(",\n", ",", StringComparison.Ordinal), Written(true, Warn, "Coffer.Hosting.Server", "req_1"));

        static void Warn(ILogger log) => log.LogWarning("{Count} of “three” failed", "Two");
    }

    [Fact]
    public void An_exception_has_where_it_was_thrown_and_all_that_is_in_it()
    {
        var e = Thrown(new InvalidOperationException("outer", Thrown(new IOException("inner"))));
        var text = Written(false, log => log.LogError(e, "it failed"));
        Assert.Contains(": it failed System.InvalidOperationException: outer at Coffer.Tests.Logs.LogLineTests.Thrown",
            text, StringComparison.Ordinal);
        Assert.Contains(" ---> System.IO.IOException: inner at ", text, StringComparison.Ordinal);
        var facts = JsonElement.Parse(Written(true, log => log.LogError(e, "it failed"))).GetProperty("attributes");
        Assert.Equal(("System.InvalidOperationException", "outer"),
            (facts.GetProperty("exception.type").GetString(), facts.GetProperty("exception.message").GetString()));
        Assert.Contains("\n---> System.IO.IOException: inner\nat ",
            facts.GetProperty("exception.stacktrace").GetString(), StringComparison.Ordinal);
    }

    private static string Written(bool isJson, Action<ILogger> write, string category = "Coffer", string? id = null)
    {
        var written = new WrittenLog();
        using (var log = new ServerLog(new LogOptions(isJson), written, new ManualTime()))
        {
            CurrentRequest.Id = id;
            write(log.CreateLogger(category));
            CurrentRequest.Id = null;
        }

        return written.Text;
    }

    private static void AssertVisible(string text)
    {
        foreach (var rune in text.EnumerateRunes())
        {
            if (Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format
                or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Surrogate)
                Assert.Fail($"U+{rune.Value:X4} in {VisibleText.Of(text)}");
        }
    }

    private static T Thrown<T>(T e) where T : Exception
    {
        try
        {
            throw e;
        }
        catch (T thrown)
        {
            return thrown;
        }
    }
}
