using System.CommandLine;
using Coffer.Settings;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer settings</c>: what there is to set, and how; it reads nothing and needs no server. <c>settings set</c>
/// changes what the store of a running server keeps.
/// </summary>
internal static class SettingsVerb
{
    public static Command Command()
    {
        var json = new Option<bool>("--json") { Description = "Print JSON, for scripts." };
        var command = new Command("settings",
            "Show every setting of coffer serve and coffer dev: its name (as its flag and in the file), its "
                + "environment variable, its default and what it is for. " +
            "A flag overrides a variable, and a variable overrides a line of the file.\n\n" +
            "Three examples that do the same:\n" +
            "  coffer serve --data /var/lib/coffer --secrets-per-scope 20\n" +
            "  COFFER_DATA=/var/lib/coffer COFFER_SECRETS_PER_SCOPE=20 coffer serve\n" +
            "  coffer serve --config /etc/coffer.conf    # a file with the lines: data = /var/lib/coffer, "
                + "secrets-per-scope = 20")
        { json, Set() };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(json))
            {
                Console.WriteLine(Json());
                return ExitCode.Ok;
            }

            var table = Terminal.Table(["SETTING", "ENVIRONMENT", "DEFAULT", "FOR"]);
            foreach (var column in table.Columns.Skip(2))
                column.NoWrap = false; // texts
            foreach (var setting in SettingsTable.All)
                table.AddRow(new Text(setting.Name), new Text(setting.InServe ? setting.Environment : "dev only"),
                    new Text(setting.Default), new Text(setting.Help));
            Terminal.Write(table);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Set()
    {
        var name = new Argument<string>("name")
        {
            Description = $"The setting: {string.Join(", ", StoreSettings.All.Select(setting => setting.Name))}.",
            HelpName = "NAME",
        };
        var value = new Argument<string>("value")
        {
            Description = "Its value, as coffer settings says; default for what it is without one.",
            HelpName = "VALUE",
        };
        return Connection.OnAdmin(new Command("set",
            "Change a setting that the store keeps, for all its nodes at once, without a restart. It is recorded in "
                + "the audit log. The admin key is read from COFFER_ADMIN_KEY.\n\n"
                + "Example: coffer settings set secrets-per-scope 20") { name, value },
            async (admin, parsed, ct) =>
            {
                var changed = await admin.ChangeAsync("settings",
                    [("name", parsed.GetRequiredValue(name)), ("value", parsed.GetRequiredValue(value))], ct);
                var names = StoreSettings.All.Select(setting => setting.Name).ToHashSet();
                StatusVerb.Settings.Print(parsed, [.. changed.GetProperty("settings").EnumerateArray().Where(
                    setting => names.Contains(Listing.Text("name")(setting)))]);
                return ExitCode.Ok;
            });
    }

    /// <summary>All settings, for scripts.</summary>
    public static string Json() => Terminal.Json(json =>
    {
        json.WriteStartArray();
        foreach (var setting in SettingsTable.All)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, setting.Name);
            json.WriteString("environment"u8, setting.InServe ? setting.Environment : null);
            json.WriteString("value"u8, setting.Value);
            json.WriteString("default"u8, setting.Default);
            json.WriteBoolean("serve"u8, setting.InServe);
            json.WriteBoolean("dev"u8, setting.InDev);
            json.WriteString("help"u8, setting.Help);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }, indented: true);
}
