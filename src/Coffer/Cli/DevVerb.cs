using System.CommandLine;

namespace Coffer.Cli;

/// <summary><c>coffer dev</c>: a store for a laptop or a CI job, with one app and one test key.</summary>
internal static class DevVerb
{
    public static Command Command()
    {
        var listen = RunningServer.ListenOption();
        var key = new Option<string?>("--key") { Description = "The test key, such as sk_test_anything; without it a fresh one is made at each start.", HelpName = "KEY" };
        var data = new Option<string?>("--data") { Description = "Keep the store in this directory; without it the store is gone when the server stops.", HelpName = "DIR" };
        var readyFile = RunningServer.ReadyFileOption();
        var seed = new Option<bool>("--seed-fixtures") { Description = "Store what the official SDKs' own test suites expect to find." };

        var command = new Command("dev",
            "Serve a store for development: this machine only, test keys only, one app.\n\n" +
            "Example: coffer dev --key sk_test_anything")
        { listen, key, data, readyFile, seed };
        command.SetAction(async (parsed, ct) =>
        {
            var kept = parsed.GetValue(data);
            var directory = kept ?? Directory.CreateTempSubdirectory("coffer-dev-").FullName;
            try
            {
                return await RunningServer.RunAsync(new CofferOptions
                {
                    Data = directory,
                    Listen = parsed.GetRequiredValue(listen),
                    ReadyFile = parsed.GetValue(readyFile),
                    Dev = new CofferOptions.DevOptions(parsed.GetValue(key), parsed.GetValue(seed)),
                }, server => Announce(server, kept), ct);
            }
            finally
            {
                if (kept is null)
                    Directory.Delete(directory, recursive: true);
            }
        });
        return command;
    }

    private static void Announce(Server server, string? kept)
    {
        var (url, key) = (server.Url.ToString().TrimEnd('/'), server.FirstKeys!.TestSecretKey);
        Console.WriteLine($"""
            Coffer dev serves {url} {(kept is null ? "(a temporary store, gone when this stops)" : $"from {kept}")}

              export COFFER_URL={url}
              export COFFER_API_KEY={key}

            Set a secret:

              curl {url}/v1/apps/secrets -u {key}: -d "scope[type]=account" -d name=my-api-key -d payload=secret_key_xxxxxx

            Find it:

              curl -G {url}/v1/apps/secrets/find -u {key}: -d "scope[type]=account" -d name=my-api-key -d "expand[]=payload"

            """);
    }
}
