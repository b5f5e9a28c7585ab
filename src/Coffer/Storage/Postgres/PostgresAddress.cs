using System.Net;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>Where a PostgreSQL store is. It may hold a password: only <see cref="Shown"/> is ever shown.</summary>
internal sealed class PostgresAddress
{
    public const string Form = "Give it as Host=HOST;Port=5432;Database=NAME;Username=ROLE, and the password in it or "
        + "in a file that Passfile=FILE names.";

    private const int Connections = 20, Prepared = 100, SmallestBuffer = 4096;

    // What writes, what is a node, and what holds a start.
    private const int Kept = 3;

    private readonly NpgsqlConnectionStringBuilder given;
    private readonly string label;

    private PostgresAddress(NpgsqlConnectionStringBuilder given)
    {
        this.given = given;
        var own = new NpgsqlConnectionStringBuilder();
        label = given.ApplicationName is { Length: > 0 } named ? named : "coffer";
        given.ApplicationName = label;
        given.NoResetOnClose = true; // nothing is set on connections
        given.IncludeErrorDetail = false;
        given.Remove("Server Compatibility Mode"); // as below
        given.Multiplexing = false; // each transaction has a connection of its own
        SaysWhetherToPrepare = given.ShouldSerialize("Max Auto Prepare");
        if (!SaysWhetherToPrepare)
            given.MaxAutoPrepare = Prepared;
        given.AutoPrepareMinUsages = 2;
        given.ReadBufferSize = Math.Max(given.ReadBufferSize, SmallestBuffer);
        given.WriteBufferSize = Math.Max(given.WriteBufferSize, SmallestBuffer);
        if (given.MaxPoolSize == own.MaxPoolSize)
            given.MaxPoolSize = Connections;

        // A request waits for a batch that hangs and then for its own, and is still to be answered within 20 seconds.
        if (given.Timeout == own.Timeout)
            given.Timeout = 3;
        var isGiven = given.CommandTimeout != own.CommandTimeout && given.CommandTimeout != 0;
        Patience = TimeSpan.FromSeconds(isGiven ? given.CommandTimeout : 7);
        given.CommandTimeout = 0; // PostgresCall is what gives up
        if (given.HostRecheckSeconds == own.HostRecheckSeconds)
            given.HostRecheckSeconds = 1; // the standby that becomes the primary is seen as one at once
    }

    /// <summary>How long a statement may take, from the connection string's <c>Command Timeout</c>.</summary>
    public TimeSpan Patience { get; }

    /// <summary>Whether the connection string has a <c>Max Auto Prepare</c>: then that holds.</summary>
    public bool SaysWhetherToPrepare { get; }

    /// <summary>Whether statements are prepared, which what stands in between has to know about.</summary>
    public bool Prepares => given.MaxAutoPrepare > 0;

    /// <summary>Whether it or the environment names files of a client certificate or of an authority.</summary>
    public bool NamesCertificates => new[]
    {
        given.SslCertificate, given.SslKey, given.RootCertificate, Environment.GetEnvironmentVariable("PGSSLCERT"),
        Environment.GetEnvironmentVariable("PGSSLKEY"), Environment.GetEnvironmentVariable("PGSSLROOTCERT"),
    }.Any(file => !string.IsNullOrEmpty(file));

    /// <summary>The file that the password is in, or null.</summary>
    public string? Passfile => given.Passfile;

    /// <summary>How many connections a node opens at most: its pools, and those that it keeps for itself.</summary>
    public int MostConnections => Math.Max(given.MaxPoolSize, 3) + Kept;

    /// <summary>Whether the server is on this machine, reached by loopback or a socket.</summary>
    public bool IsHere => given.Host!.Split(',').All(host => host.StartsWith('/') || host.StartsWith('@')
        || host.Split(':')[0].Equals("localhost", StringComparison.OrdinalIgnoreCase)
        || (IPAddress.TryParse(host, out var address) || IPAddress.TryParse(host.Split(':')[0], out address))
            && IPAddress.IsLoopback(address));

