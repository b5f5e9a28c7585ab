using System.Text;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;

namespace Coffer.Hosting;

/// <summary>
/// What a node goes by: its own settings, and of what concerns the store what the store keeps. In its data directory it
/// notes what it was last started with, so that a value that somebody has edited differs from one that was overruled.
/// </summary>
/// <param name="instance">Whose store it is.</param>
/// <param name="options">What the node is started with.</param>
/// <param name="note">The file in which it notes that.</param>
internal sealed class StorePolicy(Instance instance, CofferOptions options, string note)
{
    private Known known = new(null, options);

    public Instance Instance => instance;

    /// <summary>What this node is started with of what concerns the store.</summary>
    public IReadOnlyDictionary<string, string> Told { get; } = StoreSettings.Told(options);

    /// <summary>What is in force now.</summary>
    public CofferOptions InForce
    {
        get
        {
            var kept = instance.Facts?.Settings;
            if (Volatile.Read(ref known) is var last && ReferenceEquals(last.Kept, kept))
                return last.Options;
            var now = new Known(kept, With(kept));
            Volatile.Write(ref known, now);
            return now.Options;
        }
    }

    public AuditPolicy Audit => new(InForce.Audit == "buffered", InForce.AuditMetadataReads);

    /// <summary>How long audit entries are kept; null for ever.</summary>
    public TimeSpan? AuditRetention => InForce.AuditRetentionDays is { } days ? TimeSpan.FromDays(days) : null;

    /// <summary>What is in force where the store keeps this.</summary>
    public CofferOptions With(IReadOnlyDictionary<string, string>? kept) => StoreSettings.Apply(options, kept);

    /// <summary>
    /// Refuses what differs from the store's and was edited since this node last started: whoever wrote it means it.
    /// </summary>
    /// <exception cref="ConfigurationException">Something was.</exception>
    public void RequireUnedited()
    {
        if (Noted() is not { } noted)
            return;
        var edited = Overruled().Where(each => noted.GetValueOrDefault(each.Name) != each.Told).ToList();
        if (edited.Count == 0)
            return;
        var first = edited[0];
        throw new ConfigurationException(
            $"{string.Join("; ", edited.Select(Sentence))}: it concerns the store, and is changed in the store",
            $"Take {options.Written(first.Name)} out, start, and run: coffer settings set {first.Name} "
                + StoreSettings.Typed(first.Name, first.Told));
    }

    /// <summary>
    /// Says what was overruled, and notes what the node is started with. Call it once nothing can refuse the start.
    /// </summary>
    /// <exception cref="IOException">It cannot be noted.</exception>
    public void Keep(ILogger<StorePolicy> log)
    {
        if (instance.Facts?.Settings is null)
            return;
        foreach (var each in Overruled())
            log.LogWarning("{Setting}: that of the store is in force", Sentence(each));
        if (Noted() is { } noted && noted.Count == Told.Count && !noted.Except(Told).Any())
            return;
        var lines = string.Concat(Told.OrderBy(told => told.Key, StringComparer.Ordinal)
            .Select(told => $"{told.Key} = {told.Value}\n"));
        DurableFile.Write(note, Encoding.UTF8.GetBytes(lines), overwrite: true);
    }

    private string Sentence((string Name, string Told, string Kept) each) =>
        $"{options.Written(each.Name)} is {each.Told}, and the store has {each.Kept}";

    private List<(string Name, string Told, string Kept)> Overruled()
    {
        if (instance.Facts?.Settings is not { } kept)
            return [];
        return
        [
            .. StoreSettings.All.Where(setting => Told.ContainsKey(setting.Name))
                .Select(setting => (setting.Name, Told[setting.Name], StoreSettings.Value(setting, kept)))
                .Where(each => each.Item2 != each.Item3),
        ];
    }

    // Null of a node that has not started since the store keeps settings.
    private Dictionary<string, string>? Noted()
    {
        if (!File.Exists(note))
            return null;
        var noted = new Dictionary<string, string>();
        foreach (var line in File.ReadAllLines(note))
        {
            if (line.Split(" = ", 2) is [var name, var value])
                noted[name] = value;
        }

        return noted;
    }

    private sealed record Known(IReadOnlyDictionary<string, string>? Kept, CofferOptions Options);
}
