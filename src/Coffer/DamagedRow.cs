namespace Coffer;

/// <summary>A stored row that was changed outside Coffer, or that the medium lost; every room may use it.</summary>
/// <param name="Table">Its table.</param>
/// <param name="Id">What tells it apart there, in words that may be shown: ids and numbers, no name and no key.</param>
/// <param name="Fault">What is wrong with it, such as <c>its proof</c>.</param>
internal sealed record DamagedRow(string Table, string Id, string Fault)
{
    /// <summary>The fault of a row whose columns hold what they may not.</summary>
    public const string Columns = "the type of a column, or a time";

    private const int Longest = 300;

    /// <summary>The app that it belongs to, if it says so.</summary>
    public string? App { get; init; }

    /// <summary>The account, in the same way.</summary>
    public string? Account { get; init; }

    /// <summary>The row in one line: who writes the database must not write the server's log with it.</summary>
    public override string ToString()
    {
        var text = $"{Table} {Id}";
        var cut = text.Length <= Longest ? text : text[..Longest];
        return string.Create(cut.Length, cut, static (to, from) =>
        {
            for (var i = 0; i < from.Length; i++)
                to[i] = from[i] is >= ' ' and <= '~' ? from[i] : '?';
        });
    }
}
