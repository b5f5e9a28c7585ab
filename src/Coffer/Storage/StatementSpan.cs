using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.RegularExpressions;
using Coffer.Telemetry;

namespace Coffer.Storage;

/// <summary>
/// The span of a call to the database, the same for every engine. It says which kind of statement and which tables, as
/// <c>SELECT tenants secrets</c>: never the text of a statement, nor a value.
/// </summary>
internal static partial class StatementSpan
{
    // By the identity of texts that are made once.
    private static readonly ConcurrentDictionary<string, string> Names = new(ReferenceEqualityComparer.Instance);

    /// <summary>Begins it below the span that is under way here; null if none is.</summary>
    /// <param name="engine">The kind of database.</param>
    /// <param name="sql">The text of the statement, made once.</param>
    public static Activity? Begin(string engine, string sql)
    {
        if (Traces.Here == default)
            return null;
        var name = Names.GetOrAdd(sql, NameOf);
        return Traces.Begin(name, ActivityKind.Client)?
            .SetTag("db.system.name", engine).SetTag("db.query.summary", name);
    }

    /// <summary>The statement's first word, and those of the store's tables that it is about.</summary>
    public static string NameOf(string sql) => string.Join(' ', Named().Matches(sql)
        .Select(match => match.Groups["table"].Value).Where(name => Tables.All.Any(table => table.Name == name))
        .Distinct().Prepend(new string([.. sql.TrimStart().TakeWhile(char.IsAsciiLetter)])));

    [GeneratedRegex(@"\b(FROM|JOIN|INTO|UPDATE)\s+(?<table>[a-z_]+)",
        RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex Named();
}
