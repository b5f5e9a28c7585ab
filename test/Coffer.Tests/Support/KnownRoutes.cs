using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Coffer.Hosting;
using Coffer.Http;

namespace Coffer.Tests.Support;

/// <summary>The routes that the program has, and what their handlers accept.</summary>
internal static partial class KnownRoutes
{
    /// <summary>
    /// Every route. Which ones a type has does not depend on what it is made of, so it need not be made.
    /// </summary>
    public static IReadOnlyList<ApiRoute> All { get; } = [.. typeof(Server).Assembly.GetTypes()
        .Where(type => type.Namespace is "Coffer.Api" or "Coffer.Api.Admin")
        .SelectMany(type => type.GetProperties(
            BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static))
        .Where(property => property.PropertyType.IsAssignableTo(typeof(IEnumerable<ApiRoute>)))
        .SelectMany(property => (IEnumerable<ApiRoute>)property
            .GetValue(RuntimeHelpers.GetUninitializedObject(property.DeclaringType!))!)];

    /// <summary>
    /// The parameters that a route accepts: those that its handler names to <c>StripeForm.Only</c>, in its source.
    /// </summary>
    public static IReadOnlyList<string> Accepted(ApiRoute route)
    {
        var handler = route.Handler.Method;
        var folder = handler.DeclaringType!.Namespace!["Coffer.".Length..].Replace('.', '/');
        var source = File.ReadAllText(Repository.File($"src/Coffer/{folder}/{handler.DeclaringType.Name}.cs"));
        var begin = source.IndexOf($" {handler.Name}(ApiRequest request)", StringComparison.Ordinal);
        Assert.True(begin > 0, $"{route.Method} {route.Path}: no {handler.Name} in its source");
        var body = source[begin..];
        body = body[..body.IndexOf("\n    }\n", StringComparison.Ordinal)];
        var only = Only().Match(body);
        Assert.True(only.Success, $"{route.Method} {route.Path}: {handler.Name} does not say what it accepts");
        return [.. Name().Matches(only.Groups["names"].Value).Select(name => name.Groups["name"].Value)];
    }

    [GeneratedRegex("""orm\.Only\((?<names>("[a-z_]+"(,\s*)?)*)\);""", RegexOptions.ExplicitCapture)]
    private static partial Regex Only();

    [GeneratedRegex("\"(?<name>[a-z_]+)\"", RegexOptions.ExplicitCapture)]
    private static partial Regex Name();
}
