using System.Diagnostics;
using Coffer.Hosting;

namespace Coffer.Tests.Logs;

/// <summary>Who does not read the log is not waited for, and what it lacks is counted.</summary>
[Trait("Firm edges", "2")]
[Trait("Telemetry", "2")]
public sealed class LogOutputTests
{
    private static readonly byte[] Line = [.. Enumerable.Repeat((byte)'x', 1_023), (byte)'\n'];

    [Fact]
    public void Lines_that_do_not_fit_are_counted_and_those_about_requests_leave_room_for_the_others()
    {
        const int Room = LogOutput.Most / 1_024, OfRequests = LogOutput.MostOfRequests / 1_024;
        using var gate = new Gate();
        using (var output = new LogOutput(gate, count => "left out "u8.ToArray().Concat(Number(count)).ToArray()))
        {
            output.Write("first\n"u8, isOfRequest: false);
            Assert.True(gate.Reached.Wait(TimeSpan.FromSeconds(20))); // and from there nothing is read
            for (var count = 0; count < Room; count++)
                output.Write(Line, isOfRequest: true);
            for (var count = 0; count < Room; count++)
                output.Write("y\n"u8, isOfRequest: false);
            gate.Open.Set();
        }

        var lines = gate.Lines;
        Assert.Equal("first", lines[0]);
        Assert.Equal(OfRequests, lines.Count(line => line[0] == 'x'));
        Assert.Equal(Room, lines.Count(line => line == "y"));
        // Once there is room again, before the first line that fits or at the end.
        Assert.Equal([$"left out {Room - OfRequests}"], lines.Where(line => line.StartsWith('l')));
    }

    [Fact]
    public void An_end_does_not_wait_for_who_does_not_read()
    {
        using var gate = new Gate();
        var output = new LogOutput(gate, static _ => []);
        output.Write(Line, isOfRequest: false);
        Assert.True(gate.Reached.Wait(TimeSpan.FromSeconds(20)));
        var began = Stopwatch.GetTimestamp();
        output.Dispose();
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0.5, 10);
        gate.Open.Set();
    }

    private static byte[] Number(long count) => System.Text.Encoding.ASCII.GetBytes($"{count}\n");

    /// <summary>Nothing passes until it is open.</summary>
    private sealed class Gate : WrittenLog
    {
        public ManualResetEventSlim Reached { get; } = new();

        public ManualResetEventSlim Open { get; } = new();

        public override void Write(byte[] buffer, int offset, int count)
        {
            Reached.Set();
            Open.Wait();
            base.Write(buffer, offset, count);
        }

        protected override void Dispose(bool disposing)
        {
            Reached.Dispose();
            Open.Dispose();
            base.Dispose(disposing);
        }
    }
}
