
using Coffer.Client;
using Coffer.Settings;
using Coffer.Transfer;

namespace Coffer.Cli;

/// <summary>How a command ends that does not end well.</summary>
/// <param name="Code">One of <see cref="ExitCode"/>.</param>
/// <param name="Error">What is wrong, in lower case and without a full stop.</param>
/// <param name="Hint">What to do, as whole sentences; null if there is nothing to say.</param>
internal sealed record Failure(int Code, string Error, string? Hint)
{
    public static Failure Usage(IEnumerable<string> errors) =>
        new(ExitCode.Usage, string.Join("; ", errors.Select(error => error.TrimEnd('.'))),
            "Run the command with --help to see its arguments and options.");

    /// <summary>An argument that is no text.</summary>
    /// <param name="number">Which one, from 1.</param>
    public static Failure Foreign(int number) => new(ExitCode.Usage,
        $"argument {number} is not UTF-8 text, and two that differ would be the same", "Write it in UTF-8, and a "
            + "payload that is binary as Base64. Nothing was done.");

    /// <summary>Of what nobody has foreseen: with all that helps to find it.</summary>
    public static Failure Bug(Exception e) => new(ExitCode.Bug,
        $"this is a fault of Coffer: {e.GetType().Name}: {Cause.Of(e)}",
        $"Please report it, with the version (coffer --version) and where it happened:\n{e.StackTrace}");

    /// <summary>What an exception means to the person at the terminal; null if it is a bug.</summary>
    public static Failure? Of(Exception e) => e switch
    {
        ConfigurationException wrong => new(ExitCode.Configuration, wrong.Message, wrong.Hint),
        KeyServiceException wrapper =>
            new(ExitCode.TemporaryFailure, $"the root keys cannot be unwrapped: {wrapper.Message}",
                "Check what --root-key names. Nothing was changed."),
        CofferException refused => new(CodeOf(refused), refused.Message, HintFor(refused)),
        ApiError => new(ExitCode.Io, $"the store cannot be read: {Cause.Of(e)}", StoreTrouble.HintOn(e)),
        InvalidDataException => new(ExitCode.Refused, e.Message, null),
        UsageException => Usage([e.Message]),
        StandardStreamException stream => new(ExitCode.Io, stream.Message, stream.Hint),
        IOException or UnauthorizedAccessException => new(ExitCode.Io, Cause.Of(e), HintFor(e)),
        AggregateException { InnerExceptions: [var only] } => Of(only),
        _ => null,
    };

    /// <summary>Says it on standard error and gives the exit code.</summary>
    public int Report()
    {
        Console.Error.WriteLine($"coffer: error: {Terminal.Shown(Error)}");
        if (Hint is not null)
            Console.Error.WriteLine($"coffer: hint: {string.Join('\n', Hint.Split('\n').Select(Terminal.Shown))}");
        return Code;
    }

    private static string HintFor(Exception e) => Cause.IsFull(e)
        ? "Free space there, and run it again."
        : "Check the path and its permissions.";

    private static int CodeOf(CofferException e) => e.Status switch
    {
        404 when e.IsAbsent => ExitCode.Absent,
        401 or 403 => ExitCode.Permission,
        < 400 or 429 or >= 500 => ExitCode.Unavailable, // no answer, or not Coffer's
        _ => ExitCode.Refused,
    };

    private static string? HintFor(CofferException e) => e.Status switch
    {
        401 =>
            "Set COFFER_API_KEY to a secret key of the app; the management commands need an admin key in "
                + "COFFER_ADMIN_KEY.",
        404 when e.IsAbsent => "Check the id and --app; the list commands show what is there.",
        404 =>
            "Check that --url names a Coffer server. Its management plane may have an address of its own: see "
                + "COFFER_ADMIN_URL.",
        < 400 when Cause.Find<System.Security.Authentication.AuthenticationException>(e) is not null =>
            "If its certificate is of an authority of your own, give that one's certificate with --ca FILE or "
                + "COFFER_CA. Else check --url, and the name and the dates of the certificate.",
        < 400 => "Check --url, COFFER_URL and COFFER_ADMIN_URL, and check that the server is running.",
        _ => e.RequestId is { } id ? $"Look for {id} in the server's log." : null,
    };
}

/// <summary>What was asked for cannot be done with this command line, here; it ends with exit code 64.</summary>
internal sealed class UsageException(string message) : Exception(message);
