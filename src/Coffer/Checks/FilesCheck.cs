using Coffer.Keys;
using Coffer.Storage;
using Coffer.Storage.Postgres;

namespace Coffer.Checks;

/// <summary>The files of an installation: that they are there, and are nobody else's.</summary>
internal static class FilesCheck
{
    private const UnixFileMode ByOthers = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

    public static Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        at.RequireData();
        var by = UsersOf(at);
        if (!Directory.Exists(at.Data))
        {
            found.Warn($"the data directory {at.Data} is not there",
                "The first start creates it. If there was one, check --data.");
        }
        else
        {
            Look(at.Data, "700", by, found);
            foreach (var file in DataDirectory.StoreFilesOf(at.Data).Where(File.Exists))
                Look(file, "600", by, found);
        }

        // Written by a server; to be read by others they may be, but what others write there proves nothing.
        foreach (var file in ((string[])[at.AnchorFile, at.CheckpointFile]).Where(File.Exists))
            LookWhoWrites(file, by, found);
        foreach (var url in at.Keys.Urls.Where(url => url.File is not null))
            LookAtKey(url, by, found);
        foreach (var file in ((string?[])[at.Options.RootKey.VaultTokenFile, at.Options.RootKey.VaultSecretFile,
            at.Options.Store is { } store ? PostgresAddress.Parse(store)?.Passfile : null]).OfType<string>())
            LookAtCredential(file, by, found);
        LookAtOwners(at, found);
        if (found.AreOk)
            found.Ok($"{at.Data} and what belongs to it is there, and is its owner's alone");
        return Task.CompletedTask;
    }

    // Root looks for the server, whose files these are.
    private static FileRule.Users? UsersOf(Installation at)
    {
        if (OperatingSystem.IsWindows())
            return null;
        var own = FileRule.Users.OfThisProcess;
        if (own.User != 0 || !File.Exists(at.StoreFile))
            return own;
        var (store, directory) = (FileStatus.FactsOf(at.StoreFile), FileStatus.FactsOf(at.Data));
        return new FileRule.Users(store.Owner, [.. own.Groups, store.Group, directory.Group]);
    }

    private static void Look(string path, string wanted, FileRule.Users? by, Findings found)
    {
        if (JudgeOf(path, by, isSecret: false) is not var (facts, verdict))
            return;
        if (verdict == FileRule.Verdict.ToClose
            || (verdict == FileRule.Verdict.Refused && PrivateFiles.IsWarnedOf(facts, Directory.Exists(path))))
        {
            found.Warn($"{path} can be used by others (mode {facts.Octal})",
                $"Run: chmod {wanted} {path}. A start does so too where it is its own.");
        }
    }

    // Null where there are no modes to go by.
    private static (FileRule.Facts Facts, FileRule.Verdict Verdict)? JudgeOf(
        string path, FileRule.Users? by, bool isSecret)
    {
        if (by is null || OperatingSystem.IsWindows())
            return null;
        var facts = FileStatus.FactsOf(path);
        return (facts, FileRule.Judge(facts, by, isSecret).Verdict);
    }

    private static void LookWhoWrites(string path, FileRule.Users? by, Findings found)
    {
        if (JudgeOf(path, by, isSecret: false) is var (facts, verdict)
            && (facts.Mode & ByOthers) != UnixFileMode.None && verdict != FileRule.Verdict.OfOwnGroup)
            found.Problem($"{path} can be written by others than its owner", $"Run: chmod 600 {path}");
    }

    // Whether it holds the right key is for root_keys.
    private static void LookAtKey(WrapperUrl url, FileRule.Users? by, Findings found)
    {
        if (!File.Exists(url.File))
            return; // said there too, where it is known whether it is missed
        if (KeyFile.Problem(url.File!, url.Scheme == WrapperUrl.Credential, by) is var (problem, hint))
        {
            found.Problem(problem,
                $"{hint.TrimEnd('.')}. If others may have read it, move to another one and rotate: see docs/keys.md.");
        }
        else if (url.Scheme != WrapperUrl.Credential)
        {
            LookAtGroup(url.File!, by, found);
        }
    }

    // A start closes its own: until then others of the group may read it.
    private static void LookAtGroup(string file, FileRule.Users? by, Findings found)
    {
        if (JudgeOf(file, by, isSecret: true) is var (facts, verdict) && verdict == FileRule.Verdict.ToClose)
        {
            found.Warn($"{file} can be used by its group (mode {facts.Octal})",
                $"Run: chmod 600 {file}. A start does so too.");
        }
    }

    private static void LookAtCredential(string file, FileRule.Users? by, Findings found)
    {
        if (!File.Exists(file))
            found.Problem($"{file} is not there", "Put it there, or change the setting that names it.");
        else if (FileRule.ProblemOf(file, "the file", by) is var (problem, hint))
            found.Warn($"{problem}, and it opens a service", hint);
        else
            LookAtGroup(file, by, found);
    }

    // A store that was started once as another user, root for example, leaves files that the right one cannot write.
    private static void LookAtOwners(Installation at, Findings found)
    {
        string[] all = [.. ((string[])[.. DataDirectory.StoreFilesOf(at.Data), at.AnchorFile, at.KeyFile])
            .Where(File.Exists)];
        if (!Directory.Exists(at.Data) || FileStatus.OwnerOf(at.Data) is not { } owner || all.Length == 0)
            return;
        // The top of a volume may be root's, and what is in it the server's.
        var isVolume = owner == 0 && FileStatus.OwnerOf(all[0]) != 0;
        if (isVolume)
            owner = FileStatus.OwnerOf(all[0])!.Value;
        var others = all.Where(file => FileStatus.OwnerOf(file) is { } of && of != owner
            && !(of == 0 && file == at.KeyFile));
        foreach (var file in others)
        {
            found.Problem($"{file} belongs to another user than {(isVolume ? all[0] : "the data directory")}",
                $"Give both to the user that runs Coffer: chown USER {file}");
        }
    }
}
