namespace Coffer.Settings;

/// <summary>
/// The settings that concern the store and not one node. They are kept in the store, so that all its nodes have the
/// same; a flag, a variable or a file of a node says only what a new store begins with.
/// </summary>
internal static class StoreSettings
{
    /// <summary>Where a value that is kept in the store is from, as it is shown.</summary>
    public const string Source = "store";

    private static readonly CofferOptions Bare = new() { Data = "" };

    public static IReadOnlyList<Setting> All { get; } =
        [.. SettingsTable.All.Where(setting => setting.OfStore is not null)];

    /// <summary>What was written into options, defaults too if somebody wrote them, each as it is kept.</summary>
    public static IReadOnlyDictionary<string, string> Told(CofferOptions options) =>
        All.Where(setting => IsTold(setting, options)).ToDictionary(
            setting => setting.Name, setting => setting.OfStore!(options));

    /// <summary>The value as it is kept.</summary>
    /// <exception cref="FormatException">It is none; the message is the end of a sentence.</exception>
    public static string Canonical(Setting setting, string value) => setting.OfStore!(setting.Apply(Bare, value));

    /// <summary>The value that is in force where none is kept.</summary>
    public static string Default(Setting setting) => setting.OfStore!(Bare);

    /// <summary>A value as coffer settings set takes it.</summary>
    public static string Typed(string name, string value) =>
        value == Default(All.First(setting => setting.Name == name)) ? "default" : value;

    /// <summary>What is kept, or the default.</summary>
    public static string Value(Setting setting, IReadOnlyDictionary<string, string> kept) =>
        kept.GetValueOrDefault(setting.Name) ?? Default(setting);

    /// <summary>Options of a node with what its store keeps instead of what was written for the node.</summary>
    /// <param name="told">The node's.</param>
    /// <param name="kept">The store's; null if it keeps none yet.</param>
    public static CofferOptions Apply(CofferOptions told, IReadOnlyDictionary<string, string>? kept)
    {
        if (kept is null)
            return told;
        var (options, shown) = (told, told.InForce.ToList());
        foreach (var setting in All)
        {
            var value = Value(setting, kept);
            options = setting.Apply(options, value);
            shown.RemoveAll(each => each.Name == setting.Name);
            shown.Add(new SettingInForce(setting.Name, value, kept.ContainsKey(setting.Name) ? Source : "default"));
        }

        return options with { InForce = shown };
    }

    private static bool IsTold(Setting setting, CofferOptions options) =>
        setting.OfStore!(options) != Default(setting)
        || options.InForce.Any(each => each.Name == setting.Name && !each.IsDefault);
}
