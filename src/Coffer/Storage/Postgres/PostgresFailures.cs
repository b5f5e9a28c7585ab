using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// No connection was opened, and the driver says so by an exception of another type: a password file or a certificate
/// that is not there or is half written, a library that is missing. It passes when that is mended.
/// </summary>
internal sealed class UnopenedException(Exception inner) : NpgsqlException(Shown(inner), inner)
{
    // What the driver refuses of a connection string, it may quote.
    private static string Shown(Exception inner) => inner is ArgumentException or FormatException
        ? "the driver refuses the connection string"
        : inner.Message;
}

/// <summary>
/// A statement was refused with 0A000 at once, which Npgsql 10 ends with another exception: nothing of what was sent is
/// carried out.
/// </summary>
internal sealed class RefusedException(Exception inner) : NpgsqlException("the statement was refused", inner);

/// <summary>What a failure of the database says of what was asked of it, and of the connection.</summary>
internal static class PostgresFailures
{
    /// <summary>Two transactions were in each other's way, and this one was to give in.</summary>
    public static bool IsCollision(NpgsqlException e) =>
        e.SqlState is PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected;

    /// <summary>
    /// The connection is gone, or was ended by the server or a pooler, for whatever reason: another one may reach it,
    /// or its successor. So too where a server takes no writes.
    /// </summary>
    public static bool IsBroken(NpgsqlException e) => e is PostgresException failure
        ? failure.InvariantSeverity is "FATAL" or "PANIC"
            || failure.SqlState is PostgresErrorCodes.ReadOnlySqlTransaction or PostgresErrorCodes.FeatureNotSupported
            || failure.SqlState.StartsWith("08", StringComparison.Ordinal)
        : e.InnerException is not TimeoutException;

    /// <summary>
    /// A further connection could not be opened, which says nothing of those that are: none is left, the server is
    /// about to start or to stop, or the role is not let in.
    /// </summary>
    public static bool IsOfOpening(NpgsqlException e) => e is UnopenedException or PostgresException
    {
        SqlState: PostgresErrorCodes.TooManyConnections or PostgresErrorCodes.CannotConnectNow
            or PostgresErrorCodes.InvalidPassword or PostgresErrorCodes.InvalidAuthorizationSpecification,
    };

    /// <summary>
    /// The server does not have a statement that the driver takes for prepared, as after a batch that ended before it
    /// came to preparing it: nothing was carried out, and on this connection nothing will be.
    /// </summary>
    public static bool IsUnprepared(Exception e) => e is PostgresException
    {
        SqlState: PostgresErrorCodes.InvalidSqlStatementName or PostgresErrorCodes.DuplicatePreparedStatement,
    };

    /// <summary>The connection ended without a word on the statement: a commit may have been carried out.</summary>
    public static bool IsSilent(NpgsqlException e) =>
        e is not (PostgresException { InvariantSeverity: "ERROR" } or UnopenedException);
}
