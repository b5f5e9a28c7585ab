using System.CommandLine;
using System.Text.Json;
using Coffer.Client;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer root-keys status|add|rotate|confirm|rewrap|remove</c>, on the management plane: the keys that everything
/// in a store is sealed under, and what wraps them. <c>shares</c> and <c>recover</c> are those of people.
/// </summary>
internal static class RootKeysVerb
{
    private static readonly TimeSpan Between = TimeSpan.FromMilliseconds(500);

    private const string Question = "Renew the store? What wraps its root keys must be what nobody else has: else move "
        + "to another wrapper first. Browser keys, kept replies and signing secrets end at once; copies of before are "
        + "what they are.";

    private static readonly Listing Keys = new(
        ("VERSION", Listing.Text("version")),
        ("STATE", Listing.Text("state")),
        ("CREATED", Listing.Time("created")),
        ("WRAPPED BY", Wrappers));

    public static Command Command() =>
        new("root-keys",
            "Show, rotate and rewrap the root keys of a running server. The admin key is read from COFFER_ADMIN_KEY.")
        {
            Status(), Add(), Rotate(), Confirm(), Rewrap(), Remove(), RecoveryVerb.Shares(), RecoveryVerb.Recover(),
        };

    private static Command Status() => Connection.OnAdmin(
        new Command("status",
            "Show the root keys, what wraps them, and how far a rotation has come.\n\nExample: coffer root-keys "
                + "status"),
        async (admin, parsed, ct) =>
        {
            var keys = await admin.FindAsync("root_keys", ct);
            var code = Show(parsed, keys);
            NameLost(keys);
            return code;
        });

    private static Command Add()
    {
        var url = WrapperArgument("The wrapper, as it is written in root-key of the server.");
        return Connection.OnAdmin(new Command("add",
            "Have another wrapper wrap every root key too, and prove that it unwraps them. It must be set in root-key "
                + "of every node first, beside the one in use.\n\nExample: coffer root-keys add "
                + "exec:/usr/local/lib/coffer/wrap") { url },
            async (admin, parsed, ct) => Show(parsed,
                await admin.ChangeAsync("root_keys/wrappers", [("wrapper", parsed.GetValue(url))], ct)));
    }

    private static Command Rotate()
    {
        var noWait = new Option<bool>("--no-wait") { Description = "Do not wait until it is done." };
        var compromised = new Option<bool>("--compromised")
        {
            Description = "Others may have a root key and a copy of the store: all that hangs on it is renewed, and an "
                + "owner confirms the API keys in the end.",
        };
        return Connection.OnAdmin(new Command("rotate",
            "Make a new root key, and seal under it all that is under the last one, while requests go through. "
                + "It continues by itself after a restart.\n\nExample: coffer root-keys rotate")
        { noWait, compromised, Parameters.Yes },
            async (admin, parsed, ct) =>
            {
                var isCompromised = parsed.GetValue(compromised);
                if (isCompromised)
                    NameLost(await admin.FindAsync("root_keys", ct));
                if (isCompromised && !Terminal.Confirmed(parsed.GetValue(Parameters.Yes), Question))
                    return ExitCode.Usage;
                var keys = await admin.ChangeAsync(
                    "root_keys/rotate", [("compromised", isCompromised ? "true" : null)], ct);
                while (!parsed.GetValue(noWait) && IsUnderWay(keys))
                {
                    await Task.Delay(Between, ct);
                    keys = await admin.FindAsync("root_keys", ct);
                    Tell(keys);
                }

                var code = Show(parsed, keys);
                NameLost(keys);
                return code;
            });
    }

    private static Command Confirm() => Connection.OnAdmin(
        new Command("confirm",
            "Look at the API keys that there are after rotate --compromised, and say that all of them may stay. The "
                + "admin key is one that keys create --type admin --offline has made since.\n\n"
                + "Example: coffer root-keys confirm") { Parameters.Yes },
        async (admin, parsed, ct) =>
        {
            // Between two looks at all of them that are the same nobody has made one.
            var before = Listing.Text("keys")(await admin.FindAsync("root_keys/confirmation", ct));
            var keys = await admin.ListAsync("api_keys", ct: ct).ToListAsync(ct);
            if (!parsed.GetValue(Parameters.Json))
                KeysVerb.Print(parsed, keys);
            var after = await admin.FindAsync("root_keys/confirmation", ct);
            if (Listing.Text("keys")(after) != before || after.GetProperty("count").GetInt64() != keys.Count)
            {
                return new Failure(ExitCode.Refused, "the API keys were changed meanwhile", "Run it again.").Report();
            }

            if (!Terminal.Confirmed(parsed.GetValue(Parameters.Yes),
                $"Do you know each of these {keys.Count} keys? One that you do not know is to be revoked first."))
                return ExitCode.Usage;
            return Show(parsed, await admin.ChangeAsync("root_keys/confirmation", [("keys", before)], ct));
        });

