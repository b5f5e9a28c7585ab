using Coffer.Hosting;

namespace Coffer.Tests.Keys;

/// <summary>People who keep the recovery shares of a server's store.</summary>
internal static class Shareholders
{
    public const string Path = "/admin/v1/root_keys/shares";

    /// <summary>Has shares made, as the command does it: the server is given the public half.</summary>
    public static async Task<Recovery.Made> CreateAsync(TestServer server, int threshold, int count)
    {
        var shown = (await server.Admin.Get(Path)).IsOk().Json;
        var made = Recovery.Make((string)shown["store"]!, (string)shown["anchor"]!, threshold, count);
        (await server.Admin.Post(Path, [("shares", made.Stored)])).IsOk();
        return made;
    }

    /// <summary>Gives some of them, by their places.</summary>
    public static Func<ShareGathering, CancellationToken, Task> Giving(Recovery.Made made, params int[] which) =>
        (gathering, _) =>
        {
            foreach (var share in which)
                gathering.Add(made.Shares[share].Span);
            return Task.CompletedTask;
        };
}
