using System.Globalization;
using System.Runtime.InteropServices;

namespace Coffer.Cli;

/// <summary>
/// What the system tells a server: to stop, by SIGTERM or at a terminal; at once, by a second one; and by SIGHUP to
/// read again what can change, or to stop where nothing can.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    private readonly CancellationTokenSource stop = new(), hurry = new();
    private readonly List<PosixSignalRegistration> registered = [];
    private readonly bool reloads;
    private Action reload = static () => { };

    /// <param name="reloads">Whether SIGHUP is to read again what can change; else it stops.</param>
    public StopSignals(bool reloads)
    {
        this.reloads = reloads;
        foreach (var signal in (PosixSignal[])[
            PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGQUIT, PosixSignal.SIGHUP])
        {
            // As nohup has it: what is started so is to outlive its terminal.
            if (signal != PosixSignal.SIGHUP || reloads || !IsHangupIgnored())
                registered.Add(PosixSignalRegistration.Create(signal, Receive));
        }
    }

    /// <summary>The server is to stop.</summary>
    public CancellationToken Stop => stop.Token;

    /// <summary>It was said twice: nothing is waited for any more.</summary>
    public CancellationToken Hurry => hurry.Token;

    /// <summary>Whether it was SIGTERM that said so: others may be in front, and turn to another node.</summary>
    public bool IsDraining { get; private set; }

    /// <summary>What SIGHUP does from now on.</summary>
    public void OnReload(Action action) => Volatile.Write(ref reload, action);

    public void Dispose()
    {
        foreach (var each in registered)
            each.Dispose();
        stop.Dispose();
        hurry.Dispose();
    }

    private void Receive(PosixSignalContext context)
    {
        context.Cancel = true; // of what the system would do
        if (context.Signal == PosixSignal.SIGHUP && reloads)
        {
            Volatile.Read(ref reload)();
        }
        else if (stop.IsCancellationRequested)
        {
            hurry.Cancel();
        }
        else
        {
            IsDraining = context.Signal == PosixSignal.SIGTERM;
            stop.Cancel();
        }
    }

    private static bool IsHangupIgnored()
    {
        const string Ignored = "SigIgn:", Status = "/proc/self/status";
        if (!File.Exists(Status))
            return false;
        var line = File.ReadLines(Status).FirstOrDefault(
            each => each.StartsWith(Ignored, StringComparison.Ordinal)) ?? Ignored;
        return ulong.TryParse(line.AsSpan(Ignored.Length).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture,
            out var signals) && (signals & 1) != 0;
    }
}
