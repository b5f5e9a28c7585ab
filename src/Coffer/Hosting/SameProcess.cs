using System.Runtime.InteropServices;
using System.Text;

namespace Coffer.Hosting;

/// <summary>
/// The program as the system has begun it: its arguments to the byte, its standard streams, and how it begins again as
/// the same process where the runtime was begun with what it cannot mend by itself.
/// </summary>
internal static class SameProcess
{
    private const int GetFlags = 1, CloseOnExec = 1, GetStatus = 3, AccessMode = 3, WriteOnly = 1;
    private const int Read = 0, Write = 1;

    /// <summary>
    /// Where a standard stream was closed by whoever began the program, the runtime has opened something of its own
    /// under its number, and would read and write that. So the program begins again, with streams whose every use is an
    /// error. It returns where nothing is to be done or can be.
    /// </summary>
    public static void OpenStreams()
    {
        if (!OperatingSystem.IsLinux())
            return;
        int[] closed = [.. Enumerable.Range(0, 3).Where(IsClosed)];
        if (closed.Length == 0)
            return;
        try
        {
            BeginAgain(Words(), [], closed);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Without /proc the streams stay as they are.
        }
    }

    /// <summary>Whether standard input was closed when the program began, or cannot be read.</summary>
    public static bool IsInputClosed =>
        OperatingSystem.IsLinux() && (Control(0, GetStatus, 0) is var status && (status & AccessMode) == WriteOnly);

    /// <summary>
    /// The number of the first argument that is not UTF-8, from 1; null if all are. The runtime has put other
    /// characters in its place: two that differ would be one.
    /// </summary>
    public static int? FirstForeign(string[] args)
    {
        if (!args.Any(each => each.Contains('\uFFFD', StringComparison.Ordinal)))
            return null;
        if (!OperatingSystem.IsLinux()) // what was written is not known
            return Array.FindIndex(args, each => each.Contains('\uFFFD', StringComparison.Ordinal)) + 1;
        var words = Words();
        var foreign = words.FindIndex(Math.Max(0, words.Count - args.Length), word => !IsText(word));
        return foreign < 0 ? null : foreign - (words.Count - args.Length) + 1;
    }

    /// <summary>The program and its arguments, each with the zero that ends it.</summary>
    public static List<byte[]> Words() => Split("/proc/self/cmdline");

    /// <summary>
    /// Begins the program again: the same process, the same open files. It returns only if it cannot be done.
    /// </summary>
    /// <param name="words">The program and its arguments, each with the zero that ends it.</param>
    /// <param name="variables">What its environment has beside what this one was given.</param>
    /// <param name="closed">The standard streams whose every use is to be an error.</param>
    public static void BeginAgain(IReadOnlyList<byte[]> words, IReadOnlyList<(string Name, string Value)> variables,
        params int[] closed)
    {
        if (Environment.ProcessPath is not { } program)
            return;
        // Not by setenv: whatever thread reads the environment of the process meanwhile would read what it has freed.
        var environment = Split("/proc/self/environ");
        foreach (var (name, value) in variables)
        {
            environment.RemoveAll(each => each.AsSpan().StartsWith(Encoding.UTF8.GetBytes($"{name}=")));
            environment.Add(Encoding.UTF8.GetBytes($"{name}={value}\0"));
        }

        var held = new List<GCHandle>();
        try
        {
            nint[] arguments = Addresses(words), all = Addresses(environment);
            // Last of all: what the runtime had opened under these numbers may be its source of random numbers, which
            // it would read for ever where it ends.
            if (closed.All(MakeUseless))
                _ = Execute(program, arguments, all);
        }
        finally
        {
            foreach (var word in held)
                word.Free();
        }

        nint[] Addresses(IReadOnlyList<byte[]> list)
        {
            var pinned = list.Select(word => GCHandle.Alloc(word, GCHandleType.Pinned)).ToList();
            held.AddRange(pinned);
            return [.. pinned.Select(word => word.AddrOfPinnedObject()), 0];
        }
    }

    private static bool MakeUseless(int stream)
    {
        var stand = Open("/dev/null", stream == 0 ? Write : Read); // the other way round than it is used
        return stand >= 0 && (stand == stream || Duplicate(stand, stream) >= 0);
    }

    private static List<byte[]> Split(string file)
    {
        var text = File.ReadAllBytes(file);
        var parts = new List<byte[]>();
        for (var at = 0; at < text.Length; at += parts[^1].Length)
            parts.Add(text[at..(Array.IndexOf(text, (byte)0, at) + 1)]);
        return parts;
    }

    private static bool IsText(byte[] word)
    {
        try
        {
            _ = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true).GetCharCount(word);
            return true;
        }
        catch (DecoderFallbackException)
        {
            return false;
        }
    }

    // What the runtime opens is closed at the begin of another program. What it was given never is: it would not be
    // here.
    private static bool IsClosed(int stream) => Control(stream, GetFlags, 0) is var flags
        && (flags < 0 || (flags & CloseOnExec) != 0);

    [DllImport("libc", EntryPoint = "open", CharSet = CharSet.Ansi, BestFitMapping = false,
        ThrowOnUnmappableChar = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

    [DllImport("libc", EntryPoint = "dup2")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Duplicate(int from, int to);

    [DllImport("libc", EntryPoint = "fcntl")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Control(int descriptor, int command, nint value);

    [DllImport("libc", EntryPoint = "execve")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Execute([MarshalAs(UnmanagedType.LPUTF8Str)] string program, nint[] arguments,
        nint[] environment);
}
