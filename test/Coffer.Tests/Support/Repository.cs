namespace Coffer.Tests.Support;

/// <summary>Where the checkout is that the tests were built from.</summary>
internal static class Repository
{
    private static readonly string Root = FindRoot();

    public static string File(string path) => Path.Combine(Root, path);

    private static string FindRoot()
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (System.IO.File.Exists(Path.Combine(at.FullName, "Coffer.slnx")))
                return at.FullName;
        }

        throw new InvalidOperationException("The tests run outside their checkout.");
    }
}
