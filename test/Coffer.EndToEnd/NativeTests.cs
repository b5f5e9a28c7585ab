namespace Coffer.EndToEnd;

/// <summary>What a native build does and the other one does not: it refuses by name what it lacks.</summary>
[Trait("Fast", "5")]
public sealed class NativeTests
{
    [Theory]
    [InlineData("azurekv:https://vault.example/keys/k/1", "azurekv:")]
    [InlineData("gcpkms:projects/p/locations/eu/keyRings/r/cryptoKeys/k", "gcpkms:")]
    public async Task A_wrapper_that_a_native_build_lacks_is_refused_by_name_beside_others_too(string url, string name)
    {
        Assert.SkipUnless(Needs.IsNative, "The .NET build lacks nothing.");
        using var data = new TemporaryDirectory();
        foreach (var line in (string[][])[["serve"], ["root-keys", "recover"]])
        {
            var ran = await Ran.CofferAsync([.. line, "--data", data.Path, "--root-key",
                $"file:{data.File("k")} {url}"]);
            Assert.Equal(78, ran.ExitCode);
            Assert.Contains($"names a wrapper that the native build lacks, {name}: run the .NET build of Coffer",
                ran.Stderr, StringComparison.Ordinal);
        }

        Assert.Empty(Directory.EnumerateFileSystemEntries(data.Path));
    }
}
