
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>How one node is doing: what it runs on, under which name, and since when.</summary>
internal sealed class NodeStatus(Engine engine, TimeProvider time)
{
    private readonly long start = time.GetTimestamp();

    /// <summary>The kind of database: <c>sqlite</c> or <c>postgresql</c>.</summary>
    public string Engine => engine.Name;

    /// <summary>Whether the database is reached directly or through a pooler; null of an embedded store.</summary>
    public string? Connections => engine.Connections?.Way;

    /// <summary>Whether statements are prepared; null of an embedded store.</summary>
    public string? Statements => engine.Connections?.Statements.Replace(' ', '_');

    /// <summary>The node's name, whose audit chain it writes: <c>node_1</c>.</summary>
    public string Node => engine.Node;

    /// <summary>When it started, in Unix seconds.</summary>
    public long Started { get; } = time.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>Whole seconds since then. A clock that is set does not change it.</summary>
    public long Uptime => (long)time.GetElapsedTime(start).TotalSeconds;

    /// <summary>The release of SQLite, or of the PostgreSQL server.</summary>
    /// <exception cref="ApiError">503: the database does not answer.</exception>
    public ValueTask<string> FindEngineReleaseAsync(CancellationToken ct) => engine.FindReleaseAsync(ct);
}
