using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Client;
using Coffer.Hosting;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer receipt show</c>, on the management plane: what is proven of an account that was forgotten; and
/// <c>coffer receipt verify</c>, which needs a public key and no server.
/// </summary>
internal static class ReceiptVerb
{
    /// <summary>How long a command that forgets an account waits for its receipt.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    private static readonly Listing Receipts = new(
        ("RECEIPT", Listing.Text("id")),
        ("STATUS", Listing.Text("status")),
        ("ACCOUNT", Listing.Text("account")),
        ("APP", Listing.Text("app")),
        ("FORGOTTEN", Listing.Time("forgotten_at")),
        ("DONE", Listing.Text("done")),
        ("PENDING", Listing.Text("pending", "nothing")),
        ("NOT REACHED", Listing.Text("not_reached")));

    public static Command Command() =>
        new("receipt",
        "Show the receipts of forgotten accounts, and prove them. The admin key is read from COFFER_ADMIN_KEY.")
        {
            Show(), Verify(),
        };

    /// <summary>
    /// The answer to someone who has an account forgotten, with its signed receipt if that is there within some
    /// seconds.
    /// </summary>
    public static async Task<JsonElement> SignedAsync(CofferAdmin admin, JsonElement forgotten, CancellationToken ct)
    {
        if (!IsPending(forgotten, "receipt_status") || Listing.Text("receipt_id")(forgotten) is not { Length: > 0 } id)
            return forgotten;
        for (var waited = TimeSpan.Zero; waited < LongestWait; waited += Pause)
        {
            await Task.Delay(Pause, ct);
            var receipt = await admin.FindAsync($"receipts/{id}", ct);
            if (IsPending(receipt, "status"))
                continue;
            var signed = JsonObject.Create(forgotten)!;
            foreach (var field in (string[])["done", "pending", "receipt"])
                signed[field] = JsonNode.Parse(receipt.GetProperty(field).GetRawText());
            signed["receipt_status"] = "signed";
            using var written = JsonDocument.Parse(signed.ToJsonString());
            return written.RootElement.Clone();
        }

        return forgotten;
    }

    /// <summary>Prints the receipt; or says what is missing, and how it is had later.</summary>
    public static void Explain(ParseResult parsed, JsonElement forgotten)
    {
        if (IsPending(forgotten, "receipt_status"))
            NotSigned(Listing.Text("receipt_id")(forgotten), forgotten);
        else if (!parsed.GetValue(Parameters.Json))
            Print(forgotten);
    }

    private static Command Show()
    {
        var receipt = Parameters.IdArgument("receipt", "RECEIPT_ID", "The receipt's id.");
        var command = new Command("show",
            "Print a signed receipt. If it is not signed yet, show what it waits for and end with exit code "
                + "69.\n\nExample: coffer receipt show "
                + "rcpt_1") { receipt };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var id = parsed.GetValue(receipt)!;
            var found = await admin.FindAsync($"receipts/{id}", ct);
            Receipts.Print(parsed, found);
            if (IsPending(found, "status"))
                return NotSigned(id, found);
            if (!parsed.GetValue(Parameters.Json))
                Print(found);
            return ExitCode.Ok;
        });
    }

    private static Command Verify()
    {
        var file = new Argument<string>("file") { Description = "The file with the receipt.", HelpName = "FILE" };
        var publicKey = Parameters.Literal(new Option<string?>("--public-key")
        {
            Description = "What coffer audit public-key has shown.",
            HelpName = "FILE",
        });
        var (data, store) = (Parameters.Data(required: false), Parameters.Store());
        var rootKey = Parameters.RootKey("--root-key", "COFFER_ROOT_KEY");
        var command = new Command("verify",
            "Prove that a store has signed a receipt, of a forgotten account or of one that was taken out of a "
                + "back-up, and print what it states as JSON. If it does not verify, the exit code is 2.\n\n"
                + "Example: coffer receipt verify rcpt_1.jws --public-key coffer-audit-key.pem")
        { file, publicKey, data, store, rootKey };
        command.Validators.Add(parsed =>
        {
            if ((parsed.GetResult(data) is not null) == (parsed.GetResult(publicKey) is not null))
                parsed.AddError("Give --public-key, or the --data directory of the store");
        });
        command.SetAction(async (parsed, ct) =>
        {
            var keys = parsed.GetValue(rootKey) ?? Parameters.KeysOfEnvironment();
            var (path, known) = (parsed.GetValue(file)!, parsed.GetValue(publicKey));
            var pem = known is not null
                ? await File.ReadAllTextAsync(known, ct)
                : await AuditArchive.PublicKeyAsync(Parameters.At(parsed, data, store) with { Keys = keys }, ct);
            try
            {
                var statement = KnownReceipts.Verify(path, pem, known ?? "the key of the store");
                Terminal.WriteRaw(Terminal.Shown(statement) + "\n");
                return ExitCode.Ok;
            }
            catch (InvalidDataException e)
            {
                return new Failure(ExitCode.Unverified, $"{path} does not verify: {e.Message}",
                    "Ask for the receipt again, and check which store the public key is of.").Report();
            }
        });
        return command;
    }

    private static bool IsPending(JsonElement thing, string status) => Listing.Text(status)(thing) == "pending";

    private static void Print(JsonElement thing) =>
        Console.WriteLine(
            $"\nThe receipt, for the person who asked:\n\n  {Terminal.Shown(Listing.Text("receipt")(thing))}");

    private static int NotSigned(string id, JsonElement thing) => new Failure(
        ExitCode.Unavailable, $"the receipt {id} is not signed yet: it waits for {Listing.Text("pending")(thing)}",
        $"The account is forgotten. Ask again later: coffer receipt show {id}. While another program reads the "
        + "store, a back-up for example, the log cannot be emptied: if it stays so, end that program.").Report();
}
