using System.Text.Json;

namespace Coffer.Client;

/// <summary>
/// A client of the management plane of one Coffer server, <c>/admin/v1</c>: apps, keys, accounts, the audit log. Safe
/// for use from several threads at once. It tries again as <see cref="CofferClient"/> does, and every POST carries an
/// idempotency key. Answers are the JSON of the API, whose paths and fields are in docs/management.md.
/// </summary>
/// <param name="url">Where the management plane is, such as <c>http://127.0.0.1:26333</c>.</param>
/// <param name="adminKey">An admin key, <c>ak_…</c>.</param>
/// <param name="time">For the waits between retries; null is the system's clock.</param>
/// <param name="connection">A proxy, or whose certificates are trusted; null is neither.</param>
/// <remarks>
/// Every path is relative to <c>/admin/v1/</c>, such as <c>apps/app_1</c>. One that has more than letters, digits,
/// <c>_</c>, <c>-</c> and single slashes between them is an <see cref="ArgumentException"/>, so that no id can lead
/// elsewhere. Fields without a value are left out; an empty one takes a setting back. An array is its name with
/// <c>[]</c>, once for each element. A refusal, an answer that never came, and one that is not what was asked for (it
/// says another <c>object</c> or <c>id</c>, or lacks a field) is a <see cref="CofferException"/>; what is not there has
/// <see cref="CofferException.IsAbsent"/>.
/// </remarks>
public sealed class CofferAdmin(
    Uri url, string adminKey, TimeProvider? time = null, CofferConnection? connection = null) : IDisposable
{
    private readonly Transport transport = new(url, adminKey, account: null, time, connection);

    /// <summary>One thing: a GET.</summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public Task<JsonElement> FindAsync(string path, CancellationToken ct = default) =>
        SendAsync(HttpMethod.Get, path, [], ct);

    /// <summary>
    /// All elements of a list or a search, in its order, fetched page by page as they are read: GETs.
    /// </summary>
    /// <param name="path">Of the list.</param>
    /// <param name="fields">
    /// What narrows it. <c>limit</c> is the size of a page, 1 to 100, and 100 if it is not among them.
    /// </param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public IAsyncEnumerable<JsonElement> ListAsync(string path,
        IEnumerable<(string Name, string? Value)>? fields = null, CancellationToken ct = default) =>
        ListAsync(HttpMethod.Get, path, fields ?? [], ct);

    /// <summary>
    /// All secrets of an account in one mode, with their payloads, fetched page by page as they are read. Each is
    /// recorded in the audit log.
    /// </summary>
    /// <param name="app"><c>app_…</c></param>
    /// <param name="account"><c>acct_…</c></param>
    /// <param name="reason">The reason, for the audit log: 1 to 500 characters.</param>
    /// <param name="livemode">Which mode.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public IAsyncEnumerable<JsonElement> ExportAsync(string app, string account, string reason, bool livemode,
        CancellationToken ct = default) =>
        ListAsync(HttpMethod.Post, $"apps/{app}/accounts/{account}/export",
            [("reason", reason), ("livemode", livemode ? "true" : "false")], ct);

    /// <summary>
    /// Makes or changes something and gives it as it is then: a POST. A key or signing secret in the answer is not
    /// given again.
    /// </summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public Task<JsonElement> ChangeAsync(string path, IEnumerable<(string Name, string? Value)>? fields = null,
        CancellationToken ct = default) =>
        SendAsync(HttpMethod.Post, path, fields ?? [], ct);

    /// <summary>
    /// Deletes something and gives what it was: a DELETE. If the connection breaks it is tried again, and may then be
    /// absent because it was deleted.
    /// </summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public Task<JsonElement> DeleteAsync(string path, CancellationToken ct = default) =>
        SendAsync(HttpMethod.Delete, path, [], ct);

    /// <inheritdoc/>
    public void Dispose() => transport.Dispose();

    private Task<JsonElement> SendAsync(HttpMethod method, string path,
        IEnumerable<(string Name, string? Value)> fields, CancellationToken ct) =>
        transport.SendAsync(method, Path(path), fields, AdminAnswers.Of(method, path), ct);

    private IAsyncEnumerable<JsonElement> ListAsync(HttpMethod method, string path,
        IEnumerable<(string Name, string? Value)> fields, CancellationToken ct) =>
        transport.ListAsync(method, Path(path), fields, AdminAnswers.Of(method, path), ct);

    private static string Path(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return $"admin/v1/{string.Join('/', path.Split('/').Select(Transport.Id))}";
    }
}
