using System.Net;
using Microsoft.AspNetCore.Connections;

namespace Coffer.Http;

/// <summary>
/// The connections that one address to listen at has room for, and those of each client among them. When room is short
/// the idlest connections of the client that has most are closed; a connection with a request under way never is.
/// </summary>
/// <param name="most">How many connections there may be.</param>
/// <param name="perOwner">How many of them one client may have; 0 is no limit.</param>
/// <param name="exempt">Proxies, which stand for many clients: each connection of theirs counts as a client's.</param>
/// <param name="time">Measures how long a connection may take to go.</param>
internal sealed class Seats(int most, int perOwner, IReadOnlyList<IPNetwork> exempt, TimeProvider time)
{
    /// <summary>What was asked to go is given this long to, and so is what the other end does not read.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    // A search for the idlest looks at all: it makes room for a few at once.
    private const int ShareClosedAtOnce = 100;
    private const int MostGoing = 16;

    private readonly Lock changing = new();
    private readonly Dictionary<IPAddress, Client> clients = [];
    private int taken;
    private int going;

    /// <summary>Whether these are kept for health and the management plane.</summary>
    public bool IsReserve { get; init; }

    /// <summary>
    /// A seat for a new connection, if need be one that an idle connection has to leave; null if there is none.
    /// </summary>
    public Seat? TryTake(ConnectionContext connection)
    {
        var address = Networks.Plain((connection.RemoteEndPoint as IPEndPoint)?.Address ?? IPAddress.None);
        var isExempt = Networks.HaveIn(exempt, address);
        var seat = new Seat(this, connection, isExempt ? address : Networks.Owner(address), isExempt);
        IReadOnlyList<Seat> closed = [];
        lock (changing)
        {
            var client = clients.GetValueOrDefault(seat.Owner) ?? new Client();
            var isBounded = perOwner > 0 && !isExempt;
            if (client.Going >= Math.Min(isBounded ? perOwner : int.MaxValue, Going / 2))
                return null; // it comes faster than its own connections go: the others are not to wait for those
            if (isBounded && client.Seats.Count >= perOwner)
                closed = Leave(Idlest([client], 1 + perOwner / ShareClosedAtOnce));
            else if (taken >= most)
                closed = Leave(Idlest(clients.Values, 1 + most / ShareClosedAtOnce));

            // Those that were asked to go and have not yet are no way around the limit.
            if (taken >= most || taken + going >= most + Going || (isBounded && client.Seats.Count >= perOwner))
                seat = null;
            else
                Add(seat, client);
        }

        foreach (var each in closed)
            Close(each);
        return seat;
    }

    /// <summary>The connection is over.</summary>
    public void Free(Seat seat)
    {
        lock (changing)
        {
            var client = clients[seat.Owner];
            if (client.Seats.Remove(seat))
            {
                taken--;
            }
            else
            {
                client.Going--;
                going--;
            }

            if (client.Seats.Count + client.Going == 0)
                clients.Remove(seat.Owner);
        }
    }

    // How many may be about to go at once, beside those that are in use.
    private int Going => Math.Max(MostGoing, most / 10);

    // Of each client the more idle connections first, and first of the one that would have most left: so a client with
    // many makes room for the others, and of clients with as many the idlest goes.
    private static List<Seat> Idlest(IEnumerable<Client> clients, int count)
    {
        var found = new List<(int Rank, Seat Seat)>();
        foreach (var client in clients)
        {
            var rank = client.Seats.Count(seat => seat.IsUnderWay);
            foreach (var seat in client.Seats.Where(seat => !seat.IsUnderWay).OrderByDescending(seat => seat.LastUse))
                found.Add((seat.IsExempt ? 0 : rank++, seat));
        }

        return [.. found.OrderByDescending(each => each.Rank).ThenBy(each => each.Seat.LastUse)
            .Select(each => each.Seat).Take(count)];
    }

    private List<Seat> Leave(List<Seat> closed)
    {
        foreach (var seat in closed)
        {
            var client = clients[seat.Owner];
            client.Seats.Remove(seat);
            client.Going++;
            taken--;
            going++;
        }

        return closed;
    }

    private void Add(Seat seat, Client client)
    {
        clients[seat.Owner] = client;
        client.Seats.Add(seat);
        taken++;
    }

    private void Close(Seat seat)
    {
        seat.Close();
        seat.CutOffAfter(Patience, time);
    }

    private sealed class Client
    {
        public HashSet<Seat> Seats { get; } = [];

        /// <summary>How many of its connections were asked to go and have not gone yet.</summary>
        public int Going { get; set; }
    }
}
