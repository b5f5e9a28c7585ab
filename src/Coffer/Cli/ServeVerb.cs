using System.CommandLine;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary><c>coffer serve</c>: one process and a SQLite file, or one of several nodes on a PostgreSQL database.</summary>
internal static class ServeVerb
{
    public static Command Command()
    {
        var flags = RunningServer.Flags(SettingsTable.All.Where(setting => setting.InServe));
        var config = new Option<string?>("--config") { Description = "Read settings from this file too; also COFFER_CONFIG.", HelpName = "FILE" };
        var accept = RunningServer.AcceptRollback();
        var command = new Command("serve",
            "Serve a store that lasts. The first start makes the store, its key file and the first keys, and prints those keys once. " +
            "Each flag is also a variable and a line of the --config file: see coffer settings.\n\n" +
            "Example: coffer serve --data /var/lib/coffer")
        { config, accept };
        foreach (var flag in flags)
            command.Options.Add(flag);
        command.SetAction((parsed, ct) =>
        {
            var options = Configuration.ForServe(RunningServer.Given(parsed, flags), parsed.GetValue(config), Environment.GetEnvironmentVariables());
            options = options with { AcceptedRollbacks = parsed.GetValue(accept)! };
            return RunningServer.RunAsync(options, server => Announce(server, options.Data), ct);
        });
        return command;
    }

    private static void Announce(Server server, string data)
    {
        Console.WriteLine($"Coffer serves {server.Url} from {server.Store}{(server.AdminUrl is { } admin ? $", the management plane at {admin}" : "")}");
        if (server.FirstKeys is { } keys)
        {
            Console.WriteLine($"""

                This is a new store. Its keys are shown once, now:

                  test secret key      {keys.TestSecretKey}
                  live secret key      {keys.LiveSecretKey}
                  admin key            {keys.AdminKey}
                  test signing secret  {keys.SigningSecretTest}
                  live signing secret  {keys.SigningSecretLive}

                Keep a copy of {Path.Combine(data, "coffer.key")} apart from the store: without it nothing can be opened.
                """);
        }
    }
}
