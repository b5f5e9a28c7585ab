namespace Coffer.Tests.Support;

/// <summary>A directory that is gone after the test.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("coffer-test-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Of a name that nothing has.</summary>
    public string NewPath() => File(Guid.NewGuid().ToString("n"));

    /// <summary>Makes a data directory with nothing but a copy of the key file of another.</summary>
    public string NewKeyed(string data)
    {
        var path = NewPath();
        Directory.CreateDirectory(path);
        System.IO.File.Copy(System.IO.Path.Combine(data, "coffer.key"), System.IO.Path.Combine(path, "coffer.key"));
        return path;
    }

    /// <remarks>A second time does nothing.</remarks>
    public void Dispose()
    {
        if (Directory.Exists(Path))
            Directory.Delete(Path, recursive: true);
    }
}
