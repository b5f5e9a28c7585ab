using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Coffer.Tests.Api;

/// <summary>
/// Replays requests/*.http, the runnable tour of the API, so that it cannot rot. Each file works on an empty store by
/// itself. After a request, comments say what to expect: <c># expect status 200</c>, <c># expect header NAME:
/// VALUE</c>, <c># expect body PATH = JSON</c>, <c># expect body PATH absent</c>; <c># capture NAME = PATH</c> keeps a
/// value.
/// </summary>
public sealed partial class TranscriptTests
{
    public static TheoryData<string> Files() =>
        [.. Directory.GetFiles(Repository.File("requests"), "*.http").Select(
            file => Path.GetFileName(file)!).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Files))]
    public async Task Every_request_is_answered_as_the_file_says(string file)
    {
        await using var server = await TestServer.StartAsync();
        var variables = new Dictionary<string, string>
        {
            ["url"] = server.Url.ToString().TrimEnd('/'),
            ["key"] = server.Keys.TestSecretKey,
            ["live_key"] = server.Keys.LiveSecretKey!,
            ["admin_key"] = server.Keys.AdminKey!,
            ["other_app_key"] = server.OtherAppKey,
        };

        var requests = Separator().Split(await File.ReadAllTextAsync(Repository.File($"requests/{file}"))).Skip(1)
            .ToList();
        Assert.NotEmpty(requests);
        foreach (var request in requests)
            await ReplayAsync(server, request, variables, file);
    }

    private static async Task ReplayAsync(TestServer server, string text, Dictionary<string, string> variables,
        string file)
    {
        var lines = text.Split('\n')
            .Select(line => Variable().Replace(line.TrimEnd('\r'), match => variables[match.Groups[1].Value])).ToList();
        var where = $"{file}: {lines[0]}";
        var comments = lines.Where(line => line.StartsWith('#')).ToList();
        var rest = lines.Skip(1).Where(line => !line.StartsWith('#')).SkipWhile(string.IsNullOrWhiteSpace).ToList();

        var target = rest[0].Split(' ', 2);
        var request = new HttpRequestMessage(new HttpMethod(target[0]),
            new Uri(new Uri(target[1]).PathAndQuery, UriKind.Relative));
        var headers = rest.Skip(1).TakeWhile(line => line.Length > 0).Select(line => line.Split(':', 2))
            .ToDictionary(pair => pair[0], pair => pair[1].Trim());
        var body = string.Concat(rest.Skip(2 + headers.Count).Select(line => line.Trim()));
        if (headers.Remove("Content-Type", out var type))
        {
            request.Content = new ByteArrayContent(System.Text.Encoding.UTF8.GetBytes(body));
            Assert.True(request.Content.Headers.TryAddWithoutValidation("Content-Type", type), where);
        }

        foreach (var (name, value) in headers)
            Assert.True(
                request.Headers.TryAddWithoutValidation(name, value)
                    || request.Content!.Headers.TryAddWithoutValidation(name, value),
                where);

        var answer = await server.SendAsync(request);
        Assert.Contains(comments, comment => comment.StartsWith("# expect status ", StringComparison.Ordinal));
        foreach (var comment in comments)
            Check(answer, comment, variables, $"{where}\n{comment}\n{answer.Status}\n{answer.Text}");
    }

    private static void Check(Answer answer, string comment, Dictionary<string, string> variables, string where)
    {
        if (Expectation().Match(comment) is not { Success: true } expected)
        {
            Assert.False(
                comment.StartsWith("# expect", StringComparison.Ordinal)
                    || comment.StartsWith("# capture", StringComparison.Ordinal),
                $"not understood: {where}");
            return;
        }

        var (subject, path, value) =
            (expected.Groups["what"].Value, expected.Groups["path"].Value, expected.Groups["value"].Value);
        switch (subject)
        {
            case "expect status":
                Assert.True($"{answer.Status}" == path, where);
                break;
            case "expect header":
                Assert.True(answer.Header(path) == value, where);
                break;
            case "expect body" when value == "absent":
                Assert.True(
                    At(answer.Json, path) is null
                        && !answer.Text.Contains($"\"{path.Split('.')[^1]}\":", StringComparison.Ordinal),
                    where);
                break;
            case "expect body":
                Assert.True(JsonNode.DeepEquals(At(answer.Json, path), JsonNode.Parse(value)), where);
                break;
            default:
                variables[path] = At(answer.Json, value)!.ToString();
                break;
        }
    }

    private static JsonNode? At(JsonNode? json, string path)
    {
        foreach (var step in path.Split('.'))
            json = json is JsonArray array ? array.ElementAtOrDefault(int.Parse(step)) : json?[step];
        return json;
    }

    [GeneratedRegex("^### ", RegexOptions.Multiline)]
    private static partial Regex Separator();

    [GeneratedRegex(@"\{\{([a-z_]+)\}\}")]
    private static partial Regex Variable();

    [GeneratedRegex(@"^# (?:(?<what>expect status) (?<path>\d+)|(?<what>expect header) (?<path>[\w-]+): (?<value>.*)"
        + @"|(?<what>expect body) (?<path>\S+) (?:= (?<value>.+)|(?<value>absent))"
        + @"|(?<what>capture) (?<path>[a-z_]+) = (?<value>\S+))$")]
    private static partial Regex Expectation();
}
