using System.Globalization;
using System.Net.Sockets;

namespace Coffer.Hosting;

/// <summary>
/// What systemd learns of the server, by its protocol (sd_notify(3)): a datagram when it answers, while it reads its
/// certificate again, when it stops; and, as often as the unit's <c>WatchdogSec</c> asks for, that it lives.
/// </summary>
/// <remarks>
/// It lives as long as its threads run what is due and all that it does beside requests is still being done. It is not
/// asked whether it is ready: a database that is away is not cured by ending those who wait for it.
/// </remarks>
internal sealed class ServiceManager : IDisposable
{
    private const string SocketVariable = "NOTIFY_SOCKET", PidVariable = "WATCHDOG_PID", Timed = "WATCHDOG_USEC";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly Socket socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
    private readonly TimeProvider time;
    private readonly TimeSpan? silent;
    private Loop? feeding;

    /// <param name="address">A path, or a name after <c>@</c> that is no path.</param>
    /// <param name="watchdog">How long it may be silent; null is as long as it likes.</param>
    /// <param name="time">When it speaks.</param>
    /// <exception cref="SocketException">Nobody is there.</exception>
    public ServiceManager(string address, TimeSpan? watchdog, TimeProvider time)
    {
        (silent, this.time) = (watchdog, time);
        socket.SendTimeout = (int)Patience.TotalMilliseconds;
        socket.Connect(new UnixDomainSocketEndPoint(address[0] == '@' ? $"\0{address.AsSpan(1)}" : address));
    }

    /// <summary>
    /// The one that the environment names, or null. Its variables are taken out: they are meant for this process, and
    /// for none that it starts.
    /// </summary>
    public static ServiceManager? OfEnvironment(TimeProvider time)
    {
        var (address, pid, timed) = (Take(SocketVariable), Take(PidVariable), Take(Timed));
        if (address is not ['/' or '@', _, ..])
            return null;
        var isMeant = pid is null || pid == Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        var watchdog = isMeant && long.TryParse(timed, NumberStyles.None, CultureInfo.InvariantCulture, out var micros)
            && micros > 0 ? TimeSpan.FromMicroseconds(micros) : (TimeSpan?)null;
        try
        {
            return new ServiceManager(address, watchdog, time);
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            return null; // nobody is there, and nobody waits
        }
    }

    /// <summary>Requests are answered.</summary>
    /// <param name="status">A line for people.</param>
    public void Ready(string status) => Send($"READY=1\nSTATUS={VisibleText.Of(status)}");

    /// <summary>Something is read again; <see cref="Ready"/> says that it is over.</summary>
    public void Reloading() => Send(string.Create(CultureInfo.InvariantCulture,
        $"RELOADING=1\nMONOTONIC_USEC={time.GetTimestamp() / (time.TimestampFrequency / 1_000_000)}"));

    /// <summary>It is about to stop.</summary>
    public void Stopping() => Send("STOPPING=1\nSTATUS=It stops");

    /// <summary>From now on it says that it lives, twice in the time that it may be silent.</summary>
    /// <param name="ended">What is not done any more although it should be, by a fault of Coffer; null is well.</param>
    /// <param name="log">Told once when that is so.</param>
    public void Watch(Func<string?> ended, ILogger log)
    {
        if (silent is not { } most)
            return;
        var isSaid = false;
        feeding = new Loop("watchdog", _ =>
        {
            if (ended() is not { } what)
                Send("WATCHDOG=1");
            else if (!isSaid)
            {
                isSaid = true;
                log.LogCritical("The loop {Loop} has ended by a fault of Coffer: the service manager is no longer told "
                    + "that this server lives, and restarts it", what);
            }

            return Task.FromResult(most / 2);
        }, time, log);
        feeding.Start();
    }

    public void Dispose()
    {
        feeding?.Dispose();
        socket.Dispose();
    }

    private void Send(string state)
    {
        try
        {
            socket.Send(System.Text.Encoding.UTF8.GetBytes(state));
        }
        catch (SocketException)
        {
            // Who does not listen is not told; that a server serves does not hang on it.
        }
    }

    private static string? Take(string variable)
    {
        var value = Environment.GetEnvironmentVariable(variable);
        Environment.SetEnvironmentVariable(variable, null);
        return value;
    }
}
