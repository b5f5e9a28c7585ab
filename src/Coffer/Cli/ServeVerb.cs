using System.CommandLine;

namespace Coffer.Cli;

/// <summary><c>coffer serve</c>: the embedded default, one process and a SQLite file.</summary>
internal static class ServeVerb
{
    public static Command Command()
    {
        var data = new Option<string>("--data") { Description = "Directory of the store and its key file; made if it is not there.", HelpName = "DIR", Required = true };
        var listen = RunningServer.ListenOption();
        var readyFile = RunningServer.ReadyFileOption();
        var insecure = new Option<bool>("--insecure-http") { Description = "Speak plain HTTP beyond this machine, because a proxy in front encrypts." };
        var quota = new Option<int>("--secrets-per-scope")
        {
            Description = $"How many secrets a scope may hold, 1 to {CofferOptions.MostSecretsPerScope}.",
            DefaultValueFactory = _ => CofferOptions.DefaultSecretsPerScope,
        };

        var checkpoints = new Option<string?>("--audit-checkpoints")
        {
            Description = "The file that checkpoints of the audit log are appended to, best on another medium; without it one in the data directory.",
            HelpName = "FILE",
        };

        var retention = new Option<int?>("--audit-retention-days") { Description = "How long audit entries are kept; without it, for ever.", HelpName = "N" };
        var audit = new Option<string>("--audit")
        {
            Description = "durable: a payload leaves after its audit entry is on the disk. buffered: its entry follows within one commit, and is lost if the process dies in between.",
            HelpName = "MODE",
            DefaultValueFactory = _ => "durable",
        };
        var metadata = new Option<bool>("--audit-metadata-reads") { Description = "Put finds and lists without payload on record too." };

        var command = new Command("serve",
            "Serve a store that lasts. The first start makes the store, its key file and the first keys, and prints those keys once.\n\n" +
            "Example: coffer serve --data /var/lib/coffer")
        { data, listen, readyFile, quota, insecure, checkpoints, retention, audit, metadata };
        command.SetAction((parsed, ct) => RunningServer.RunAsync(new CofferOptions
        {
            Data = parsed.GetRequiredValue(data),
            Listen = parsed.GetRequiredValue(listen),
            ReadyFile = parsed.GetValue(readyFile),
            SecretsPerScope = parsed.GetValue(quota),
            InsecureHttp = parsed.GetValue(insecure),
            Checkpoints = parsed.GetValue(checkpoints),
            AuditRetentionDays = parsed.GetValue(retention),
            Audit = parsed.GetRequiredValue(audit),
            AuditMetadataReads = parsed.GetValue(metadata),
        }, server => Announce(server, parsed.GetRequiredValue(data)), ct));
        return command;
    }

    private static void Announce(Server server, string data)
    {
        Console.WriteLine($"Coffer serves {server.Url} from {data}");
        if (server.FirstKeys is { } keys)
        {
            Console.WriteLine($"""

                This is a new store. Its keys are shown once, now:

                  test secret key  {keys.TestSecretKey}
                  live secret key  {keys.LiveSecretKey}
                  admin key        {keys.AdminKey}

                Keep a copy of {Path.Combine(data, "coffer.key")} apart from the store: without it nothing can be opened.
                """);
        }
    }
}
