using Coffer.Storage.Sqlite;

namespace Coffer.Hosting;

/// <summary>The SQLite that comes with Coffer.</summary>
internal static class OwnSqlite
{
    /// <summary>Its release, such as 3.53.4, or why there is none.</summary>
    public static string Release
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
