using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>What wraps the root keys of a store, and what this node knows of the store from before.</summary>
internal sealed class KeyParts(KeyWrappers wrappers, Anchor anchor)
{
    private ControlWatch? watch;

    public KeyWrappers Wrappers => wrappers;

    public Anchor Anchor => anchor;

    /// <summary>Makes ready what is set; of a new store the key files are made that are not there.</summary>
    /// <exception cref="ConfigurationException">Nothing that is set is there.</exception>
    public static KeyParts Open(StorageParts storage, CofferOptions options, bool isNew, DateTimeOffset now)
    {
        var file = storage.Directory.KeyFile;
        var anchor = new Anchor(storage.Directory.AnchorFile);
        if (isNew)
            anchor.RequireNone();
        if (!isNew && options.RootKey.Urls.Count == 0 && options.Store is not null && !File.Exists(file))
        {
            throw new ConfigurationException($"the key file {file} is missing",
                "This store has a key file already: copy coffer.key from the --data directory of a node that has it. "
                    + "All nodes of a store need the same one.");
        }

        var settings = options.RootKey.Or(file);
        if (isNew)
            CreateFiles(settings, now);
        return new KeyParts(KeyWrappers.Open(settings), anchor);
    }

    /// <summary>Makes the key files that are set and not there.</summary>
    /// <exception cref="ConfigurationException">One cannot be created.</exception>
    public static void CreateFiles(KeySettings settings, DateTimeOffset now)
    {
        foreach (var url in settings.Urls.Where(url => url.Scheme == WrapperUrl.KeyFile && !File.Exists(url.Rest)))
            Create(url.Rest, now);
    }

    private static void Create(string path, DateTimeOffset now)
    {
        try
        {
            KeyFile.Create(path, now);
        }
        catch (DirectoryNotFoundException)
        {
            throw new ConfigurationException($"the key file {path} cannot be created: its directory does not exist",
                "Make the directory first, or check root-key.");
        }
    }

    /// <summary>Says what an operator has to know of the keys of a store that starts.</summary>
    public void Warn(Instance instance, bool isAnchored, ILogger<KeyParts> log)
    {
        foreach (var trouble in Wrappers.Troubles.Concat(instance.Troubles))
            log.LogWarning("A key wrapper that is set did not open the store: {Trouble}", trouble);
        if (!isAnchored && instance.Facts is not null)
        {
            const string Trusts = "There is no coffer.anchor in the data directory: that this is the right store is "
                + "believed. From now on it is held against the one that this start writes";
            log.LogWarning(Trusts);
        }
    }

    /// <summary>What is wrong with the root keys while the store is served.</summary>
    public (string? Trouble, string? Warning) Health => (watch?.Trouble, watch?.Warning);

    /// <summary>
    /// Writes the anchor, and from now on takes over each change of the control row, by whichever node.
    /// </summary>
    public void Follow(Engine engine, Instance instance, Surroundings around)
    {
        Anchor.Write(instance);
        watch = around.Parts.Add(new ControlWatch(engine, instance, this, around.Log<ControlWatch>()));
        around.Loops.Add(watch.Loop);
        instance.Reload = watch.FollowAsync;
        engine.ControlMoved = watch.FollowNow;
        engine.Changed += watch.Note;
        // Which keys are believed may be another matter from then on.
        instance.WhenRenewed += () => engine.Changed(News.AllAccess);
    }

    /// <summary>Has the rotation of a root key that is under way continue by itself.</summary>
    public void Rotate(RootRotation rotation) => watch!.Start(rotation);
}
