using System.Collections.Concurrent;

namespace Coffer.EndToEnd;

/// <summary>
/// Clients of one server, one for each account that is asked for. The empty one is the app's own, which no header
/// names.
/// </summary>
public sealed class AccountClients(Uri url, string key) : IDisposable
{
    private readonly ConcurrentDictionary<string, WireClient> clients = new(StringComparer.Ordinal);

    public WireClient this[string account] =>
        clients.GetOrAdd(account, _ => new WireClient(url, key, account.Length == 0 ? null : account));

    public void Dispose()
    {
        foreach (var client in clients.Values)
            client.Dispose();
    }
}
