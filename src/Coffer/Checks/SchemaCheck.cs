using Coffer.Audit;
using Coffer.Keys;

namespace Coffer.Checks;

/// <summary>Opens the store, and proves that its schema is what this program makes.</summary>
internal static class SchemaCheck
{
    private const string FirstStart = "The first start of coffer serve creates it. If there was one, check --data and "
        + "--store.";

    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        at.RequireData();
        if (at.Options.Store is null && !File.Exists(at.StoreFile))
        {
            RequireNone(at);
            found.Warn($"there is no store in {at.Data} yet", FirstStart);
            return;
        }

        var engine = await at.OpenAsync(ct);
        try
        {
            var (version, known) = await engine.ProveSchemaAsync(ct);
            if (version == known)
            {
                found.Ok($"schema {version}, as this program makes it, in {engine.Name} "
                    + await engine.FindReleaseAsync(ct));
                at.Take(engine);
                engine = null;
            }
            else if (version == 0)
            {
                RequireNone(at);
                found.Warn("there is no store in the database yet", FirstStart);
            }
            else
            {
                found.Warn($"the store has schema {version}, and this program makes {known}",
                    "A start of this program brings it up to date. Take a back-up first.");
            }
        }
        catch (ConfigurationException e)
        {
            found.Problem(e.Message, e.Hint);
        }
        finally
        {
            engine?.Dispose();
        }
    }

    // Where something says that there was a store, a start makes no new one.
    private static void RequireNone(Installation at)
    {
        new Anchor(at.AnchorFile).RequireNone();
        OldStore.RequireNone(at.CheckpointFile);
    }
}
