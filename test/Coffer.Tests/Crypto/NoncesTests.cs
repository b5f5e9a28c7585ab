using System.Collections.Concurrent;
using Coffer.Crypto;

namespace Coffer.Tests.Crypto;

public sealed class NoncesTests
{
    [Fact]
    public void None_is_given_out_twice_whichever_thread_asks_and_however_many_blocks_are_drawn()
    {
        var given = new ConcurrentBag<string>();
        var threads = Enumerable.Range(0, 4).Select(_ => new Thread(() =>
        {
            var nonce = new byte[Xaes256Gcm.NonceSize];
            for (var i = 0; i < 10 * Nonces.Ahead + 1; i++)
            {
                Array.Clear(nonce);
                Nonces.Next(nonce);
                given.Add(Convert.ToHexString(nonce));
            }
        })).ToList();
        threads.ForEach(static thread => thread.Start());
        threads.ForEach(static thread => thread.Join());

        Assert.Equal(threads.Count * (10 * Nonces.Ahead + 1), given.Distinct().Count());
        // Each half by itself, too: neither is a counter, nor left as it was.
        Assert.Equal(given.Count, given.Select(static nonce => nonce[..24]).Distinct().Count());
        Assert.Equal(given.Count, given.Select(static nonce => nonce[24..]).Distinct().Count());
    }
}
