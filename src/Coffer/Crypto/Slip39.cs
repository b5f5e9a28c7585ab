using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// Splits a secret into shares of words that people keep, and puts it together again: SLIP-39
/// (github.com/satoshilabs/slips, slip-0039). What it splits is one group, encrypted with the empty passphrase; it puts
/// together whatever the standard allows.
/// </summary>
internal static class Slip39
{
    private const int IterationsOfRound = 2500;

    /// <summary>Splits a secret of 16 bytes or more, an even number of them.</summary>
    /// <param name="secret">Random bytes: no more than the standard's least work is put into slowing down who guesses.
    /// </param>
    /// <param name="threshold">How many shares give it back.</param>
    /// <param name="count">How many there are, 16 at most.</param>
    /// <returns>The shares, for the caller to dispose of.</returns>
    public static IReadOnlyList<Slip39Share> Split(ReadOnlySpan<byte> secret, int threshold, int count)
    {
        var set = new Slip39Set(RandomNumberGenerator.GetInt32(Slip39Set.Identifiers), IsExtendable: true, Exponent: 0,
            GroupThreshold: 1, Groups: 1);
        using var encrypted = SecretBytes.Copy(secret);
        Permute(encrypted.Span, set, [], [0, 1, 2, 3]);
        return [.. Shamir.Split(encrypted.Span, threshold, count)
            .Select((value, member) => new Slip39Share(set, 0, (byte)member, (byte)threshold, value))];
    }

    /// <summary>Puts a secret together.</summary>
    /// <param name="shares">As many as are needed, of each group that is needed.</param>
    /// <param name="passphrase">With which it was encrypted.</param>
    /// <returns>The secret, for the caller to dispose of; null if the shares do not belong together.</returns>
    public static SecretBytes? Combine(IReadOnlyList<Slip39Share> shares, ReadOnlySpan<byte> passphrase = default)
    {
        if (shares is not [var first, ..] || first.Set.GroupThreshold > first.Set.Groups
            || shares.Any(share => share.Set != first.Set || share.Value.Length != first.Value.Length))
            return null;
        var ofGroups = new List<Shamir.Point>();
        try
        {
            foreach (var group in shares.GroupBy(share => share.Group))
            {
                if (CombineGroup([.. group]) is not { } value)
                    return null;
                ofGroups.Add(new Shamir.Point(group.Key, value));
            }

            if (ofGroups.Count != first.Set.GroupThreshold || Shamir.Combine(ofGroups) is not { } secret)
                return null;
            Permute(secret.Span, first.Set, passphrase, [3, 2, 1, 0]);
            return secret;
        }
        finally
        {
            foreach (var point in ofGroups)
                point.Value.Dispose();
        }
    }

    private static SecretBytes? CombineGroup(IReadOnlyList<Slip39Share> shares)
    {
        var areOne = shares.All(share => share.Threshold == shares.Count)
            && shares.DistinctBy(share => share.Member).Count() == shares.Count;
        return areOne ? Shamir.Combine([.. shares.Select(share => new Shamir.Point(share.Member, share.Value))]) : null;
    }

    // Luby and Rackoff's permutation, of four rounds; backwards it is the same with the rounds in the other order.
    private static void Permute(
        Span<byte> block, Slip39Set set, ReadOnlySpan<byte> passphrase, ReadOnlySpan<byte> rounds)
    {
        var half = block.Length / 2;
        var left = block[..half];
        var right = block[half..];
        Span<byte> id = stackalloc byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16BigEndian(id, (ushort)set.Identifier);
        byte[] prefix = set.IsExtendable ? [] : [.. "shamir"u8, .. id];
        using var password = SecretBytes.Rent(1 + passphrase.Length);
        using var salt = SecretBytes.Rent(prefix.Length + half);
        using var mask = SecretBytes.Rent(half);
        passphrase.CopyTo(password.Span[1..]);
        prefix.CopyTo(salt.Span);
        foreach (var round in rounds)
        {
            password.Span[0] = round;
            right.CopyTo(salt.Span[prefix.Length..]);
            Rfc2898DeriveBytes.Pbkdf2(password.Span, salt.Span, mask.Span, IterationsOfRound << set.Exponent,
                HashAlgorithmName.SHA256);
            for (var i = 0; i < half; i++)
            {
                // The halves change places.
                var mixed = (byte)(left[i] ^ mask.Span[i]);
                (left[i], right[i]) = (right[i], mixed);
            }
        }

        for (var i = 0; i < half; i++)
            (left[i], right[i]) = (right[i], left[i]);
    }
}