    private static Command Rewrap() => Connection.OnAdmin(
        new Command("rewrap",
            "Have every wrapper of the server wrap the root keys again, by its newest key, as after a line was added "
                + "to the key file.\n\nExample: coffer root-keys rewrap"),
        async (admin, parsed, ct) => Show(parsed, await admin.ChangeAsync("root_keys/rewrap", ct: ct)));

    private static Command Remove()
    {
        var wrapper = WrapperArgument("The wrapper: its id, or as it is written in root-key of the server.");
        wrapper.Arity = ArgumentArity.ZeroOrOne;
        var version = new Option<int?>("--version")
        {
            Description = "Remove a root key whose state is unused or made, instead of a wrapper.",
            HelpName = "N",
        };
        var command = new Command("remove",
            "Remove a wrapper from all root keys. The last one that opens them cannot be removed. A back-up of before "
                + "still needs it.\n\nExample: coffer root-keys remove file:/var/lib/coffer/coffer.key")
        { wrapper, version, Parameters.Yes };
        command.Validators.Add(parsed =>
        {
            if ((parsed.GetResult(wrapper) is { Tokens.Count: > 0 }) == (parsed.GetResult(version) is not null))
                parsed.AddError("Give a wrapper, or --version");
        });
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var (named, number) = (parsed.GetValue(wrapper), parsed.GetValue(version));
            var what = named ?? $"root key {number}";
            if (named is not null)
                NameLost(await admin.FindAsync("root_keys", ct), named);
            if (!Terminal.Confirmed(parsed.GetValue(Parameters.Yes),
                $"Remove {what}? A back-up that nothing else opens is lost with it."))
                return ExitCode.Usage;
            return Show(parsed, named is not null
                ? await admin.ChangeAsync("root_keys/wrappers/remove", [("wrapper", named)], ct)
                : await admin.DeleteAsync($"root_keys/{number}", ct));
        });
    }

    private static Argument<string> WrapperArgument(string description)
    {
        var argument = new Argument<string>("wrapper") { Description = description, HelpName = "WRAPPER" };
        argument.Validators.Add(result =>
        {
            if (result.Tokens is [{ Value: "" }])
                result.AddError("WRAPPER is empty: give its id, or its URL.");
        });
        return argument;
    }

    /// <summary>Shows root keys as a server answers with them.</summary>
    public static int Show(ParseResult parsed, JsonElement keys)
    {
        if (parsed.GetValue(Parameters.Json))
        {
            Terminal.WriteJson(keys);
            return ExitCode.Ok;
        }

        Keys.Print(parsed, [.. keys.GetProperty("keys").EnumerateArray()]);
        if (Listing.Text("waiting_for")(keys) is { Length: > 0 } nodes)
            Console.WriteLine($"\nWaiting for {Terminal.Shown(nodes)}, which have not opened the new root key.");
        if (keys.GetProperty("left").GetInt64() is > 0 and var left)
            Console.WriteLine($"\n{left} rows are still under an older root key.");
        if (RenewalState(keys) is { } renewal)
            Console.WriteLine($"\nThe store is being renewed: {Terminal.Shown(renewal)}.");
        foreach (var row in keys.GetProperty("damaged").EnumerateArray())
            Console.WriteLine($"Damaged, and left as it is: {Terminal.Shown(row.ToString())}");
        return ExitCode.Ok;
    }

    // On standard error: with --json the answer says it too.
    private static void NameLost(JsonElement keys, string? removed = null)
    {
        if (keys.GetProperty("back_ups") is not { ValueKind: JsonValueKind.Array } backups)
            return;
        foreach (var backup in backups.EnumerateArray())
        {
            var opening = backup.GetProperty("wrappers").EnumerateArray()
                .Where(each => Listing.Text("id")(each) != removed && Listing.Text("url")(each) != removed);
            if (!opening.Any())
            {
                Console.Error.WriteLine($"Nothing that remains opens the back-up {Terminal.Shown(
                    Listing.Text("file")(backup))} of {Listing.Time("created")(backup)}.");
            }
        }
    }

    // A line that replaces itself at a terminal, and nothing elsewhere: standard output is for the answer.
    private static void Tell(JsonElement keys)
    {
        if (!Console.IsErrorRedirected && IsUnderWay(keys))
        {
            Console.Error.Write($"\r{RenewalState(keys) ?? State(keys)}: {keys.GetProperty("left").GetInt64()} rows "
                + "left        ");
        }
        else if (!Console.IsErrorRedirected)
            Console.Error.WriteLine();
    }

    private static bool IsUnderWay(JsonElement keys) => RenewalState(keys) switch
    {
        null => State(keys) != "done",
        var renewal => renewal != "waiting_for_owner",
    };

    private static string? RenewalState(JsonElement keys) =>
        keys.GetProperty("renewal") is { ValueKind: JsonValueKind.Object } renewal
            ? Listing.Text("state")(renewal)
            : null;

    private static string State(JsonElement keys) =>
        Listing.Text("state")(keys.GetProperty("keys").EnumerateArray().Last());

    private static string Wrappers(JsonElement key) => string.Join(", ", key.GetProperty("wrappers").EnumerateArray()
        .Select(wrapper => Listing.Text("url", Listing.Text("id")(wrapper))(wrapper)));
}
