using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using SQLitePCL;

namespace Coffer.Storage;

/// <summary>
/// Chooses the native SQLite: the operating system's own, which its distribution patches, and the one that is bundled
/// (3.35.5) where the system has none.
/// </summary>
internal static class SqliteNative
{
    private static readonly string[] SystemNames = OperatingSystem.IsMacOS()
        ? ["/usr/lib/libsqlite3.dylib"]
        : OperatingSystem.IsLinux() ? ["libsqlite3.so.0"] : [];

    /// <summary>The oldest release that knows everything the SQL here uses (RETURNING, 2021).</summary>
    private static readonly Version Oldest = new(3, 35, 0);

    /// <summary>Call before any use of SQLite; calls after the first do nothing.</summary>
    public static void Load() => RuntimeHelpers.RunClassConstructor(typeof(Loaded).TypeHandle);

    private static class Loaded
    {
        static Loaded()
        {
            NativeLibrary.SetDllImportResolver(typeof(SQLite3Provider_e_sqlite3).Assembly, Resolve);
            raw.SetProvider(new SQLite3Provider_e_sqlite3());

            // A session is used by one thread at a time, so SQLite need not lock it, nor count memory under one lock for all.
            raw.sqlite3_config(raw.SQLITE_CONFIG_MULTITHREAD);
            raw.sqlite3_config(raw.SQLITE_CONFIG_MEMSTATUS, 0);
        }
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path)
    {
        foreach (var candidate in SystemNames)
        {
            if (!NativeLibrary.TryLoad(candidate, out var library))
                continue;
            if (IsRecentEnough(library))
                return library;
            NativeLibrary.Free(library);
        }

        return 0; // the default search finds the bundled one
    }

    private static bool IsRecentEnough(nint library)
    {
        var text = Marshal.PtrToStringUTF8(Marshal.GetDelegateForFunctionPointer<VersionFunction>(
            NativeLibrary.GetExport(library, "sqlite3_libversion"))());
        return Version.TryParse(text, out var version) && version >= Oldest;
    }

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate nint VersionFunction();
}
