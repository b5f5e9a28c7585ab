using System.Net.Sockets;
using System.Security.Authentication;
using Coffer.Cli;
using Coffer.Storage.Postgres;
using Coffer.Transfer;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Coffer.Tests;

/// <summary>What fails is named by its cause, with a hint that fits it.</summary>
[Trait("Firm edges", "7")]
public sealed class CauseTests
{
    public static TheoryData<Exception, string> Wrapped() => new()
    {
        { new HttpRequestException("The SSL connection could not be established, see inner exception.",
            new AuthenticationException("The remote certificate is invalid: UntrustedRoot.")),
            "The remote certificate is invalid: UntrustedRoot" },
        { new AuthenticationException("Authentication failed, see inner exception.",
            new IOException("Received an unexpected EOF.")), "Received an unexpected EOF" },
        { new NpgsqlException("Exception while reading from stream", new TimeoutException("Timeout during reading")),
            "Timeout during reading" },
        { new AggregateException(new FileNotFoundException("Could not find file '/a/client.pem'.")),
            "Could not find file '/a/client.pem'" },
        { ApiError.StorageUnavailable(new NpgsqlException("Failed to connect to 127.0.0.1:1",
            new SocketException((int)SocketError.ConnectionRefused))), "Connection refused" },
        { new AuthenticationException("Authentication failed, see inner exception."), "AuthenticationException" },
        { new HttpRequestException("Connection refused (127.0.0.1:1)", new SocketException(1)),
            "Connection refused (127.0.0.1:1)" },
        { new InvalidOperationException("one\ntwo"), "one two" },
    };

    [Theory]
    [MemberData(nameof(Wrapped))]
    public void The_cause_is_said_and_never_that_it_is_further_in(Exception e, string said) =>
        Assert.Equal(said, Cause.Of(e));

    public static TheoryData<Exception, string, string> Hints() => new()
    {
        { new NpgsqlException("Exception while reading from stream", new TimeoutException()), "in time", "damaged" },
        { new TimeoutException(), "in time", "damaged" },
        { new SqliteException("locked", SQLitePCL.raw.SQLITE_BUSY), "Another program uses", "disk" },
        { new SqliteException("full", SQLitePCL.raw.SQLITE_FULL), "Free space", "damaged" },
        { new SqliteException("readonly", SQLitePCL.raw.SQLITE_READONLY), "may read and write", "back-up" },
        { new SqliteException("io", SQLitePCL.raw.SQLITE_IOERR), "Check the disk", "damaged" },
        { new SqliteException("corrupt", SQLitePCL.raw.SQLITE_CORRUPT), "restore it from a back-up", "Free space" },
        { Of(PostgresErrorCodes.CannotConnectNow), "starts or stops", "damaged" },
        { Of(PostgresErrorCodes.TooManyConnections), "Maximum Pool Size", "damaged" },
        { Of(PostgresErrorCodes.DiskFull), "Free space on PostgreSQL's disk", "damaged" },
        { Of(PostgresErrorCodes.InsufficientPrivilege), "rights", "damaged" },
        { Of(PostgresErrorCodes.DataCorrupted), "restore it", "rights" },
        { new IOException("No space left on device", 28), "Free space", "damaged" },
    };

    [Theory]
    [MemberData(nameof(Hints))]
    public void A_hint_fits_what_was_met_and_speaks_of_nothing_worse(Exception e, string said, string unsaid)
    {
        var hint = StoreTrouble.HintOn(e);
        Assert.Equal(hint, StoreTrouble.HintOn(ApiError.StorageUnavailable(e))); // as a start meets it
        Assert.Contains(said, hint, StringComparison.Ordinal);
        Assert.DoesNotContain(unsaid, hint, StringComparison.Ordinal);
        Assert.Equal((ExitCode.Io, hint), Told(ApiError.StorageUnavailable(e)));
    }

