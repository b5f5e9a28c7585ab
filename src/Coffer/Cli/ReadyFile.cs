using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Hosting;

namespace Coffer.Cli;

/// <summary>
/// The file that says where a server answers, for whoever waits for it. It appears whole under its name, readable by
/// its owner alone. It belongs to the process that wrote it: no other removes it while that one runs.
/// </summary>
internal sealed class ReadyFile
{
    private const string Pid = "pid";

    /// <summary>Of first keys that are kept beside it: which store's they are.</summary>
    private const string Store = "store";

    private readonly string path;
    private string? aside;

    private ReadyFile(string path) => this.path = path;

    /// <exception cref="ConfigurationException">Something else has that name: it would be lost.</exception>
    public static ReadyFile? At(string? path) => path is null ? null : new ReadyFile(Path.GetFullPath(path)).Checked();

    /// <summary>
    /// Removes one that was left by a process that has ended: a script would believe in a server that is not there.
    /// </summary>
    public void RemoveStale()
    {
        if (File.Exists(path) && !IsOfAnother())
            File.Delete(path);
    }

    /// <summary>
    /// Puts first keys beside it, until the server is ready: whatever happens in between, they are not lost. What is
    /// there of another store is put aside.
    /// </summary>
    /// <exception cref="IOException">They cannot be written.</exception>
    public void Keep(Started started)
    {
        PutAside(started.StoreId);
        var kept = new JsonObject { [Store] = started.StoreId };
        AddKeys(kept, started.FirstKeys!);
        Write(KeysPath, kept);
    }

    /// <summary>
    /// Says that the server is ready. What a first start of this store that was killed had put beside it is in it too.
    /// </summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void Write(Started started)
    {
        var ready = new JsonObject { ["url"] = started.Url.ToString().TrimEnd('/') };
        if (started.AdminUrl is { } admin)
            ready["admin_url"] = admin.ToString().TrimEnd('/');
        if (started.MetricsUrl is { } metrics)
            ready["metrics_url"] = metrics.ToString().TrimEnd('/');
        ready[Pid] = Environment.ProcessId;
        var (from, kept) = KeptOf(started.StoreId);
        if (started.FirstKeys is { } keys)
            AddKeys(ready, keys);
        else if (kept is not null)
            AddKept(ready, kept);
        _ = Checked();
        Write(path, ready);
        if (kept is not null)
            File.Delete(from);
    }

    /// <summary>
    /// Once it is written: where first keys are that are another store's, or are not known to be this one's; or null.
    /// </summary>
    public string? OthersKeys => aside ?? (File.Exists(KeysPath) ? KeysPath : null);

    private string KeysPath => path + ".keys";

    // It may be the only copy of another store's. It is no reason to refuse: a start that failed before its store knew
    // them left such a one too.
    private void PutAside(string storeId)
    {
        if (!File.Exists(KeysPath) || FileStatus.SpecialAt(KeysPath) is not null)
            return;
        var store = StoreOf(Read(KeysPath));
        if (store == storeId)
            return;
        var name = store is { Length: > 0 } && store.All(char.IsAsciiHexDigit) ? store : "old";
        aside = $"{KeysPath}.{name}";
        for (var i = 2; Path.Exists(aside); i++)
            aside = $"{KeysPath}.{name}-{i}";
        File.Move(KeysPath, aside);
        DurableFile.SyncDirectoryOf(aside);
    }

    private static void Write(string path, JsonObject json) =>
        DurableFile.Write(path, Encoding.UTF8.GetBytes(json.ToJsonString() + "\n"), overwrite: true);

    // Null if there are none, or they are another store's: of a start that failed before its store knew them, perhaps.
    private (string From, JsonObject? Keys) KeptOf(string storeId) =>
        ((string[])[KeysPath, $"{KeysPath}.{storeId}"]).Select(from => (From: from, Keys: Read(from)))
            .FirstOrDefault(kept => StoreOf(kept.Keys) == storeId, (KeysPath, null));

    private static JsonObject? Read(string path)
    {
        if (!File.Exists(path) || FileStatus.SpecialAt(path) is not null)
            return null;
        try
        {
            return JsonNode.Parse(File.ReadAllBytes(path)) as JsonObject;
        }
        catch (JsonException)
        {
            return null; // it was not written whole, or is none of ours
        }
    }

    private static string? StoreOf(JsonObject? kept) =>
        kept?[Store] is JsonValue store && store.TryGetValue(out string? id) ? id : null;

    private static void AddKept(JsonObject ready, JsonObject kept)
    {
        foreach (var (name, key) in kept.Where(each => each.Key != Store))
            ready[name] = key?.DeepClone();
    }

    /// <summary>The keys under their names.</summary>
    public static void AddKeys(JsonObject json, FirstKeys keys)
    {
        foreach (var (name, key) in ((string, string?)[])[
            ("test_secret_key", keys.TestSecretKey), ("live_secret_key", keys.LiveSecretKey),
            ("admin_key", keys.AdminKey), ("signing_secret_test", keys.SigningSecretTest),
            ("signing_secret_live", keys.SigningSecretLive)])
        {
            if (key is not null)
                json[name] = key;
        }
    }

    // Only a file that can have been such a one before is ever replaced.
    private ReadyFile Checked() => FileStatus.SpecialAt(path) is { } special
        ? throw new ConfigurationException($"the ready file {path} is {special}, which it would replace",
            "Give --ready-file the name of a file of its own.")
        : this;

    // A number that this process has is not another's: in a container each start has the same.
    private bool IsOfAnother()
    {
        try
        {
            using var ready = JsonDocument.Parse(File.ReadAllBytes(path));
            return ready.RootElement.TryGetProperty(Pid, out var pid) && pid.TryGetInt32(out var process)
                && process != Environment.ProcessId && IsRunning(process);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return false;
        }
    }

    private static bool IsRunning(int process)
    {
        try
        {
            using var found = System.Diagnostics.Process.GetProcessById(process);
            return !found.HasExited;
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException
            or System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
