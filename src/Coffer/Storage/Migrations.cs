using System.Reflection;

namespace Coffer.Storage;

/// <summary>The scripts that bring a schema up to date, embedded.</summary>
internal static class Migrations
{
    /// <summary>
    /// An engine's scripts. They are named NNNN-subject.sql and numbered from 0001 without gaps: the name's order is
    /// the order they run in.
    /// </summary>
    /// <param name="engine"><c>sqlite</c> or <c>postgres</c>.</param>
    public static IReadOnlyList<string> Of(string engine)
    {
        var assembly = Assembly.GetExecutingAssembly();
        return [.. assembly.GetManifestResourceNames()
            .Where(name => name.StartsWith(engine + "/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(Text)];
    }

    /// <summary>An embedded text by its name.</summary>
    public static string Text(string name)
    {
        using var text = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!);
        return text.ReadToEnd();
    }
}
