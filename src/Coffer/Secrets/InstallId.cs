using System.Buffers.Binary;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// Ids of installs: <c>appinst_</c>, in test mode <c>appinst_test_</c>, and 32 base62 characters of a MAC over whose
/// install it is and when it was made. So an id is of one account and no other, whatever the database says; and rows
/// of before there were ids have one too. It is no authority: only keys of its app reach it.
/// </summary>
internal static class InstallId
{
    private const string Prefix = "appinst_", TestPrefix = Prefix + "test_";

    private const int Length = 32, PartLength = 11;

    /// <summary>What is stored of an id.</summary>
    /// <param name="instance">Whose id it is.</param>
    /// <param name="tenant">App, mode and account.</param>
    /// <param name="created">When the tenant was made, in Unix seconds.</param>
    public static string Of(Instance instance, TenantId tenant, long created)
    {
        using var bound = Bind("coffer v1 install id"u8, tenant);
        bound.Add(created);
        var mac = instance.ManagedIdKey.Compute(bound.Span).AsSpan();
        Span<char> id = stackalloc char[Length];
        for (var at = 0; at < Length; at += PartLength)
        {
            Base62.Write(BinaryPrimitives.ReadUInt64BigEndian(mac), id[at..Math.Min(at + PartLength, Length)]);
            mac = mac[sizeof(ulong)..];
        }

        return new string(id);
    }

    /// <summary>An id as it is shown.</summary>
    public static string Shown(bool livemode, string stored) => (livemode ? Prefix : TestPrefix) + stored;

    /// <summary>Whether an id is one of live mode, if it is one.</summary>
    public static bool IsLive(string shown) => !shown.StartsWith(TestPrefix, StringComparison.Ordinal);

    /// <summary>What is stored of an id of a mode; null if it is none.</summary>
    public static string? Parse(bool livemode, string shown)
    {
        var prefix = livemode ? Prefix : TestPrefix;
        return shown.Length == prefix.Length + Length && shown.StartsWith(prefix, StringComparison.Ordinal)
            ? shown[prefix.Length..]
            : null;
    }

    /// <summary>Where it is noted that an account is closed: without the account, which nobody reads there.</summary>
    public static UninstallKey Closed(Instance instance, TenantId tenant)
    {
        using var bound = Bind("coffer v1 closed account"u8, tenant);
        return new(tenant.App, tenant.Livemode, instance.ManagedIdKey.Compute(bound.Span));
    }

    private static AssociatedData Bind(ReadOnlySpan<byte> label, TenantId tenant)
    {
        var bound = new AssociatedData(label);
        bound.Add(tenant.App);
        bound.Add(tenant.Livemode ? 1 : 0);
        bound.Add(tenant.Account);
        return bound;
    }
}
