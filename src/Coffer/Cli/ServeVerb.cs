using System.CommandLine;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer serve</c>: one process and a SQLite file, or one of several nodes on a PostgreSQL database.
/// </summary>
internal static class ServeVerb
{
    public static Command Command()
    {
        var settings = ServeSettings.OfServer();
        var accept = RunningServer.AcceptRollback();
        var command = new Command("serve",
            "Run a server on a permanent store. The first start creates the store, its key file and the first keys, "
                + "and prints these keys once. " +
            "Each flag can also be an environment variable or a line of the --config file: see coffer settings.\n\n" +
            "Example: coffer serve --data /var/lib/coffer")
        { accept };
        settings.AddTo(command);
        command.SetAction(async (parsed, _) =>
        {
            using var signals = new StopSignals(reloads: true);
            var options = settings.Read(parsed) with { AcceptedRollbacks = parsed.GetValue(accept)! };
            return await RunningServer.RunAsync(options, started => Announce(started, options.ReadyFile),
                started => ShowKeys(started.FirstKeys!, options), signals);
        });
        return command;
    }

    private static void Announce(Started started, string? readyFile)
    {
        var management = started.AdminUrl is { } admin ? $", the management plane at {admin}" : "";
        var metrics = started.MetricsUrl is { } at ? $", metrics at {at}" : "";
        Console.WriteLine($"Coffer serves {started.Url} from {started.Store}{management}{metrics}");
        if (started.FirstKeys is not null && readyFile is not null)
            Console.WriteLine($"This is a new store. Its keys are in {readyFile}, and nowhere else.");
    }

    private static void ShowKeys(FirstKeys keys, CofferOptions options)
    {
        var keyFile = Path.Combine(options.Data, "coffer.key");
        Terminal.WriteRaw($"""
            This is a new store. Its keys are shown once, now:

              test secret key      {keys.TestSecretKey}
              live secret key      {keys.LiveSecretKey}
              admin key            {keys.AdminKey}
              test signing secret  {keys.SigningSecretTest}
              live signing secret  {keys.SigningSecretLive}

            Keep a copy of {keyFile} apart from the store: without it the store cannot be opened.


            """);
    }
}
