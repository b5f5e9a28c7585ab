using System.Buffers.Text;
using System.Globalization;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Hosting;

/// <summary>
/// Recovery shares of a store as they are given, one at a time: a wrong one is named before the next is asked for.
/// </summary>
/// <param name="store">The store's id.</param>
/// <param name="shares">What the store holds.</param>
internal sealed class ShareGathering(byte[] store, RecoveryShares shares) : IDisposable
{
    private readonly List<Slip39Share> given = [];

    /// <summary>Of a store that a server shows.</summary>
    /// <param name="store">The store's id, in hexadecimal.</param>
    /// <param name="stored">What the store holds, in base64url.</param>
    /// <exception cref="InvalidDataException">It is not what Coffer writes.</exception>
    public static ShareGathering Of(string store, string stored)
    {
        try
        {
            if (RecoveryShares.Read(Base64Url.DecodeFromChars(stored)) is { } shares)
                return new ShareGathering(Convert.FromHexString(store), shares);
        }
        catch (FormatException)
        {
            // said below
        }

        throw Wrong();
    }

    public static InvalidDataException Wrong() =>
        new("the server did not answer as one that has recovery shares: check --url");

    /// <summary>How many are needed.</summary>
    public int Needed => shares.Threshold;

    /// <summary>How many were given.</summary>
    public int Given => given.Count;

    /// <summary>Takes the next share.</summary>
    /// <param name="text">Its words, ASCII.</param>
    /// <exception cref="FormatException">It is none, or is not of use; the message shows no word of it.</exception>
    public void Add(ReadOnlySpan<byte> text)
    {
        var share = Slip39Share.Read(text, RecoveryShares.WordsOfShare);
        var problem = Problem(share);
        if (problem is null)
        {
            given.Add(share);
            return;
        }

        share.Dispose();
        throw new FormatException(problem);
    }

    /// <summary>Whether the shares are those of this store; the private half stays closed.</summary>
    public bool Prove()
    {
        using var key = Combine();
        return key is not null && shares.Proves(store, key);
    }

    /// <summary>What unwraps root keys, for the caller to dispose of; null if the shares do not open it.</summary>
    public SharesWrapper? Open()
    {
        using var key = Combine();
        return key is null ? null : shares.Open(store, key);
    }

    public void Dispose()
    {
        foreach (var share in given)
            share.Dispose();
    }

    private SecretBytes? Combine() => Slip39.Combine(given);

    private string? Problem(Slip39Share share)
    {
        if (share.Set != shares.SetOfShares || share.Threshold != shares.Threshold)
        {
            return $"it is of another set of shares ({Number(share.Set.Identifier)}), and this store's is "
                + $"{Number(shares.Set)}: its first three words are not theirs";
        }

        if (share.Member >= shares.Count)
            return "it has the place of a share that was never made";
        return given.Exists(known => known.Member == share.Member)
            ? $"it is share {share.Member + 1}, which was given already"
            : null;
    }

    private static string Number(int set) => set.ToString(CultureInfo.InvariantCulture);
}
