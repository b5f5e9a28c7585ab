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
        if (!Directory.Exists(at.Data))
        {
            found.Warn($"the data directory {at.Data} is not there",
                "The first start creates it. If there was one, check --data.");
        }
        else
        {
            Look(at.Data, "700", found);
            foreach (var file in DataDirectory.StoreFilesOf(at.Data).Where(File.Exists))
                Look(file, "600", found);
        }

        // Written by a server; to be read by others they may be, but what others write there proves nothing.
        foreach (var file in ((string[])[at.AnchorFile, at.CheckpointFile]).Where(File.Exists))
            LookWhoWrites(file, found);
        foreach (var url in at.Keys.Urls.Where(url => url.File is not null))
            LookAtKey(url, found);
        foreach (var file in ((string?[])[at.Options.RootKey.VaultTokenFile, at.Options.RootKey.VaultSecretFile,
            at.Options.Store is { } store ? PostgresAddress.Parse(store)?.Passfile : null]).OfType<string>())
            LookAtCredential(file, found);
        LookAtOwners(at, found);
        if (found.AreOk)
            found.Ok($"{at.Data} and what belongs to it is there, and is its owner's alone");
        return Task.CompletedTask;
    }

    private static void Look(string path, string wanted, Findings found)
    {
        if (PrivateFiles.ModeForOthers(path) is { } mode)
        {
            found.Warn($"{path} can be used by others (mode {mode})",
                $"Run: chmod {wanted} {path}. A start does so too where it is its own.");
        }
    }

    private static void LookWhoWrites(string path, Findings found)
    {
        if (!OperatingSystem.IsWindows() && (PrivateFiles.Mode(path) & ByOthers) != UnixFileMode.None)
            found.Problem($"{path} can be written by others than its owner", $"Run: chmod 600 {path}");
    }

    // Whether it holds the right key is for root_keys.
    private static void LookAtKey(WrapperUrl url, Findings found)
    {
        if (!File.Exists(url.File))
            return; // said there too, where it is known whether it is missed
        const UnixFileMode ToRead = UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        if (url.Scheme == WrapperUrl.Credential && !OperatingSystem.IsWindows()
            && (PrivateFiles.Mode(url.File!) & ~ToRead & (UnixFileMode)0b111_111) == UnixFileMode.None)
            return;
        if (PrivateFiles.ModeForOthers(url.File!) is { } mode)
        {
            found.Problem($"the key file {url.File} can be used by others than its owner (mode {mode})",
                $"Run: chmod 600 {url.File}. If others may have read it, move to another one and rotate: see "
                    + "docs/keys.md.");
        }
    }

    private static void LookAtCredential(string file, Findings found)
    {
        if (!File.Exists(file))
            found.Problem($"{file} is not there", "Put it there, or change the setting that names it.");
        else if (PrivateFiles.ModeForOthers(file) is { } mode)
            found.Warn($"{file}, which opens a service, can be used by others than its owner (mode {mode})",
                $"Run: chmod 600 {file}");
    }

    // A store that was started once as another user, root for example, leaves files that the right one cannot write.
    private static void LookAtOwners(Installation at, Findings found)
    {
        if (!Directory.Exists(at.Data) || PrivateFiles.Owner(at.Data) is not { } owner)
            return;
        string[] all = [.. DataDirectory.StoreFilesOf(at.Data), at.AnchorFile, at.KeyFile];
        foreach (var file in all.Where(File.Exists).Where(file => PrivateFiles.Owner(file) != owner))
        {
            found.Problem($"{file} belongs to another user than the data directory",
                $"Give both to the user that runs Coffer: chown USER {file}");
        }
    }
}