    /// <summary>Which database, without who opens it.</summary>
    public string Shown => $"the database {given.Database ?? given.Username} at {given.Host}";

    /// <returns>
    /// Null if it is not a connection string, or names no host: what has a role or a setting in it is none, and would
    /// be shown.
    /// </returns>
    public static PostgresAddress? Parse(string store)
    {
        try
        {
            var parsed = new NpgsqlConnectionStringBuilder(store);
            var isHost = !string.IsNullOrWhiteSpace(parsed.Host) && parsed.Host.AsSpan().IndexOfAny("@=\"'") < 0;
            return isHost ? new PostgresAddress(parsed) : null;
        }
        catch (Exception e) when (e is ArgumentException or FormatException or InvalidCastException
            or OverflowException or KeyNotFoundException)
        {
            return null; // what it says may quote the password
        }
    }

    /// <summary>
    /// The schema of the store, quoted, where each transaction has to say it; null where connections do.
    /// </summary>
    public string? Schema { get; private set; }

    /// <summary>
    /// Keeps to a schema from now on, whatever is set for the role or made beside it later. A pooler does not pass it
    /// on for a connection.
    /// </summary>
    /// <param name="schema">Its name, quoted.</param>
    /// <param name="isPooled">Whether sessions are shared.</param>
    public void Pin(string schema, bool isPooled)
    {
        if (isPooled)
            Schema = schema;
        else
            given.SearchPath = schema;
    }

    /// <summary>Names a node in <c>application_name</c>, in connections that are opened from now on.</summary>
    public void Call(string node) => given.ApplicationName = $"{label} {node}";

    /// <summary>From now on, in connections that are opened.</summary>
    public void PrepareNothing() => given.MaxAutoPrepare = 0;

    /// <summary>
    /// How many statements each of the two look-ups may have under way: a quarter of the connections.
    /// </summary>
    public int StatementsOfALookup => Math.Max(given.MaxPoolSize / 4, 1);

    /// <summary>
    /// Connections that are used for a statement and given back, as many as the connection string's <c>Maximum Pool
    /// Size</c> says; 3 at least.
    /// </summary>
    public PostgresPools Pools()
    {
        var shared = 2 * StatementsOfALookup;
        var others = Math.Max(given.MaxPoolSize - shared, 1);
        return new PostgresPools(
            Build(isPool: true, shared, fewest: 0), Build(isPool: true, others, Math.Min(given.MinPoolSize, others)));
    }

    /// <summary>Connections that are kept by their opener.</summary>
    public NpgsqlDataSource Lasting() => Build(isPool: false, 1, 0);

    // Of several hosts, the one that is the primary: after a failover it is another.
    private NpgsqlDataSource Build(bool isPool, int most, int fewest)
    {
        var builder = new NpgsqlDataSourceBuilder(new NpgsqlConnectionStringBuilder(given.ConnectionString)
        {
            Pooling = isPool,
            MaxPoolSize = most,
            MinPoolSize = fewest,
            TargetSessionAttributes = null,
        }.ConnectionString);
        builder.ConfigureTypeLoading(static types => types.EnableTypeLoading(false)); // PostgreSQL's own are enough
        return given.Host!.Contains(',', StringComparison.Ordinal)
            ? builder.BuildMultiHost().WithTargetSession(TargetSessionAttributes.Primary)
            : builder.Build();
    }
}

/// <summary>Connections that are lent for a statement.</summary>
/// <param name="ByKey">For the look-ups that requests share.</param>
/// <param name="Others">For all other reads.</param>
internal sealed record PostgresPools(NpgsqlDataSource ByKey, NpgsqlDataSource Others) : IDisposable
{
    /// <summary>Closes what is idle now, and what is lent when it comes back.</summary>
    public void Clear()
    {
        ByKey.Clear();
        Others.Clear();
    }

    public void Dispose()
    {
        ByKey.Dispose();
        Others.Dispose();
    }
}
