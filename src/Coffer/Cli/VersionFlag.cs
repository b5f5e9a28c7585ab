using System.CommandLine;
using System.CommandLine.Invocation;
using Coffer.Hosting;

namespace Coffer.Cli;

/// <summary><c>coffer --version</c>: what to name in a question or a report, a line each. It needs no server.</summary>
internal sealed class VersionFlag : SynchronousCommandLineAction
{
    /// <summary>Takes the place of what the library prints.</summary>
    public static void Replace(Command root) =>
        root.Options.OfType<VersionOption>().Single().Action = new VersionFlag();

    /// <summary>Whatever else the command line says, it is shown.</summary>
    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        Console.WriteLine($"coffer {Product.Version}");
        Console.WriteLine($"commit {Product.Commit ?? "unknown"}");
        Console.WriteLine($"SQLite {OwnSqlite.Release}");
        Console.WriteLine($".NET {Product.Runtime}");
        if (Product.IsNative)
            Console.WriteLine($"native, without {string.Join(' ', Product.Lacks)}");
        return ExitCode.Ok;
    }
}
