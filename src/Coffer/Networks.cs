using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace Coffer;

/// <summary>Addresses and networks as operators write them; every room may use it.</summary>
internal static class Networks
{
    /// <summary>A network in CIDR form, or an address, which is a network of one; null if it is neither.</summary>
    public static IPNetwork? Parse(string text)
    {
        // .NET reads more than is meant: 010.1 as inet_aton does, which is 8.0.0.1, and zones, brackets and ports.
        var host = text.Split('/')[0];
        if (!IPAddress.TryParse(host, out var address) || host.AsSpan().ContainsAny("%[]")
            || (address.AddressFamily == AddressFamily.InterNetwork && address.ToString() != host))
            return null;
        // 10.0.0.1/8 would be read as 10.0.0.0/8, which may be more than was meant.
        if (!IPNetwork.TryParse(host == text ? $"{host}/{address.GetAddressBytes().Length * 8}" : text,
            out var network) || !network.BaseAddress.Equals(address))
            return null;
        return address.IsIPv4MappedToIPv6 && network.PrefixLength >= 96
            ? new IPNetwork(Plain(address), network.PrefixLength - 96)
            : network;
    }

    /// <summary>Whether an address is of one of these networks; no address is of none.</summary>
    public static bool HaveIn(IReadOnlyList<IPNetwork> networks, IPAddress? address)
    {
        var plain = Plain(address);
        for (var i = 0; plain is not null && i < networks.Count; i++)
        {
            if (networks[i].Contains(plain))
                return true;
        }

        return false;
    }

    /// <summary>Whether a network is wider than those that hold one site's proxies: /24, or /64 of IPv6.</summary>
    public static bool IsWide(IPNetwork network) =>
        network.PrefixLength < (network.BaseAddress.AddressFamily == AddressFamily.InterNetwork ? 24 : 64);

    /// <summary>
    /// The address as it counts: a client that speaks IPv4 over IPv6 is known by its IPv4 address, and one on the same
    /// link without the name that this machine has for the link.
    /// </summary>
    [return: NotNullIfNotNull(nameof(address))]
    public static IPAddress? Plain(IPAddress? address) => address switch
    {
        null or { AddressFamily: AddressFamily.InterNetwork } => address,
        { IsIPv4MappedToIPv6: true } => address.MapToIPv4(),
        { ScopeId: not 0 } => new IPAddress(address.GetAddressBytes()),
        _ => address,
    };

    /// <summary>Whom an address counts as: who has an IPv6 address has the rest of its /64 too.</summary>
    public static IPAddress Owner(IPAddress address)
    {
        address = Plain(address);
        if (address.AddressFamily != AddressFamily.InterNetworkV6)
            return address;
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out _);
        bytes[8..].Clear();
        return new IPAddress(bytes);
    }
}
