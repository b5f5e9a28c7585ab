using System.Globalization;

namespace Coffer.Hosting;

/// <summary>
/// How much is allocated between two collections: at most and at least what <c>Coffer.csproj</c> names. Without a least
/// the runtime gives some of it back to the system after each collection and asks for it again, page by page:
/// up to a ninth of the processor time of a request (docs/decisions/0050-young-memory-is-kept.md). It can be said by
/// the environment only.
/// </summary>
internal static class YoungMemory
{
    private const string Name = "GCgen0size";

    /// <summary>
    /// What the environment is to say; null if it says so already, or anything else, and in the native build, which has
    /// it inside.
    /// </summary>
    public static (string Name, string Value)? Variable =>
        !Product.IsNative
        && Environment.GetEnvironmentVariable($"DOTNET_{Name}") is null
        && Environment.GetEnvironmentVariable($"COMPlus_{Name}") is null
        && AppContext.GetData("System.GC.Gen0MaxBudget") is string most
            ? ($"DOTNET_{Name}", $"{long.Parse(most, CultureInfo.InvariantCulture):x}")
            : null;
}
