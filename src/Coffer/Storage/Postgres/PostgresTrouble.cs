using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>What PostgreSQL, the driver or the way to it met, in words that say what to do.</summary>
internal static class PostgresTrouble
{
    /// <summary>Of a database that cannot be opened, whatever the driver has thrown.</summary>
    public static ConfigurationException OnOpening(Exception e, PostgresAddress at)
    {
        e = e is UnopenedException ? e.InnerException! : e;

        // Of the driver, which may quote what it refuses.
        if (e is ArgumentException or FormatException)
        {
            return at.NamesCertificates
                ? new ConfigurationException($"{at.Shown} cannot be used with these certificates", CertificateFiles)
                : new ConfigurationException($"{at.Shown} cannot be used with this connection string and the PG… "
                    + "variables of the environment", PostgresAddress.Form);
        }

        var reason = e is PostgresException { SqlState: var state, MessageText: var text }
            ? $"{text} ({state})"
            : Cause.Of(e);
        return new ConfigurationException($"{at.Shown} cannot be used: {reason}", HintOnOpening(e));
    }

    private static string HintOnOpening(Exception failure) => failure switch
    {
        _ when HintOn(failure) is { } known => known,
        _ when Cause.Find<AuthenticationException>(failure) is not null =>
            "Check the certificates on both sides, and SSL Mode and Root Certificate in the connection string.",
        UnauthorizedAccessException or CryptographicException or IOException => CertificateFiles,
        RefusedException or PostgresException
        {
            SqlState: PostgresErrorCodes.ReadOnlySqlTransaction or PostgresErrorCodes.FeatureNotSupported,
        } => "Name the server that accepts writes.",
        _ => "Check that PostgreSQL runs there, and that the role may connect and may create tables in its schema.",
    };

    private const string CertificateFiles =
        "Check the files that the connection string or the environment names: SSL Certificate and SSL Key, which "
        + "belong together, Root Certificate and Passfile. This user must be able to read them.";

    private const string SharedSessions =
        "What stands between Coffer and PostgreSQL shares sessions and knows nothing of prepared statements: have none "
        + "prepared with Max Auto Prepare=0 in the connection string.";

    /// <summary>
    /// What to do about what PostgreSQL or the way to it met, whatever wraps it; null if that is not known.
    /// </summary>
    public static string? HintOn(Exception? failure) => (Cause.Find<NpgsqlException>(failure) ?? failure) switch
    {
        null => null,
        var met when PostgresFailures.IsUnprepared(met) => SharedSessions,
        _ when Cause.Find<TimeoutException>(failure) is not null =>
            "It did not answer in time: check that PostgreSQL runs there and is not overloaded, and the network to it.",
        PostgresException { SqlState: PostgresErrorCodes.InvalidPassword } =>
            "Check the role and its password, in the connection string or in the file that Passfile names.",
        PostgresException { SqlState: PostgresErrorCodes.InvalidCatalogName } =>
            "Create the database first, or correct its name.",
        PostgresException { SqlState: PostgresErrorCodes.TooManyConnections } =>
            "Have PostgreSQL accept more connections, or have the nodes open fewer: Maximum Pool Size.",
        PostgresException { SqlState: PostgresErrorCodes.CannotConnectNow } =>
            "PostgreSQL starts or stops: start again when it is up.",
        PostgresException { SqlState: PostgresErrorCodes.DiskFull } => "Free space on PostgreSQL's disk.",
        PostgresException { SqlState: PostgresErrorCodes.InsufficientPrivilege } =>
            "Give the role its rights in Coffer's schema again.",
        PostgresException { SqlState: PostgresErrorCodes.DataCorrupted or PostgresErrorCodes.IndexCorrupted } =>
            "The database is damaged: restore it from a back-up.",
        NpgsqlException and not PostgresException when Cause.Find<AuthenticationException>(failure) is null
            && Cause.Find<SocketException>(failure) is not null =>
            "Check that PostgreSQL runs there, and the network to it.",
        _ => null,
    };
}
