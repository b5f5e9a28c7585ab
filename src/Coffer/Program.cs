// The verb table and the exit codes.
using System.CommandLine;
using Coffer;
using Coffer.Cli;
using Coffer.Client;

var root = new RootCommand("Coffer, a self-hosted secret store for app platforms. It speaks the wire protocol of the Stripe Apps Secret Store.")
{
    DevVerb.Command(),
    ServeVerb.Command(), SettingsVerb.Command(),
    SecretsVerb.Command(),
    AuditVerb.Command(),
};

ParseResult parsed;
try
{
    parsed = root.Parse(args);
}
catch (InvalidOperationException e) // a validator asked for a value that could not be read
{
    return Report(ExitCode.Usage, e.Message.TrimEnd('.'), "Run the command with --help to see what it takes.");
}

if (parsed.Errors.Count > 0)
    return Report(ExitCode.Usage, string.Join("; ", parsed.Errors.Select(error => error.Message.TrimEnd('.'))), "Run the command with --help to see what it takes.");

try
{
    // Signals are the server's: it finishes what runs, however long that takes.
    return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
}
catch (ConfigurationException e)
{
    return Report(ExitCode.Configuration, e.Message, e.Hint);
}
catch (CofferException e)
{
    return Report(ExitCode.For(e), e.Message, ExitCode.HintFor(e));
}
catch (ApiError e)
{
    return Report(ExitCode.Io, $"the store cannot be read: {(e.InnerException ?? e).Message}", "Check the disk; if the store is damaged, restore it from a back-up.");
}
catch (InvalidDataException e)
{
    return Report(ExitCode.Refused, e.Message, null);
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException)
{
    return Report(ExitCode.Io, e.Message, "Check the path and its permissions.");
}

static int Report(int code, string error, string? hint)
{
    Console.Error.WriteLine($"coffer: error: {Terminal.Shown(error)}");
    if (hint is not null)
        Console.Error.WriteLine($"coffer: hint: {Terminal.Shown(hint)}");
    return code;
}
