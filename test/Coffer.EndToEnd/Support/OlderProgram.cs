namespace Coffer.EndToEnd;

/// <summary>
/// The program as it was at an earlier commit, built from the repository's own history. It is kept beside the tests'
/// own output, so that it is built once. Where the history is not there, as in a shallow clone, tests skip, or fail in
/// CI.
/// </summary>
internal static class OlderProgram
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(9);

    private static readonly SemaphoreSlim Building = new(1);

    /// <summary>
    /// The commit before nodes told each other in rows what they changed: the last one whose nodes tell it by NOTIFY
    /// alone.
    /// </summary>
    public const string BeforeCommitOrder = "f416416e87c4cb29fb6aac74ba27044031e222d7";

    /// <summary>The last one whose nodes hold their names by locks of their sessions.</summary>
    public const string BeforeLeases = "264ff3e04d80450a1a885db80db83958d4b1d438";

    public static async Task<string> BuiltAsync(string commit)
    {
        await Building.WaitAsync(TestContext.Current.CancellationToken);
        try
        {
            var kept = Path.Combine(AppContext.BaseDirectory, "older", commit);
            var program = Path.Combine(kept, "coffer");
            if (File.Exists(program))
                return program;
            var known = await Ran.ProgramAsync(Needs.OnPath("git"),
                ["-C", Needs.Repository, "cat-file", "-e", $"{commit}^{{commit}}"]);
            if (known.ExitCode != 0)
                Needs.Missing($"commit {commit} (git fetch --unshallow)");
            using var source = new TemporaryDirectory();
            var (archive, built) = (source.File("source.tar"), source.File("built"));
            (await Ran.ProgramAsync("git", ["-C", Needs.Repository, "archive", "-o", archive, commit])).EndedWith(0);
            (await Ran.ProgramAsync("tar", ["-x", "-f", archive, "-C", source.Path])).EndedWith(0);
            // What it says of code is that commit's matter; what it needs, the tests of that commit needed too.
            (await Ran.ProgramAsync("dotnet", [
                "build", source.File("src/Coffer"), "-c", "Release", "-o", built, "--nologo",
                "-v", "quiet", "-p:RunAnalyzers=false", "-p:NuGetAudit=false"], patience: Patience)).EndedWith(0);
            Directory.CreateDirectory(Path.GetDirectoryName(kept)!);
            (await Ran.ProgramAsync("cp", ["-a", built, kept + ".part"])).EndedWith(0);
            Directory.Move(kept + ".part", kept);
            return program;
        }
        finally
        {
            Building.Release();
        }
    }
}
