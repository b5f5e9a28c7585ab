using Coffer.Cli;
using Coffer.Client;
using Coffer.Settings;

namespace Coffer.Tests.Cli;

/// <summary>Which exceptions a person reads about, with which exit code; all others are bugs.</summary>
public sealed class FailureTests
{
    public static TheoryData<Exception, int> Known() => new()
    {
        { new ConfigurationException("m", "Do this."), ExitCode.Configuration },
        { new CofferException("no answer", new IOException()), ExitCode.Unavailable },
        { new InvalidDataException("m"), ExitCode.Refused },
        { new FileNotFoundException("m"), ExitCode.Io },
        { new UnauthorizedAccessException("m"), ExitCode.Io },
        { ApiError.NoSuchSecret("any refusal: of the commands, only those over files meet one"), ExitCode.Io },
    };

    [Theory]
    [MemberData(nameof(Known))]
    public void What_a_person_can_mend_has_an_exit_code(Exception exception, int code) =>
        Assert.Equal(code, Failure.Of(exception)?.Code);

    [Fact]
    public void Everything_else_is_a_bug()
    {
        Assert.Null(Failure.Of(new InvalidOperationException()));
        Assert.Null(Failure.Of(new KeyNotFoundException()));
    }

    [Fact]
    public void Several_mistakes_are_one_line() =>
        Assert.Equal(
            new Failure(ExitCode.Usage, "a; b", "Run the command with --help to see its arguments and options."),
            Failure.Usage(["a.", "b"]));
}
