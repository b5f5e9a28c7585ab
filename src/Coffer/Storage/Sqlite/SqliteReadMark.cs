using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// Holds the newest state of the log for reading, while it is read often and nobody writes. SQLite counts within a
/// process who reads a state, and asks the system for the lock of the first only: so a read that begins while one is
/// held makes two calls less, and waits for nobody who makes them. Readers see what they would have seen without it.
/// </summary>
/// <param name="file">The store.</param>
internal sealed class SqliteReadMark(string file) : IDisposable
{
    /// <summary>How many reads there are of a state before it is held: it takes as much as a few of them.</summary>
    public const int Often = 16;

    private readonly Lock changing = new();
    private SqliteSession? session;
    private int reads;
    private int released;
    private bool isHeld;

    /// <summary>Call before each read.</summary>
    public void Read()
    {
        if (reads < Often && ++reads >= Often) // racing readers may count as one
            Hold();
    }

    /// <summary>
    /// Lets go until it is disposed of. Whoever empties the log, or begins it again, waits for all who read it.
    /// </summary>
    public Released Release()
    {
        lock (changing)
        {
            released++;
            if (isHeld)
                End();
        }

        return new Released(this);
    }

    public void Dispose()
    {
        _ = Release();
        Close();
    }

    private void Hold()
    {
        lock (changing)
        {
            if (isHeld || released > 0)
                return;
            try
            {
                session ??= new SqliteSession(file);
                session.BeginReading();
                isHeld = true;
            }
            catch (SqliteException)
            {
                // Reads are made without it, and say what is wrong. The next commit has it tried again.
                Close();
            }
        }
    }

    private void End()
    {
        isHeld = false;
        try
        {
            session!.Run("ROLLBACK");
        }
        catch (SqliteException)
        {
            Close();
        }
    }

    // It ends whatever transaction there is.
    private void Close()
    {
        session?.Dispose();
        session = null;
    }

    private void Resume()
    {
        lock (changing)
        {
            if (--released == 0)
                reads = 0;
        }
    }

    /// <summary>The time for which it is released.</summary>
    public readonly struct Released(SqliteReadMark mark) : IDisposable
    {
        public void Dispose() => mark.Resume();
    }
}
