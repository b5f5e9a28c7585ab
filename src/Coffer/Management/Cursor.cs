using Coffer.Access;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>What a page of a list is next to: it begins after an element, or ends before it.</summary>
/// <param name="Id">The element's id.</param>
/// <param name="IsBefore">Whether the page is what stands before it. It is then read nearest first.</param>
internal sealed record Cursor(string Id, bool IsBefore)
{
    public string Param => IsBefore ? "ending_before" : "starting_after";
}

internal static class Cursors
{
    /// <summary>A page of rows that are there whole, as the storage gives one: nearest to the bound first.</summary>
    public static IReadOnlyList<T> Page<T>(
        this IEnumerable<T> rows, Func<T, Place> place, Place? bound, bool newer, int limit)
    {
        var order = Comparer<Place>.Create(static (one, other) => one.Created != other.Created
            ? one.Created.CompareTo(other.Created)
            : string.CompareOrdinal(one.Id, other.Id));
        var within = rows.Where(row => bound is not { } at
            || (newer ? order.Compare(place(row), at) > 0 : order.Compare(place(row), at) < 0));
        var sorted = newer ? within.OrderBy(place, order) : within.OrderByDescending(place, order);
        return [.. sorted.Take(limit)];
    }

    /// <summary>The place that a page of a list of apps or API keys is next to, and which way it is read.</summary>
    /// <param name="cursor">The cursor, or null for the first page.</param>
    /// <param name="instance">Whose list it is.</param>
    /// <param name="prefix">The prefix of its ids.</param>
    /// <param name="noun">What it lists, for the message.</param>
    /// <param name="find">Where what has an id stands, or null if it is not there.</param>
    /// <exception cref="ApiError">400: nothing has the id, and nothing of this store ever had.</exception>
    public static async Task<(Place? Place, bool Newer)> FindAsync(
        this Cursor? cursor, Instance instance, string prefix, string noun, Func<string, Task<Place?>> find)
    {
        if (cursor is null)
            return (null, false);
        if (ManagedId.Created(instance, prefix, cursor.Id) is { } created)
            return (new Place(created, cursor.Id), cursor.IsBefore);
        return (await find(cursor.Id) ?? throw ApiError.UnknownPosition(noun, cursor.Id, cursor.Param),
            cursor.IsBefore);
    }
}
