using System.Reflection;
using Coffer.Storage;

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

    /// <summary>The release of SQLite that it comes with, such as 3.53.4, or why there is none.</summary>
    public static string Sqlite
    {
        get
        {
            try
            {
                return SqliteNative.Release;
            }
            catch (ConfigurationException e)
            {
                return $"unknown: {e.Message}";
            }
        }
    }
}
