using System.Security.Cryptography;

namespace Coffer.Micro;

/// <summary>The plain way: pinned memory of its own, which is cleared.</summary>
internal sealed class OwnMemory(int length) : IDisposable
{
    private readonly byte[] bytes = GC.AllocateArray<byte>(length, pinned: true);

#pragma warning disable MA0055 // What it is compared with has one too.
    ~OwnMemory() => CryptographicOperations.ZeroMemory(bytes);
#pragma warning restore MA0055

    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(bytes);
        GC.SuppressFinalize(this);
    }
}
