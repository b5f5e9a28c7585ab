using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>How much a server allocates between two collections: decision 50.</summary>
[Trait("Build", "both")]
[Trait("Fast", "2")]
public sealed class YoungMemoryTests
{
    [Theory]
    [InlineData("serve", null)]
    [InlineData("serve", "0")]
    [InlineData("dev", null)]
    public async Task A_server_keeps_its_young_memory_whether_or_not_it_was_told_of_diagnostics(
        string verb, string? diagnostics)
    {
        using var data = new TemporaryDirectory();
        var given = new Dictionary<string, string>();
        if (diagnostics is not null)
            given["DOTNET_EnableDiagnostics"] = diagnostics;
        await using var coffer = await CofferProcess.StartAsync([verb, "--data", data.Path], environment: given);
        // The native build has it inside.
        Assert.Equal(Needs.IsNative ? null : "1000000", Told(coffer)); // 16 MB
        Assert.Equal(Needs.IsNative ? diagnostics : "0", Of(coffer, "DOTNET_EnableDiagnostics"));
    }

    [Theory]
    [InlineData("DOTNET_GCgen0size")]
    [InlineData("COMPlus_GCgen0size")]
    public async Task What_the_environment_says_of_it_stays(string variable)
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.StartAsync(["serve", "--data", data.Path],
            environment: new Dictionary<string, string> { [variable] = "4000000" });
        Assert.Equal("4000000", Of(coffer, variable));
        Assert.Equal(variable.StartsWith("DOTNET", StringComparison.Ordinal) ? "4000000" : null, Told(coffer));
    }

    private static string? Told(CofferProcess coffer) => Of(coffer, "DOTNET_GCgen0size");

    private static string? Of(CofferProcess coffer, string variable) =>
        File.ReadAllText($"/proc/{coffer.Pid}/environ").Split('\0')
            .Where(each => each.StartsWith($"{variable}=", StringComparison.Ordinal))
            .Select(each => each[(variable.Length + 1)..]).FirstOrDefault();
}
