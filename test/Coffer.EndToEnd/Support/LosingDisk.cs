using Coffer.Shared;

#pragma warning disable RS0030 // Random: no secrets here, and a failure must be repeatable from its seed.

namespace Coffer.EndToEnd;

/// <summary>
/// A data directory on a disk that loses what is not synced (disk/losing-disk.c): beside it is an image of what a power
/// cut would leave of the store. It is the program's own file calls that it stands under, in either build.
/// </summary>
public sealed class LosingDisk : IDisposable
{
    /// <summary>What a disk writes whole, or not at all.</summary>
    private const int Sector = 512;

    private static readonly string[] Kept = ["coffer.db", "coffer.db-wal"];

    private readonly TemporaryDirectory own = new(), image = new();
    private bool isCut;

    private LosingDisk(TemporaryDirectory data, string library)
    {
        Data = data;
        File.Copy(library, Library);
    }

    /// <summary>The data directory, as the program sees it.</summary>
    public TemporaryDirectory Data { get; }

    private string Library => own.File("disk.so");

    private string HoldFile => own.File("hold");

    /// <summary>An empty one.</summary>
    public static async Task<LosingDisk> MakeAsync()
    {
        using var made = new TemporaryDirectory();
        (await Ran.ProgramAsync(Needs.OnPath("gcc"), ["-O1", "-shared", "-fPIC", "-o", made.File("disk.so"),
            Path.Combine(Needs.Repository, "test", "Coffer.EndToEnd", "disk", "losing-disk.c")])).EndedWith(0);
        return new LosingDisk(new TemporaryDirectory(), made.File("disk.so"));
    }

    /// <summary>A server on it.</summary>
    public Task<CofferProcess> ServeAsync(params string[] more) => CofferProcess.StartAsync(
        ["serve", "--data", Data.Path, .. more], environment: new Dictionary<string, string>
        {
            ["LD_PRELOAD"] = Library,
            ["LOSING_DISK_DATA"] = Data.Path,
            ["LOSING_DISK_IMAGE"] = image.Path,
            ["LOSING_DISK_HOLD"] = HoldFile,
        });

    /// <summary>From now on no sync ends.</summary>
    public void Hold()
    {
        File.Delete($"{HoldFile}.reached");
        File.WriteAllBytes(HoldFile, []);
    }

    /// <summary>Until a sync waits, or something else has happened that should not.</summary>
    public Task HeldAsync(Func<bool> isOver) => Until.SoAsync("a sync is held back",
        () => File.Exists($"{HoldFile}.reached") || isOver());

    /// <summary>Lets all syncs end.</summary>
    public void Release() => File.Delete(HoldFile);

    /// <summary>
    /// What the disk has once the power is back, as a disk of its own, which outlives this one. To be called when the
    /// program was killed.
    /// </summary>
    /// <param name="random">
    /// Chooses for each sector that was not synced whether it was written all the same; null leaves none of them.
    /// </param>
    public LosingDisk Cut(Random? random)
    {
        foreach (var file in Directory.EnumerateFiles(Data.Path))
        {
            var name = Path.GetFileName(file);
            if (!Kept.Contains(name) && name != "coffer.db-shm") // which is memory
                File.Copy(file, image.File(name));
        }

        foreach (var name in Kept)
        {
            if (random is not null && File.Exists(Data.File(name)))
                Tear(image.File(name), File.ReadAllBytes(Data.File(name)), random);
        }

        isCut = true;
        return new LosingDisk(image, Library);
    }

    public void Dispose()
    {
        if (!isCut)
            image.Dispose();
        Data.Dispose();
        own.Dispose();
    }

    private static void Tear(string image, byte[] written, Random random)
    {
        using var file = new FileStream(image, FileMode.OpenOrCreate, FileAccess.ReadWrite);
        if (random.Next(2) == 0)
            file.SetLength(Math.Max(file.Length, random.Next(written.Length + 1)));
        Span<byte> synced = new byte[Sector];
        for (var at = 0; at < file.Length && at < written.Length; at += Sector)
        {
            file.Position = at;
            var length = file.ReadAtLeast(synced, Math.Min(Sector, written.Length - at), throwOnEndOfStream: false);
            var sector = written.AsSpan(at, length);
            if (sector.SequenceEqual(synced[..length]) || random.Next(2) == 0)
                continue;
            file.Position = at;
            file.Write(sector);
        }
    }
}
