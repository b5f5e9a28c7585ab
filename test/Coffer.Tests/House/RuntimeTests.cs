using System.Text.Json;

namespace Coffer.Tests.House;

/// <summary>Which .NET runtimes are fit (SECURITY.md).</summary>
[Trait("Reports from the field", "R2-28")]
public sealed class RuntimeTests
{
    [Theory]
    [InlineData("10.0.11", false)]
    [InlineData("10.0.0", false)]
    [InlineData("9.0.99", false)]
    [InlineData("10.0.12", true)]
    [InlineData("10.0.13", true)]
    [InlineData("10.1.0", true)]
    [InlineData("11.0.0", true)]
    public void One_that_is_older_than_the_oldest_that_is_fit_is_named_with_what_to_do(string runtime, bool isFit)
    {
        var trouble = Product.TroubleOf(Version.Parse(runtime));
        if (isFit)
            Assert.Null(trouble);
        else
            Assert.Equal($"This .NET runtime is {runtime}, and the oldest that is fit is {Product.OldestRuntime}. "
                + "Update the runtime", trouble);
    }

    [Fact]
    [Trait("Fast", "5")]
    public void The_native_build_is_made_of_the_oldest_that_is_fit_and_locked()
    {
        Assert.Contains($"<RuntimeFrameworkVersion>{Product.OldestRuntime}</RuntimeFrameworkVersion>",
            File.ReadAllText(Repository.File("src/Coffer/Coffer.csproj")), StringComparison.Ordinal);
        var locked = JsonElement.Parse(File.ReadAllText(Repository.File("src/Coffer/packages.native.lock.json")))
            .GetProperty("dependencies").GetProperty("net10.0/linux-x64").GetProperty("Microsoft.DotNet.ILCompiler");
        Assert.Equal($"{Product.OldestRuntime}", locked.GetProperty("resolved").GetString());
    }

    [Fact]
    public void SECURITY_names_the_oldest_that_is_fit() =>
        Assert.Contains($"The oldest .NET runtime that is fit is {Product.OldestRuntime}.",
            File.ReadAllText(Repository.File("SECURITY.md")), StringComparison.Ordinal);
}
