using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;

namespace Coffer.Transfer;

/// <summary>What to do about a store that cannot be used, by what its engine met.</summary>
internal static class StoreTrouble
{
    public static string HintOn(Exception? failure)
    {
        if (SqliteEngine.HintOn(failure) is { } ofFile)
            return ofFile;
        if (PostgresTrouble.HintOn(failure) is { } ofDatabase)
            return ofDatabase;
        return Cause.IsFull(failure)
            ? "Free space on its disk. Nothing was lost."
            : "Check the disk or the database; if the store is damaged, restore it from a back-up.";
    }
}
