using System.CommandLine;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Hosting;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer init</c>: a new store whose first keys go into a file, and through no log of a service manager.
/// </summary>
internal static class InitVerb
{
    public static Command Command()
    {
        var settings = ServeSettings.OfStore("audit-checkpoints");
        var file = Parameters.Literal(new Option<string>("--out")
        {
            Description = "The file to write the first keys to (mode 0600), as JSON. It must not exist.",
            HelpName = "FILE",
            Required = true,
        });
        var recipients = new Option<string[]>("--recipient")
        {
            Description = "Encrypt the file to this recipient, as age -r reads it, with the program age; may be given "
                + "several times.",
            HelpName = "RECIPIENT",
            DefaultValueFactory = static _ => [],
        };
        var command = new Command("init",
            "Make a new store for coffer serve, and write its first keys to a file. Nothing is served, and no key is "
                + "printed.\n\nExample: coffer init --data /var/lib/coffer --out /root/coffer-keys.json")
        { file, recipients };
        settings.AddTo(command);
        command.SetAction(async (parsed, ct) =>
        {
            var path = Path.GetFullPath(parsed.GetRequiredValue(file));
            if (File.Exists(path) || FileStatus.SpecialAt(path) is not null)
                throw new ConfigurationException($"{path} exists already", "Give --out the name of a new file.");
            var options = settings.Read(parsed);
            try
            {
                await NewStore.MakeAsync(options, TimeProvider.System,
                    keys => WriteAsync(path, keys, parsed.GetValue(recipients)!, ct), ct);
            }
            catch when (File.Exists(path))
            {
                await Console.Error.WriteLineAsync($"The first keys are in {path}, and the store may know them: if the "
                    + "next coffer init says that there is a store, they are its keys; if not, remove the file first.");
                throw;
            }

            var data = Path.GetFullPath(options.Data);
            Console.WriteLine($"The store in {data} is ready. Its first keys are in {path}, and nowhere else.");
            Console.WriteLine(
                $"Keep a copy of {Path.Combine(data, "coffer.key")} apart from the store, if it is there.");
            return ExitCode.Ok;
        });
        return command;
    }

    private static async Task WriteAsync(string path, FirstKeys keys, string[] recipients, CancellationToken ct)
    {
        var json = new JsonObject();
        ReadyFile.AddKeys(json, keys);
        var text = Encoding.UTF8.GetBytes(json.ToJsonString() + "\n");
        try
        {
            var content = recipients.Length == 0 ? text : await AgeProgram.EncryptAsync(text, recipients, ct);
            DurableFile.Write(path, content, overwrite: false);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(text);
        }
    }
}
