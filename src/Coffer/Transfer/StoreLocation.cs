
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Storage.Postgres;

namespace Coffer.Transfer;

/// <summary>
/// Where a store is: in a data directory, or in a database, with its key file and checkpoints in a data directory.
/// </summary>
/// <param name="Data">The data directory.</param>
/// <param name="Store">
/// The database, as an Npgsql connection string; null is the directory. It may hold a password: only <see
/// cref="Shown"/> is ever shown.
/// </param>
/// <param name="Keys">What wraps its root keys; null is the key file in the data directory.</param>
internal readonly record struct StoreLocation(string Data, string? Store, KeySettings? Keys = null)
{
    public static implicit operator StoreLocation(string data) => new(data, null);

    /// <summary>What wraps its root keys, given where its key file would be.</summary>
    public KeySettings KeysOr(string keyFile) => (Keys ?? new KeySettings([])).Or(keyFile);

    /// <summary>What wraps its root keys, made ready: without settings, the key file in the data directory.</summary>
    /// <exception cref="ConfigurationException">None can be made ready.</exception>
    public KeyWrappers OpenWrappers() => KeyWrappers.Open(KeysOr(DataDirectory.FilesOf(Data).Key));

    /// <summary>In words that may be shown.</summary>
    public string Shown => Store is null ? Data : PostgresAddress.Parse(Store)?.Shown ?? "a database";

    public override string ToString() => Shown;
}
