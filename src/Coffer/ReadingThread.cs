using System.Runtime.CompilerServices;

namespace Coffer;

/// <summary>
/// The threads that read from sockets. Those of a server with an embedded store answer by themselves what takes
/// microseconds: a find goes from one thread to no other. What may take longer, or blocks, leaves them first: while one
/// is busy, its other connections wait.
/// </summary>
internal static class ReadingThread
{
    /// <summary>The runtime's own switch, which whoever starts the program may set to 0.</summary>
    private const string Variable = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";

    /// <summary>Whether it answers: the server's own scheduling is to be as the runtime's.</summary>
    public static bool Answers => Environment.GetEnvironmentVariable(Variable) == "1";

    /// <summary>
    /// Has it answer, unless whoever started the program decided that. The runtime looks at it once: call before there
    /// is any socket. Not for a store behind a network, where an answer waits for another socket.
    /// </summary>
    public static void Use()
    {
        if (Environment.GetEnvironmentVariable(Variable) is null)
            Environment.SetEnvironmentVariable(Variable, "1");
    }

    /// <summary>Continues on a thread of the pool: at once where this is one.</summary>
    public static ConfiguredTaskAwaitable LeaveAsync() => Task.CompletedTask.ConfigureAwait(
        Thread.CurrentThread.IsThreadPoolThread ? ConfigureAwaitOptions.None : ConfigureAwaitOptions.ForceYielding);
}
