using System.Net;
using System.Net.Sockets;

namespace Coffer;

/// <summary>
/// Where Coffer may send something that a client named: https to addresses of the public internet, and whatever the
/// operator names. An address that carries an IPv4 address in itself counts as that one (RFC 6890, the registries of
/// special-purpose addresses of IANA).
/// </summary>
/// <param name="named">Networks that the operator names; http is spoken to these alone.</param>
internal sealed class Destinations(IReadOnlyList<IPNetwork> named)
{
    private static readonly IPNetwork[] NotGlobal = [.. ((string[])
    [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ]).Select(IPNetwork.Parse)];

    private static readonly IPNetwork GlobalUnicast = IPNetwork.Parse("2000::/3"),
        SixToFour = IPNetwork.Parse("2002::/16"), Teredo = IPNetwork.Parse("2001::/32"),
        Nat64 = IPNetwork.Parse("64:ff9b::/96"), Compatible = IPNetwork.Parse("::/96");

    /// <summary>Why a URL cannot be called, as the end of a sentence; null if it may be, as far as it says.</summary>
    public string? ProblemOf(string text)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out var url) || url.Scheme is not ("https" or "http")
            || url.Host.Length == 0)
            return "it must be an https URL, such as https://hooks.example.com/coffer";
        if (url.Scheme == "http" && named.Count == 0)
            return "it must be an https URL; http is for networks that the server's --webhook-networks names";
        if (url.UserInfo.Length > 0 || url.Fragment.Length > 0)
            return "it must have no user, no password and no fragment: the signature says who sends";
        return IPAddress.TryParse(url.Host.Trim('[', ']'), out var address) && !May(address, url.Scheme == "https")
            ? "its address is not one of the public internet, and the server's --webhook-networks does not name it"
            : null;
    }

    /// <summary>Whether an address may be called.</summary>
    /// <param name="address">Any.</param>
    /// <param name="isTls">Whether by https; if not, it has to be named.</param>
    public bool May(IPAddress address, bool isTls) =>
        FormsOf(Networks.Plain(address)).All(form => IsNamed(form) || (isTls && IsGlobal(form)));

    private bool IsNamed(IPAddress address) => Networks.HaveIn(named, address);

    private static bool IsGlobal(IPAddress address) =>
        (address.AddressFamily == AddressFamily.InterNetwork || GlobalUnicast.Contains(address))
        && !Networks.HaveIn(NotGlobal, address);

    // What it counts as: each of them has to be allowed.
    private static IEnumerable<IPAddress> FormsOf(IPAddress address)
    {
        if (address.AddressFamily != AddressFamily.InterNetworkV6)
            return [address];
        var bytes = address.GetAddressBytes();
        if (SixToFour.Contains(address))
            return [Carried(2)];
        if (Teredo.Contains(address)) // server, and client with its bits turned
            return [Carried(4), new IPAddress([.. bytes[12..].Select(each => (byte)~each)])];
        if (Nat64.Contains(address) || (Compatible.Contains(address) && bytes[12] != 0))
            return [Carried(12)];
        var isOfIsatap = bytes[8] is 0 or 2 && bytes[9] == 0 && bytes[10] == 0x5e && bytes[11] == 0xfe; // RFC 5214
        return isOfIsatap ? [address, Carried(12)] : [address];

        IPAddress Carried(int at) => new(bytes.AsSpan(at, 4));
    }
}
