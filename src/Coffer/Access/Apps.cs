using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>Third-party programs that keep secrets here. Apps never see each other's.</summary>
internal static class Apps
{
    /// <summary>An app with an account of its own, in which it acts when no header names another.</summary>
    public static AppRow Create(string name, long now) => new(Id("app_"), name, Id("acct_"), now);

    private static string Id(string prefix) => prefix + RandomNumberGenerator.GetString(Base62.Alphabet, 16);
}
