using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Coffer.Keys;

/// <summary>
/// A file beside the key file that says which store this is, and how far its control row had come: what is in the
/// database is held against it before it is believed. It is no secret. A node that is given a copy of another's starts
/// on that store and no other.
/// </summary>
/// <param name="path">Where it is, or is to be.</param>
internal sealed class Anchor(string path)
{
    /// <summary>Bytes of a mark.</summary>
    public const int MarkSize = 32;

    private const string Tag = "coffer-anchor-v1";

    private readonly Lock writing = new();

    /// <summary>The serial that it has; 0 if there is none.</summary>
    public long Serial { get; private set; }

    /// <summary>What shows that a store has a pepper: nobody finds another one for it.</summary>
    public static byte[] MarkOf(ReadOnlySpan<byte> pepper)
    {
        var mark = new byte[MarkSize];
        HKDF.Expand(HashAlgorithmName.SHA256, pepper, mark, "coffer v1 anchor"u8);
        return mark;
    }

    /// <summary>Whether there is one.</summary>
    public bool Exists => File.Exists(path);

    /// <summary>Why there has to be a store, in words; null if there is no anchor that says so.</summary>
    /// <exception cref="ConfigurationException">It is damaged.</exception>
    public string? Expected => Exists
        ? $"there is no store, but {path} says that there was one ({Convert.ToHexStringLower(Read().Store)})"
        : null;

    /// <summary>Refuses a new store where an anchor says that there was one.</summary>
    /// <exception cref="ConfigurationException">There is one.</exception>
    public void RequireNone()
    {
        if (Expected is { } expected)
        {
            throw new ConfigurationException(expected,
                "Restore the store from a back-up. To create a new store, move that file away first.");
        }
    }

    /// <summary>Holds an identity against the anchor.</summary>
    /// <returns>False if there is no anchor to hold it against.</returns>
    /// <exception cref="ConfigurationException">It is another store.</exception>
    public bool Check(Instance instance)
    {
        if (!Exists)
            return false;
        var (store, mark, serial) = Read();
        if (!CryptographicOperations.FixedTimeEquals(store, instance.Id)
            || !instance.HasMark(mark))
        {
            throw new ConfigurationException($"the store is not the one that {path} names",
                "Check --data and --store. If another store is meant to be here from now on, move that file away.");
        }

        Serial = serial;
        return true;
    }

    /// <summary>Refuses a control row that is older than one that this node has seen.</summary>
    /// <exception cref="ConfigurationException">It is.</exception>
    public void RequireNotOlder(Instance instance)
    {
        if ((instance.Facts?.Serial ?? 0) < Serial)
        {
            throw new ConfigurationException(
                $"the control row of the store is older than {path}: it has serial {instance.Facts?.Serial ?? 0}, "
                    + $"this node has seen {Serial}",
                "An old copy of it was put back. Restore the newest copy of the store. If the whole store went back "
                    + "and that is accepted, move that file away.");
        }
    }

    /// <summary>Writes it again, if it does not say so already.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void Write(Instance instance)
    {
        if (instance.Facts is not { } facts)
            return;
        lock (writing)
        {
            if (Exists && Serial == facts.Serial)
                return;
            var line = string.Create(CultureInfo.InvariantCulture,
                $"{Tag} {Convert.ToHexStringLower(instance.Id)} {Convert.ToHexStringLower(instance.AnchorMark)} "
                    + $"{facts.Serial}\n");
            DurableFile.Write(path, Encoding.ASCII.GetBytes(line), overwrite: true);
            Serial = facts.Serial;
        }
    }

    private (byte[] Store, byte[] Mark, long Serial) Read()
    {
        try
        {
            if (File.ReadAllText(path).TrimEnd('\n').Split(' ') is [Tag, var store, var mark, var serial]
                && store.Length == 2 * Control.StoreIdSize && mark.Length == 2 * MarkSize
                && long.TryParse(serial, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                return (Convert.FromHexString(store), Convert.FromHexString(mark), number);
        }
        catch (FormatException)
        {
            // said below
        }

        throw new ConfigurationException($"{path} is damaged: it is not one line as Coffer writes it",
            "Copy it from another node of the store, or move it away to trust what is in the database.");
    }
}
