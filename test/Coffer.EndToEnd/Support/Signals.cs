using System.Runtime.InteropServices;

namespace Coffer.EndToEnd;

/// <summary>Signals to processes by their id.</summary>
internal static class Signals
{
    public const int Hup = 1, Int = 2, Kill = 9, Term = 15, Cont = 18, Stop = 19;

    /// <returns>0, or -1 if there is no such process.</returns>
    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    public static extern int Send(int pid, int signal);
}
