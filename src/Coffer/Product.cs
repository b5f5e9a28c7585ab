using System.Reflection;
using System.Runtime.CompilerServices;

namespace Coffer;

/// <summary>Which Coffer this is. The build says it: nothing here is looked up at run time.</summary>
internal static class Product
{
    // VERSION, or VERSION+COMMIT where the build knew the commit.
    private static readonly string[] Parts = typeof(Product).Assembly
        .GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+', 2);

    /// <summary>The version, such as 0.1.0.</summary>
    public static string Version => Parts[0];

    /// <summary>The commit that it was built from, or null: a source without git that named none was built.</summary>
    public static string? Commit => Parts is [_, { Length: > 0 } commit] ? commit : null;

    /// <summary>The .NET runtime that it runs on, such as 10.0.12.</summary>
    public static string Runtime => Environment.Version.ToString();

    /// <summary>Whether it was compiled ahead of time, to a program that brings its runtime.</summary>
    public static bool IsNative => !RuntimeFeature.IsDynamicCodeSupported;

    /// <summary>How the URLs of wrappers begin that this build lacks: it has no library of theirs.</summary>
    public static IReadOnlyList<string> Lacks { get; } =
#if NATIVE
        [WrapperUrl.AzureKeyVault, WrapperUrl.GoogleKms];
#else
        [];
#endif

    /// <summary>
    /// The oldest runtime that is fit: the one that all tests have passed on. Earlier ones have known faults, in what
    /// reads HTTP too (SECURITY.md).
    /// </summary>
    public static readonly Version OldestRuntime = new(10, 0, 12);

    /// <summary>What an operator has to know of a runtime, or null.</summary>
    public static string? TroubleOf(Version runtime) => runtime >= OldestRuntime
        ? null
        : $"This .NET runtime is {runtime}, and the oldest that is fit is {OldestRuntime}. Update the runtime";
}
