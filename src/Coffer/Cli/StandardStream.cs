using System.Runtime.InteropServices;
using System.Text;
using Coffer.Hosting;

namespace Coffer.Cli;

/// <summary>
/// Standard output and standard error, past the framework's own, which ignore that nobody reads them any more. What
/// standard output cannot take is an error, for it is the answer. What standard error cannot take is lost: it must not
/// change how the program ends. On Windows they are the framework's.
/// </summary>
internal sealed class StandardStream : Stream
{
    private const int TryAgain = 11, TryAgainOnMacOS = 35, NoReader = 32;
    private const int LargestWrite = 1 << 20;

    private readonly int descriptor;
    private readonly Func<int, bool> isIgnored;

    /// <param name="descriptor">Its number.</param>
    /// <param name="isIgnored">Which of the system's errors are no error here.</param>
    private StandardStream(int descriptor, Func<int, bool> isIgnored) =>
        (this.descriptor, this.isIgnored) = (descriptor, isIgnored);

    /// <summary>
    /// Exactly what is written to it goes to standard output, at once; that nobody reads it is an error too.
    /// </summary>
    public static Stream Output { get; } = OperatingSystem.IsWindows()
        ? Console.OpenStandardOutput()
        : new StandardStream(1, static _ => false);

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Has <see cref="Console"/> use them.</summary>
    public static void Use()
    {
        if (OperatingSystem.IsWindows())
            return;
        // Of a table or a help text, who reads no further has read enough.
        Console.SetOut(Writer(new StandardStream(1, static error => error == NoReader), Console.Out.Encoding));
        Console.SetError(Writer(new StandardStream(2, static _ => true), Console.Error.Encoding));
    }

    /// <summary>Standard input, to be read to its end.</summary>
    /// <exception cref="StandardStreamException">It was closed when the program began.</exception>
    public static Stream OpenInput() => SameProcess.IsInputClosed
        ? throw new StandardStreamException("standard input is closed", "Give what is read there by a pipe or a file.")
        : Console.OpenStandardInput();

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (buffer.Length > 0)
        {
            var written = Write(descriptor, in MemoryMarshal.GetReference(buffer),
                Math.Min(buffer.Length, LargestWrite));
            if (written >= 0)
                buffer = buffer[(int)written..];
            else if (Marshal.GetLastPInvokeError() is TryAgain or TryAgainOnMacOS)
                WaitForRoom(); // it was set not to block
            else if (Marshal.GetLastPInvokeError() != SystemError.Interrupted)
            {
                if (isIgnored(Marshal.GetLastPInvokeError()))
                    return;
                throw new StandardStreamException(
                    $"standard output cannot be written: {Marshal.GetLastPInvokeErrorMessage()}",
                    "What was printed is not whole, and what was asked for may have been done.");
            }
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Write(buffer.Span);
        return ValueTask.CompletedTask;
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    private void WaitForRoom()
    {
        const short Writable = 4;
        const int WithoutEnd = -1;
        var waited = new Waited { Descriptor = descriptor, Events = Writable };
        _ = Poll(ref waited, 1, WithoutEnd);
    }

    // The console's own encoding marks no beginning.
    private static StreamWriter Writer(Stream stream, Encoding encoding) => new(stream, encoding) { AutoFlush = true };

    [DllImport("libc", EntryPoint = "write", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern nint Write(int descriptor, in byte buffer, nint count);

    [DllImport("libc", EntryPoint = "poll")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Poll(ref Waited waited, nuint count, int milliseconds);

    [StructLayout(LayoutKind.Sequential)]
    private struct Waited
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }
}

/// <summary>A standard stream cannot be used; the command line ends with exit code 74.</summary>
/// <param name="message">What is wrong, in lower case and without a full stop.</param>
/// <param name="hint">What to do, as whole sentences.</param>
internal sealed class StandardStreamException(string message, string hint) : IOException(message)
{
    public string Hint { get; } = hint;
}
