using System.Security.Cryptography;

namespace Coffer.EndToEnd;

/// <summary>A directory of a test's own, gone with the test. It can be remembered to the byte.</summary>
public sealed class TemporaryDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("coffer-test-").FullName;

    /// <summary>The path of a file in it, there or not.</summary>
    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Every file's content, by name.</summary>
    public IReadOnlyDictionary<string, byte[]> Contents() =>
        Directory.EnumerateFiles(Path).ToDictionary(file => System.IO.Path.GetFileName(file)!, ReadShared,
            StringComparer.Ordinal);

    /// <summary>Every file's name, hash and mode, one a line: what must not change when a start is refused.</summary>
    public string Fingerprint() => string.Join('\n', Contents()
        .Where(file => !file.Key.EndsWith("-shm", StringComparison.Ordinal)) // whoever reads beside changes it
        .OrderBy(file => file.Key, StringComparer.Ordinal)
        .Select(
            file =>
                $"{file.Key} {Convert.ToHexString(SHA256.HashData(file.Value))} "
                    + $"{System.IO.File.GetUnixFileMode(File(file.Key))}"));

    /// <summary>
    /// Changes the store in it behind Coffer's back, as someone with the file and without the key can.
    /// </summary>
    public async Task SqlAsync(string sql)
    {
        const string Script =
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit(); db.close()";
        (await Ran.ProgramAsync(Needs.Python(), ["-c", Script, File("coffer.db"), sql])).EndedWith(0);
    }

    /// <remarks>A second time does nothing.</remarks>
    public void Dispose()
    {
        if (Directory.Exists(Path))
            Directory.Delete(Path, recursive: true);
    }

    // A running Coffer's files are read too, as a thief would; the one that it holds locked is empty.
    private static byte[] ReadShared(string path)
    {
        if (new FileInfo(path).Length == 0)
            return [];
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var all = new MemoryStream();
        file.CopyTo(all);
        return all.ToArray();
    }
}
