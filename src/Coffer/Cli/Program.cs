// The verb table.
using System.CommandLine;
using Coffer;
using Coffer.Cli;
using Coffer.Hosting;

SameProcess.OpenStreams();
StandardStream.Use();
if (SameProcess.FirstForeign(args) is { } foreign)
    return Failure.Foreign(foreign).Report();
args = ProcessPrivacy.Enter(args);

var root = new RootCommand("Coffer, a self-hosted secret store for app platforms. "
    + "It speaks the wire protocol of the Stripe Apps Secret Store.")
{
    DevVerb.Command(),
    ServeVerb.Command(),
    InitVerb.Command(),
    StatusVerb.Command(),
    CheckVerb.Command(),
    SettingsVerb.Command(),
    SecretsVerb.Command(),
    AppsVerb.Command(),
    KeysVerb.Command(),
    AccountsVerb.Command(),
    InstallsVerb.Command(),
    ReceiptVerb.Command(),
    WebhooksVerb.Command(),
    AuditVerb.Command(),
    RootKeysVerb.Command(),
    TenantKeysVerb.Command(),
    BackupVerb.Command(),
    RestoreVerb.Command(),
    MigrateVerb.Command(),
};
VersionFlag.Replace(root);
Arguments.AreData(root);
ParseResult parsed;
try
{
    parsed = root.Parse(args, Arguments.Rules);
}
catch (InvalidOperationException e) // a validator asked for a value that could not be read
{
    return Failure.Usage([e.Message]).Report();
}

if (parsed.Errors.Count > 0)
    return Failure.Usage(parsed.Errors.Select(error => error.Message)).Report();

try
{
    // Signals are the server's: it finishes what runs, however long that takes.
    return await parsed.InvokeAsync(
        new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
}
catch (Exception e)
{
    return (Failure.Of(e) ?? Failure.Bug(e)).Report();
}
