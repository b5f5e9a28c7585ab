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
        command.SetAction((parsed, ct) =>
        {
            var options = settings.Read(parsed) with { AcceptedRollbacks = parsed.GetValue(accept)! };
            return RunningServer.RunAsync(options, server => Announce(server, options.Data), ct);
        });
        return command;
    }

    private static void Announce(Server server, string data)
    {
        var management = server.AdminUrl is { } admin ? $", the management plane at {admin}" : "";
        Console.WriteLine($"Coffer serves {server.Url} from {server.Store}{management}");
        if (server.FirstKeys is { } keys)
        {
            var keyFile = Path.Combine(data, "coffer.key");
            Console.WriteLine($"""

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
}
