namespace Coffer.Transfer;

/// <summary>How far a part of a long work has come, after each batch.</summary>
/// <param name="Work">What is done: copying, comparing, writing, opening.</param>
/// <param name="Table">The table.</param>
/// <param name="Done">Rows that are done.</param>
/// <param name="Total">Rows that there are, as far as is known.</param>
internal readonly record struct Step(string Work, string Table, long Done, long Total)
{
    /// <summary>Rows of a batch.</summary>
    public const int Stride = 500;
}
