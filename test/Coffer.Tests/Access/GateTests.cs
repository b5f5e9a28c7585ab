using System.Net;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Tests.Access;

public sealed class GateTests : IDisposable
{
    private readonly Refusals refusals = new(new ManualTime());

    [Theory]
    [InlineData("203.0.113.7", "203.0.113.0/24", true)]
    [InlineData("::ffff:203.0.113.7", "203.0.113.0/24", true)] // as a socket for both protocols tells it
    [InlineData("::ffff:203.0.114.7", "203.0.113.0/24", false)]
    [InlineData("203.0.113.255", "203.0.113.0/24", true)]
    [InlineData("203.0.114.0", "203.0.113.0/24", false)]
    [InlineData("2001:db8::7", "2001:db8::/32", true)]
    [InlineData("2001:db9::7", "2001:db8::/32", false)]
    [InlineData("2001:db8::7", "0.0.0.0/0", false)]
    [InlineData("203.0.113.7", "::/0", false)]
    [InlineData("203.0.113.7", "10.0.0.0/8 203.0.113.7/32", true)]
    [InlineData("", "0.0.0.0/0", false)]
    [InlineData("not an address", "0.0.0.0/0", false)]
    public void A_key_is_taken_from_its_networks_only(string remote, string networks, bool isTaken)
    {
        var caller = new Caller("key_1", KeyKind.Secret, new TenantId("app_1", false, "acct_1"),
            new Origin("req_1", remote));
        var refusal = new Gate(refusals, null!, null!).Admit(caller,
            [.. networks.Split(' ').Select(network => IPNetwork.Parse(network))]);
        Assert.Equal(isTaken ? null : 403, refusal?.Status);
        Assert.Null(new Gate(refusals, null!, null!).Admit(caller, []));
    }

    public void Dispose() => refusals.Dispose();
}
