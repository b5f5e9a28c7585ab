using System.Reflection;
using System.Text.RegularExpressions;
using Coffer.Hosting;

namespace Coffer.Tests.House;

/// <summary>Types and members that documents name, looked up in the program, its client and its tests.</summary>
internal static partial class DocumentNames
{
    private const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance
        | BindingFlags.Static | BindingFlags.FlattenHierarchy;

    // Words of protocols, of SQL and of other people's programs.
    private static readonly HashSet<string> Foreign = new(StringComparer.Ordinal)
    {
        "Authorization", "Bearer", "Basic", "Content", "Vary", "Origin", "Passfile", "Timeout", "Host", "Recursive",
        "ConcurrentLru", "ConcurrentLfu", "StripeAccount", "MemoryCache", "MaxConcurrentConnections", "RequestClose",
    };

    private static readonly Lazy<ILookup<string, Type>> Types = new(() =>
        new[] { typeof(Server), typeof(global::Coffer.Client.CofferClient), typeof(DocumentNames) }
            .SelectMany(type => type.Assembly.GetTypes()).ToLookup(type => type.Name.Split('`')[0]));

    // A member may be named without its type where the text is about that type.
    private static readonly Lazy<HashSet<string>> Members = new(() => Types.Value.SelectMany(types => types)
        .SelectMany(type => type.GetMembers(All | BindingFlags.DeclaredOnly)).Select(member => member.Name)
        .ToHashSet(StringComparer.Ordinal));

    private static readonly Lazy<ILookup<string, Type>> Framework = new(() => AppDomain.CurrentDomain.GetAssemblies()
        .Where(assembly => assembly.GetName().Name!.StartsWith("System", StringComparison.Ordinal)
            || assembly.GetName().Name!.StartsWith("Microsoft", StringComparison.Ordinal))
        .SelectMany(assembly => assembly.GetExportedTypes()).ToLookup(type => type.Name.Split('`')[0]));

    // The tests with real processes are another program, so they are read as text.
    private static readonly Lazy<Dictionary<string, string>> EndToEnd = new(() =>
        Directory.GetFiles(Repository.File("test/Coffer.EndToEnd"), "*.cs", SearchOption.AllDirectories)
            .Select(File.ReadAllText)
            .SelectMany(text => Declared().Matches(text).Select(type => (Name: type.Groups["name"].Value, Text: text)))
            .GroupBy(type => type.Name, type => type.Text).ToDictionary(type => type.Key, string.Concat));

    /// <summary>Names in code of the text that are no type, no member and no namespace.</summary>
    public static IEnumerable<string> Unknown(Document document) => document.Spans
        .Where(span => Name().IsMatch(span) && (document.IsAboutCode || Humps().IsMatch(span)))
        .Where(span => !IsKnown(span.Split('.')));

    private static bool IsKnown(string[] names)
    {
        if (names is [var word] && (Foreign.Contains(word) || Framework.Value.Contains(word) || IsRoom(word)))
            return true;
        string[] projects = ["src/", "test/", "bench/"];
        if (names[0] is "System" or "Microsoft"
            || projects.Any(folder => Directory.Exists(Repository.File(folder + string.Join('.', names)))))
            return true;
        if (names is [var member] && Members.Value.Contains(member))
            return true;
        if (names.Length == 2 && Framework.Value[names[0]].Any(type => Has(type, names.AsSpan(1))))
            return true;
        return Types.Value[names[0]].Any(type => Has(type, names.AsSpan(1)))
            || (EndToEnd.Value.TryGetValue(names[0], out var text)
                && names.Skip(1).All(name => Regex.IsMatch(text, $@"\b{name}\b")));
    }

    // A folder of the sources is a room.
    private static bool IsRoom(string word) => Directory.Exists(Repository.File("src/Coffer/" + word));

    private static bool Has(Type type, ReadOnlySpan<string> members)
    {
        if (members.Length == 0)
            return true;
        foreach (var nested in type.GetNestedTypes(All))
        {
            if (nested.Name.Split('`')[0] == members[0])
                return Has(nested, members[1..]);
        }

        return members.Length == 1 && type.GetMember(members[0], All).Length > 0;
    }

    [GeneratedRegex(@"^[A-Z][a-z0-9]\w*(\.[A-Z]\w+)*$", RegexOptions.ExplicitCapture)]
    private static partial Regex Name();

    [GeneratedRegex("^[A-Z][a-z0-9]+([A-Z]|[.])", RegexOptions.ExplicitCapture)]
    private static partial Regex Humps();

    [GeneratedRegex(@"\b(class|record|struct|enum) (struct )?(?<name>[A-Z]\w+)", RegexOptions.ExplicitCapture)]
    private static partial Regex Declared();
}
