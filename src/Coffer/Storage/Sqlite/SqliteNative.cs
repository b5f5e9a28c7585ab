using System.Runtime.CompilerServices;
using SQLitePCL;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// The SQLite that comes with Coffer, and no other: what is tested is what runs. The operating system's library is not
/// used, because releases from 3.7.0 to 3.51.2 can corrupt a store when two connections checkpoint and write at the
/// same instant (sqlite.org/wal.html#walresetbug).
/// </summary>
internal static class SqliteNative
{
    /// <summary>The oldest release that a store is opened with.</summary>
    public static readonly Version Oldest = new(3, 53, 0);

    /// <summary>The release in use, such as 3.53.4.</summary>
    /// <exception cref="ConfigurationException">The library is not there.</exception>
    public static string Release
    {
        get
        {
            Prepare();
            return raw.sqlite3_libversion().utf8_to_string();
        }
    }

    /// <summary>Call before any use of SQLite.</summary>
    /// <exception cref="ConfigurationException">The library is not there, or is too old.</exception>
    public static void Load() => Require(Release);

    /// <exception cref="ConfigurationException">It is older than <see cref="Oldest"/>, or is no version.</exception>
    public static void Require(string release)
    {
        if (!Version.TryParse(release, out var version) || version < Oldest)
        {
            throw new ConfigurationException(
                $"the SQLite library is version {release}, and Coffer needs {Oldest.ToString(2)} or newer: " +
                "older ones can corrupt a store",
                "Install Coffer again with all its files, which include SQLite. Nothing was changed.");
        }
    }

    private static void Prepare()
    {
        try
        {
            RuntimeHelpers.RunClassConstructor(typeof(Prepared).TypeHandle);
        }
        catch (TypeInitializationException e) when (e.InnerException is DllNotFoundException or BadImageFormatException)
        {
            throw new ConfigurationException("the SQLite library that comes with Coffer cannot be loaded",
                "Install Coffer again with all its files, for this operating system and processor.");
        }
    }

    /// <summary>SQLite is set up once, before its first use.</summary>
    private static class Prepared
    {
        static Prepared()
        {
            raw.SetProvider(new SQLite3Provider_e_sqlite3());

            // A session is used by one thread at a time, so SQLite need not lock it. Nor need it count memory, which it
            // does under one lock for all.
            Check(raw.sqlite3_config(raw.SQLITE_CONFIG_MULTITHREAD));
            Check(raw.sqlite3_config(raw.SQLITE_CONFIG_MEMSTATUS, 0));
        }

        private static void Check(int result)
        {
            if (result != raw.SQLITE_OK)
                throw new InvalidOperationException($"SQLite was used before it was set up ({result})");
        }
    }
}