    // The driver comes to them once the server has said that it speaks TLS.
    [Theory]
    [InlineData("SSL Mode=Require;SSL Certificate=/nonexistent/client.pem", "/nonexistent/client.pem",
        "SSL Certificate and SSL Key")]
    [InlineData("SSL Mode=Require;SSL Certificate={other}", "cannot be used", "SSL Certificate and SSL Key")] // a key
    [InlineData("SSL Mode=Require;SSL Certificate={cert};SSL Key={other}", "cannot be used", "belong together")]
    [InlineData("Require Auth=bogus", "is not a connection string", "Host=HOST")]
    public async Task Whatever_the_driver_throws_is_a_start_that_is_refused(string more, string error, string hint)
    {
        using var pair = new PemFiles();
        using var other = new PemFiles();
        using var listener = new TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        var answering = AnswerAsync(listener);
        var port = ((System.Net.IPEndPoint)listener.LocalEndpoint).Port;
        var files = more.Replace("{cert}", pair.Cert, StringComparison.Ordinal)
            .Replace("{other}", other.Key, StringComparison.Ordinal);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenAsync(
            $"Host=127.0.0.1;Port={port};Database=d;Username=u;Password=s3cret;Timeout=60;{files}", default));
        Assert.Contains(error, refused.Message, StringComparison.Ordinal);
        Assert.Contains(hint, refused.Hint, StringComparison.Ordinal);
        Assert.DoesNotContain("s3cret", refused.Message + refused.Hint, StringComparison.Ordinal);
        Assert.DoesNotContain("inner exception", refused.Message, StringComparison.Ordinal);
        listener.Stop();
        await answering;
    }

    [Fact]
    public void A_fault_of_the_program_ends_it_in_words()
    {
        var fault = Failure.Bug(new InvalidOperationException("Sequence contains no elements."));
        Assert.Equal(ExitCode.Bug, fault.Code);
        Assert.Contains("InvalidOperationException: Sequence contains no elements", fault.Error,
            StringComparison.Ordinal);
        Assert.Contains("Please report it", fault.Hint, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm edges", "14")]
    public void A_failure_that_lasts_has_a_line_for_each_cause_and_not_for_each_try_or_file()
    {
        var log = new KeptLog<LastingFailure>();
        var failing = new LastingFailure(log);
        Assert.False(failing.End());
        for (var i = 0; i < 3; i++)
            Fail(new IOException($"No space left on device : '/backup/coffer-{i}.backup.new'"));
        Assert.True(failing.IsOn);
        for (var i = 0; i < 3; i++)
            Fail(new UnauthorizedAccessException($"Access to the path '/backup/coffer-{i}.backup.new' is denied."));
        Fail(ApiError.StorageUnavailable(new NpgsqlException("relation 'a' is gone")));
        Fail(ApiError.StorageUnavailable(new NpgsqlException("relation 'b' is gone")));
        Assert.True(failing.End());
        Assert.False(failing.IsOn);
        Fail(new IOException("No space left on device : '/backup/coffer-0.backup.new'"));
        Assert.Equal(
        [
            "It failed: No space left on device : '/backup/coffer-0.backup.new'",
            "It failed: Access to the path '/backup/coffer-0.backup.new' is denied",
            "It failed: relation 'a' is gone", "It failed: relation 'b' is gone",
            "It failed: No space left on device : '/backup/coffer-0.backup.new'",
        ], log.Texts);

        void Fail(Exception e) => failing.Begin(LogLevel.Error, e, "It failed");
    }

    private static (int, string?) Told(Exception e) => Failure.Of(e) is { } failure
        ? (failure.Code, failure.Hint)
        : default;

    private static PostgresException Of(string state) => new("it says", "FATAL", "FATAL", state);

    private static async Task AnswerAsync(TcpListener listener)
    {
        try
        {
            while (true)
            {
                using var client = await listener.AcceptTcpClientAsync();
                var stream = client.GetStream();
                await stream.ReadExactlyAsync(new byte[8]); // it asks for TLS
                await stream.WriteAsync("S"u8.ToArray());
                _ = await stream.ReadAsync(new byte[1]);
            }
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException
            or InvalidOperationException or ObjectDisposedException)
        {
            // over
        }
    }
}
