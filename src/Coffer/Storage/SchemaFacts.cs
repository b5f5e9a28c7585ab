namespace Coffer.Storage;

/// <summary>
/// What is so about a schema, a fact for each thing in it: its kind and name, and all that matters about it in one
/// text. Two schemas are the same if their facts are.
/// </summary>
internal sealed class SchemaFacts
{
    private const int MostShown = 10;
    private const string Is = " := ";

    /// <summary>A table's whole definition: said only where no column, key or index says what is wrong.</summary>
    public const string Definition = "definition of";

    private readonly SortedDictionary<string, string> facts = new(StringComparer.Ordinal);

    /// <summary>Adds a fact.</summary>
    /// <param name="what">Kind and name, such as <c>column secrets.name</c>: what a message shows.</param>
    /// <param name="how">All that matters about it; empty if only that it is there.</param>
    public void Add(string what, string how) => facts[what] = how;

    /// <summary>The facts, a line each.</summary>
    public override string ToString() =>
        string.Concat(facts.Select(fact => $"{fact.Key}{(fact.Value.Length > 0 ? Is : "")}{fact.Value}\n"));

    /// <summary>The facts of <see cref="ToString"/>.</summary>
    public static SchemaFacts Parse(string text)
    {
        var parsed = new SchemaFacts();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = line.Split(Is, 2);
            parsed.Add(parts[0], parts.Length > 1 ? parts[1] : "");
        }

        return parsed;
    }

    /// <summary>The names of a kind, such as <c>table</c>.</summary>
    public IEnumerable<string> Names(string kind) =>
        facts.Keys.Where(what => what.StartsWith($"{kind} ", StringComparison.Ordinal))
            .Select(what => what[(kind.Length + 1)..]);

    /// <summary>How another schema differs, each thing by its name.</summary>
    public IReadOnlyList<string> Differences(SchemaFacts found)
    {
        List<string> differences =
            [.. found.facts.Keys.Where(what => !facts.ContainsKey(what)).Select(what => $"{what} is not Coffer's")];
        foreach (var (what, how) in facts)
        {
            // Of a table that is missing, everything else is too.
            if (!found.facts.TryGetValue(what, out var other))
            {
                if (!IsPartOfMissing(what, found))
                    differences.Add($"{what} is missing");
            }
            else if (other != how && !what.StartsWith(Definition, StringComparison.Ordinal))
            {
                differences.Add($"{what} is '{other}' and should be '{how}'");
            }
        }

        foreach (var table in Names(Definition)
            .Where(table => found.facts.TryGetValue($"{Definition} {table}", out var other)
            && other != facts[$"{Definition} {table}"] && !differences.Any(known => IsAbout(known, table))))
            differences.Add($"table {table} is not defined as Coffer defines it");
        return differences;
    }

    /// <summary>Refuses a schema that is another than this one.</summary>
    /// <param name="found">What is there.</param>
    /// <param name="shown">Whose schema it is, for the message.</param>
    /// <exception cref="ConfigurationException">It differs; each difference is named.</exception>
    public void Require(SchemaFacts found, string shown)
    {
        var differences = Differences(found);
        if (differences.Count == 0)
            return;
        var more = differences.Count > MostShown ? $"; and {differences.Count - MostShown} more" : "";
        throw new ConfigurationException(
            $"the schema of {shown} is not what Coffer makes: {string.Join("; ", differences.Take(MostShown))}{more}",
            "Take back what was changed by hand, or restore the store from a back-up. Find out first who changed "
                + "it: what Coffer "
            + "answered meanwhile may be wrong. Nothing was changed.");
    }

    private bool IsPartOfMissing(string what, SchemaFacts found) =>
        Names("table")
            .Any(table => what != $"table {table}" && !found.facts.ContainsKey($"table {table}")
            && IsAbout(what, table));

    private static bool IsAbout(string what, string table) =>
        what.Contains($" {table}.", StringComparison.Ordinal)
            || what.Contains($" of {table} ", StringComparison.Ordinal)
        || what.EndsWith($" of {table}", StringComparison.Ordinal);
}
