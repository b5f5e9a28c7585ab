
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Transfer;

/// <summary>Opens all that can be opened of a store: of a copy of one, or of a back-up. No payload is kept.</summary>
/// <param name="read">Gives the rows of a table in the order of their keys; several are read at once.</param>
/// <param name="count">How many rows a table has.</param>
/// <param name="watch">Told after each batch.</param>
internal sealed class StoreProof(
    Func<Table, IEnumerable<object?[]>> read, Func<Table, long> count, Action<Step> watch)
{
    private const int MostProblems = 20;

    private readonly List<string> problems = [];

    /// <summary>What is wrong, naming the place: the first 20 of it.</summary>
    public IReadOnlyList<string> Problems => problems;

    /// <summary>How many secrets were opened.</summary>
    public long Secrets { get; private set; }

    public void Add(string problem)
    {
        if (problems.Count < MostProblems)
            problems.Add(problem);
    }

    /// <param name="instance">The target's identity, opened from the target.</param>
    /// <param name="checkpoints">The lines of the target's checkpoint file.</param>
    public void Run(Instance instance, string[] checkpoints)
    {
        ProveApps(instance);
        OpenSecrets(instance);
        VerifyAudit(instance, checkpoints);
    }

    private void ProveApps(Instance instance)
    {
        var accounts = new Dictionary<string, string>();
        foreach (var row in read(AppRow.Table))
        {
            var app = AppRow.From(new ReadRow(row));
            accounts.Add(app.Id, app.Account);
            if (App.Inspect(app, instance).Fault is { } fault)
                Add($"the settings of the app {app.Id} are damaged: {fault} is not what Coffer wrote");
        }

        foreach (var row in read(ApiKeyRow.Table))
        {
            var key = ApiKeyRow.Alone(row, row[2] is string app ? accounts.GetValueOrDefault(app) : null);
            if (key.App is not null && key.Account is null)
                Add($"the app {key.App} of the API key {key.Id} does not exist");
            else if (ApiKey.Inspect(instance, key).Fault is { } fault)
                Add($"the API key {key.Id} is damaged: {fault} is not what Coffer wrote");
        }

        foreach (var row in read(EndedKeyRow.Table))
        {
            if (!EndedKey.IsWhole(instance, EndedKeyRow.From(new ReadRow(row))))
                Add($"{EndedKeyRow.Table.Shown(row)} is damaged");
        }

        foreach (var row in read(GenerationRow.Table))
        {
            if (!Generations.IsWhole(instance, GenerationRow.From(new ReadRow(row))))
                Add($"{GenerationRow.Table.Shown(row)} is damaged");
        }
    }

    private void OpenSecrets(Instance instance)
    {
        var (done, total) = (0L, count(SecretRow.Table));
        using var secrets = read(SecretRow.Table).GetEnumerator();
        var hasSecret = secrets.MoveNext();
        foreach (var row in read(TenantRow.Table).Select(values => new ReadRow(values)))
        {
            if (row.Number(2) is not (0 or 1))
                Add($"the tenant {row.Number(0)} is damaged: its livemode is {row.Number(2)}, neither 0 nor 1");
            var id = new TenantId(row.Text(1), row.Number(2) != 0, row.Text(3));
            var own = new ReadRow([row.Number(0), row.Bytes(5), row.Number(6), row.Number(7)]);
            var tenant = OpenTenant(instance, id, TenantRow.From(own));
            for (; hasSecret && (long)secrets.Current[0]! == row.Number(0); hasSecret = secrets.MoveNext())
            {
                if (tenant is not null)
                    OpenSecret(instance, tenant, SecretRow.From(new ReadRow(secrets.Current)));
                if (++done % Step.Stride == 0)
                    watch(new Step("opening", SecretRow.Table.Name, done, total));
            }

            tenant?.Keys.Dispose();
        }

        if (hasSecret)
            Add($"{SecretRow.Table.Shown(secrets.Current)} belongs to no tenant");
        watch(new Step("opening", SecretRow.Table.Name, done, total));
    }

    private Tenant? OpenTenant(Instance instance, TenantId id, TenantRow row)
    {
        try
        {
            return Tenants.Open(instance, id, row);
        }
        catch (ApiError)
        {
            Add($"the keys of the tenant {id.App}, {Mode(id)}, {id.Account} do not open: its record is damaged");
            return null;
        }
    }

    private void OpenSecret(Instance instance, Tenant tenant, SecretRow row)
    {
        try
        {
            SealedSecret.Open(instance, tenant, row, scope: null, wantsPayload: false).Dispose();
            Secrets++;
        }
        catch (ApiError)
        {
            var id = tenant.Id;
            Add($"the secret {row.Id} of {id.App}, {Mode(id)}, {id.Account} does not open: its record is damaged");
        }
    }

    private static string Mode(TenantId id) => id.Livemode ? "live" : "test";

    private void VerifyAudit(Instance instance, string[] checkpoints)
    {
        var verification = new Verification(AuditKeys.Of(instance).Proof, checkpoints);
        foreach (var (key, value) in read(MetaRow.Table).Select(row => MetaRow.ToMeta(new ReadRow(row))))
            verification.AddMeta(key, value);

        var (done, total) = (0L, count(AuditRow.Table));
        foreach (var row in read(AuditRow.Table))
        {
            verification.Add(AuditRow.From(new ReadRow(row)));
            if (++done % Step.Stride == 0)
                watch(new Step("verifying", AuditRow.Table.Name, done, total));
        }

        verification.Finish();
        watch(new Step("verifying", AuditRow.Table.Name, done, total));
        foreach (var problem in verification.Problems)
            Add(problem);
    }
}
