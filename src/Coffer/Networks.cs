using System.Net;

namespace Coffer;

/// <summary>Addresses and networks as operators write them; every room may use it.</summary>
internal static class Networks
{
    /// <summary>A network in CIDR form, or an address, which is a network of one; null if it is neither.</summary>
    public static IPNetwork? Parse(string text)
    {
        if (IPAddress.TryParse(text, out var address))
            return new IPNetwork(address, address.GetAddressBytes().Length * 8);
        // 10.0.0.1/8 would be taken as 10.0.0.0/8, which may be more than was meant.
        return IPNetwork.TryParse(text, out var network) && IPAddress.Parse(text.AsSpan(0, text.IndexOf('/', StringComparison.Ordinal))).Equals(network.BaseAddress)
            ? network
            : null;
    }
}
