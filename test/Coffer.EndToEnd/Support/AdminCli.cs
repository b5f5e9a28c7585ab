using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary>The command line as an operator uses it: with the admin key, and for <c>mint</c> with an app's.</summary>
/// <param name="coffer">The server.</param>
/// <param name="admin">The admin key; null is the one that it was ready with.</param>
public sealed class AdminCli(CofferProcess coffer, string? admin = null)
{
    public Task<Ran> RunAsync(params string[] arguments) => RunAsync(arguments, admin ?? coffer.AdminKey);

    /// <param name="arguments">The command line.</param>
    /// <param name="adminKey">In place of the store's first.</param>
    /// <param name="apiKey">The key of an app, for the verbs that take one.</param>
    public Task<Ran> RunAsync(string[] arguments, string adminKey, string apiKey = "") =>
        Ran.ProgramAsync(Needs.Program, arguments, Variables(adminKey, apiKey));

    /// <summary>What it printed, once it has ended well.</summary>
    public async Task<string> OkAsync(params string[] arguments) => (await RunAsync(arguments)).EndedWith(0).Stdout;

    public async Task<JsonElement> JsonAsync(params string[] arguments) =>
        JsonElement.Parse(await OkAsync([.. arguments, "--json"]));

    /// <summary>Lines of JSON.</summary>
    public async Task<IReadOnlyList<JsonElement>> LinesAsync(params string[] arguments) =>
        [.. (await OkAsync(arguments)).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(
            line => JsonElement.Parse(line))];

    /// <summary>With the key of an app.</summary>
    public Task<Ran> WithKeyAsync(string apiKey, params string[] arguments) =>
        RunAsync(arguments, adminKey: "", apiKey);

    /// <summary>At a terminal; what is typed, if anything, is the answer to what it asks.</summary>
    public Task<Ran> AtTerminalAsync(string typed, params string[] arguments) =>
        AtTerminal.RunAsync(Needs.Program, arguments, Variables(coffer.AdminKey, ""),
            typed.Length > 0 ? [("[y/N]", typed)] : []);

    /// <summary>A new app; its id.</summary>
    public async Task<string> AppAsync(string name) => Text(await JsonAsync("apps", "create", name), "id");

    /// <summary>A new key; the key itself.</summary>
    public async Task<string> KeyAsync(string app, params string[] more) =>
        Text(await JsonAsync(["keys", "create", "--app", app, .. more]), "secret");

    public static string Text(JsonElement json, string field) => json.GetProperty(field).GetString()!;

    private Dictionary<string, string> Variables(string adminKey, string apiKey) => new()
    {
        ["COFFER_URL"] = coffer.Url.ToString(),
        ["COFFER_ADMIN_KEY"] = adminKey,
        ["COFFER_API_KEY"] = apiKey,
    };
}
