using System.Buffers;
using System.Collections.Frozen;

namespace Coffer.Http;

/// <summary>The route table: paths as they are, and paths with ids in them.</summary>
internal sealed class Routes
{
    private const int LongestId = 255;

    private static readonly SearchValues<char> IdCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    private static readonly FrozenDictionary<string, string> NoIds = FrozenDictionary<string, string>.Empty;

    private readonly FrozenDictionary<string, FrozenDictionary<string, ApiRoute>> plain;
    private readonly (string[] Segments, ApiRoute Route)[] withIds;

    // Of the paths with ids: the most segments that one has, and the most characters that it can have.
    private readonly int most;
    private readonly int longest;

    public Routes(IEnumerable<ApiRoute> routes)
    {
        var kinds = routes.ToLookup(route => route.Path.Contains('{', StringComparison.Ordinal));
        plain = kinds[false].GroupBy(route => route.Path).ToFrozenDictionary(
            path => path.Key, path => path.ToFrozenDictionary(route => route.Method, StringComparer.Ordinal),
            StringComparer.Ordinal);
        withIds = [.. kinds[true].Select(route => (route.Path.Split('/'), route))];
        most = withIds.Select(route => route.Segments.Length).DefaultIfEmpty().Max();
        longest = withIds.Select(route => route.Route.Path.Length + (route.Segments.Length * LongestId))
            .DefaultIfEmpty().Max();
    }

    /// <param name="method">As it was sent.</param>
    /// <param name="path">The raw path: no decoding, no trailing slash, no other case.</param>
    public (ApiRoute Route, Target Target)? Find(string method, string path)
    {
        if (plain.TryGetValue(path, out var methods))
        {
            return methods.TryGetValue(method, out var found)
                ? (found, new Target(method, path, NoIds))
                : null;
        }

        // What could be none of them is not split: a path may be 60 KB of slashes.
        if (path.Length > longest || path.AsSpan().Count('/') >= most)
            return null;

        var segments = path.Split('/');
        foreach (var (pattern, route) in withIds)
        {
            if (route.Method == method && Match(pattern, segments) is { } ids)
                return (route, new Target(method, path, ids));
        }

        return null;
    }

    private static Dictionary<string, string>? Match(string[] pattern, string[] segments)
    {
        if (pattern.Length != segments.Length)
            return null;
        var ids = new Dictionary<string, string>(StringComparer.Ordinal);
        for (var i = 0; i < pattern.Length; i++)
        {
            if (pattern[i].StartsWith('{'))
            {
                if (segments[i].Length is 0 or > LongestId || segments[i].AsSpan().ContainsAnyExcept(IdCharacters))
                    return null;
                ids.Add(pattern[i][1..^1], segments[i]);
            }
            else if (pattern[i] != segments[i])
            {
                return null;
            }
        }

        return ids;
    }
}
