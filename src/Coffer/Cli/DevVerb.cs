using System.CommandLine;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary><c>coffer dev</c>: a store for a laptop or a CI job, with one app and one test key.</summary>
internal static class DevVerb
{
    public static Command Command()
    {
        var flags = RunningServer.Flags(SettingsTable.All.Where(setting => setting.InDev));
        var accept = RunningServer.AcceptRollback();
        var command = new Command("dev",
            "Run a server for development: on this machine only, with test keys only, and with one app and an admin "
                + "key to manage it. It reads no environment variables and no settings file.\n\n" +
            "Example: coffer dev --key sk_test_anything")
        { accept };
        foreach (var flag in flags)
            command.Options.Add(flag);
        command.SetAction(async (parsed, _) =>
        {
            using var signals = new StopSignals(reloads: false);
            var options = Configuration.ForDev(RunningServer.Given(parsed, flags));
            options = options with { AcceptedRollbacks = parsed.GetValue(accept)! };
            var kept = options.Data.Length > 0;
            if (!kept)
                options = options with { Data = Directory.CreateTempSubdirectory("coffer-dev-").FullName };
            try
            {
                return await RunningServer.RunAsync(options with { Drain = TimeSpan.Zero },
                    started => Announce(started, kept ? options.Data : null), showKeys: null, signals);
            }
            finally
            {
                if (!kept)
                    Directory.Delete(options.Data, recursive: true);
            }
        });
        return command;
    }

    private static void Announce(Started started, string? kept)
    {
        var (url, key) = (started.Url.ToString().TrimEnd('/'), started.FirstKeys!.TestSecretKey);
        const string scope = "-d \"scope[type]=account\"";
        // None if the key is that of another app, whose signing secrets are its own.
        var secret = started.FirstKeys.SigningSecretTest;
        var signing = secret is null ? "" : $"\n  export COFFER_SIGNING_SECRET={secret}";
        Console.WriteLine($"""
            Coffer dev serves {url} {(kept is null ? "(a temporary store, deleted when this stops)" : $"from {kept}")}

              export COFFER_URL={url}
              export COFFER_API_KEY={key}
              export COFFER_ADMIN_KEY={started.FirstKeys.AdminKey}{signing}

            Set a secret:

              curl {url}/v1/apps/secrets -u {key}: {scope} -d name=my-api-key -d payload=secret_key_xxxxxx

            Find it:

              curl -G {url}/v1/apps/secrets/find -u {key}: {scope} -d name=my-api-key -d "expand[]=payload"

            """);
    }
}
