using System.Globalization;
using Coffer.Storage.Postgres;

namespace Coffer.Checks;

/// <summary>Whether the server keeps what it has acknowledged, and can serve nodes for as long as they run.</summary>
internal static class PostgresCheck
{
    private const long Old = 1_000_000_000, TooOld = 1_600_000_000;

    /// <summary>Its releases are mended for five years, until a November: 14 until that of 2026.</summary>
    private const int FirstYear = 2012, November = 11, Day = 14;

    private static readonly TimeSpan LongLag = TimeSpan.FromMinutes(1);

    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var server = await at.ConditionAsync(ct);
        var (address, way) = (PostgresAddress.Parse(at.Options.Store!)!, at.Engine.Connections!);
        Look(server, address, way.ArePooled, at.Time.GetUtcNow(), found);
        found.Ok($"PostgreSQL {server.Version}, {way.Shown}; {Shown(server)}");
    }

    /// <summary>What is wrong with a server.</summary>
    /// <param name="server">How it is doing.</param>
    /// <param name="address">How it is reached.</param>
    /// <param name="arePooled">Whether a pooler is in between.</param>
    /// <param name="now">The time.</param>
    /// <param name="found">Where it goes.</param>
    internal static void Look(
        PostgresCondition server, PostgresAddress address, bool arePooled, DateTimeOffset now, Findings found)
    {
        AtDurability(server, found);
        AtFollowers(server, found);
        AtLimits(server, found, address.MostConnections);
        AtRelease(server, now, found);
        // What a pooler speaks to the server says nothing of what this machine speaks to the pooler.
        if (server.IsEncrypted == false && !address.IsHere && !arePooled)
        {
            found.Problem("the connection to another machine is not encrypted",
                "Set SSL Mode=VerifyFull in --store, and TLS up at the server.");
        }

        foreach (var unseen in server.Unseen)
            found.Warn($"not told by the server: {unseen}", "Grant the role pg_monitor, to have it looked at.");
    }

    private static string Shown(PostgresCondition server)
    {
        string[] settings = ["wal_level", "archive_mode", "data_checksums"];
        string[] parts =
        [
            .. settings.Where(name => server[name] is not null).Select(name => $"{name} {server[name]}"),
            $"{server.Followers.Count} replicas",
        ];
        var free = server.FreeConnections is { } number ? $", {number} connections free" : "";
        var age = server.Age is not null
            ? $", oldest transaction {Age(server)} ago"
            : "";
        return string.Join(", ", parts) + free + age;
    }

    private static void AtDurability(PostgresCondition server, Findings found)
    {
        if (server["fsync"] == "off")
            found.Problem("fsync is off: a power cut may destroy the database and all that was acknowledged",
                "Set fsync = on in postgresql.conf and reload. Restore from a back-up if the machine has crashed.");
        if (server["full_page_writes"] == "off")
            found.Problem("full_page_writes is off: a power cut may leave pages that are half written",
                "Set full_page_writes = on in postgresql.conf and reload.");
        if (server["synchronous_commit"] == "off")
            found.Warn("synchronous_commit is off for this role; Coffer overrules that for all that it acknowledges",
                "Set synchronous_commit = on for the role, so that nothing depends on it.");
        if (server.IsStandby)
            found.Problem("this server follows another one and accepts no writes", "Name the primary in --store.");
        if (server["default_transaction_read_only"] == "on")
            found.Warn("default_transaction_read_only is on for this role; Coffer overrules that for what it writes",
                "Turn it off for the role and the database, so that nothing depends on it.");
        if (server.IsArchivingFailing)
            found.Warn("the last file of the write-ahead log could not be archived",
                "See the log of PostgreSQL: its disk fills up, and a restore ends where the archive does.");
    }

    private static void AtFollowers(PostgresCondition server, Findings found)
    {
        if (server["synchronous_standby_names"] is { Length: > 0 }
            && server["synchronous_commit"] is not ("local" or "off")
            && server.Followers.All(follower => follower.State is not null)
            && !server.Followers.Any(follower => follower.IsWaitedFor))
        {
            found.Problem("commits wait for a replica, and none that they wait for is connected",
                "Start that replica, or change synchronous_standby_names.");
        }

        foreach (var follower in server.Followers.Where(follower => follower.Lag > LongLag))
        {
            found.Warn($"the replica {follower.Name} is {(long)follower.Lag!.Value.TotalSeconds} seconds behind",
                "See its log and load: a failover to it now would lose that, unless commits wait for it.");
        }
    }

    private static void AtLimits(PostgresCondition server, Findings found, int needed)
    {
        const string Vacuum = "See why autovacuum does not freeze: old transactions, prepared ones, replication slots. "
            + "Then: VACUUM FREEZE";
        if (server.Age > TooOld)
            found.Problem($"the oldest transaction is {Age(server)} old: at 2 billion nothing is written", Vacuum);
        else if (server.Age > Old)
            found.Warn($"the oldest transaction is {Age(server)} old: at 2 billion nothing is written", Vacuum);
        if (server.FreeConnections <= 0)
            found.Problem("the server has no connection free", Connections(needed));
        else if (server.FreeConnections < needed)
            found.Warn($"the server has {server.FreeConnections} connections free, and a node opens up to {needed}",
                Connections(needed));
    }

    private static string Age(PostgresCondition server) => string.Create(
        CultureInfo.InvariantCulture, $"{server.Age:N0} transactions");

    private static string Connections(int needed) =>
        $"Raise max_connections, lower Maximum Pool Size in --store, or use a pooler. A node needs {needed}.";

    private static void AtRelease(PostgresCondition server, DateTimeOffset now, Findings found)
    {
        var end = new DateTimeOffset(FirstYear + server.Version.Major, November, Day, 0, 0, 0, TimeSpan.Zero);
        if (now > end)
            found.Warn($"PostgreSQL {server.Version.Major} is not mended any more since {end:yyyy-MM}",
                "Upgrade to a release that is.");
    }
}

/// <summary>The processes that serve the store, as its registry has them.</summary>
internal static class NodesCheck
{
    private static readonly TimeSpan ToWarn = TimeSpan.FromSeconds(2), Recent = TimeSpan.FromDays(1);

    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var nodes = (await at.ConditionAsync(ct)).Nodes;
        var live = nodes.Where(node => node.IsLive).ToList();
        var versions = live.Select(node => node.Version).Distinct().Order(StringComparer.Ordinal).ToList();
        if (versions.Count > 1)
        {
            found.Warn($"nodes of several versions run: {string.Join(", ", versions)}",
                "Upgrade the others: a new form is written only when all nodes can read it.");
        }

        foreach (var node in nodes.Where(node => !node.IsLive && at.Time.GetUtcNow() - node.Until < Recent))
        {
            found.Warn($"{node.Name} has not been seen since {UnixTime.Shown(node.Until.ToUnixTimeSeconds())}, and "
                + "did not stop by itself", "Start it again, or another one: the name is free.");
        }

        foreach (var node in live.Where(node => node.Ahead.Duration() > ToWarn))
        {
            found.Warn($"the clock of {node.Name} differs by {(long)node.Ahead.Duration().TotalSeconds} seconds from "
                + "the database's", "Set the clock of that machine right.");
        }

        if (found.AreOk)
            found.Ok($"{live.Count} run");
    }
}
