namespace Coffer.Hosting;

/// <summary>What has to be disposed of when the server ends, in the order in which it was opened.</summary>
internal sealed class Parts : IDisposable
{
    private readonly List<IDisposable> opened = [];

    public T Add<T>(T part) where T : IDisposable
    {
        opened.Add(part);
        return part;
    }

    /// <summary>The last one first.</summary>
    public void Dispose()
    {
        for (var i = opened.Count - 1; i >= 0; i--)
            opened[i].Dispose();
    }
}
