using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;

namespace Coffer.Management;

/// <summary>What a store keeps of settings, as somebody with an admin key changes it.</summary>
internal sealed class ManagedSettings(Instance instance, Gate gate, ManagementWriter management)
{
    private readonly ControlWriter control = new(instance, management);

    /// <summary>What the store keeps; null while its nodes go each by their own.</summary>
    public IReadOnlyDictionary<string, string>? Kept => instance.Facts?.Settings;

    /// <summary>Changes one, for all nodes: on this one at once, on the others once they know of it.</summary>
    /// <param name="request">Who asks; the answer is what the store keeps then.</param>
    /// <param name="name">The setting.</param>
    /// <param name="value">Its value, as it is kept; null takes the default back.</param>
    /// <param name="ct">Ends the wait for what another node has changed.</param>
    /// <exception cref="ApiError">
    /// 400: a node of an earlier release runs. 409: the control row was changed meanwhile.
    /// </exception>
    public Task<Reply> SetAsync(ManagementWriter.Request<IReadOnlyDictionary<string, string>> request, string name,
        string? value, CancellationToken ct)
    {
        gate.Require(request.Caller, Acts.ChangeSettings);
        return control.RetryAsync(() => SetOnceAsync(request, name, value), ct);
    }

    /// <summary>What changed, for the entry of the audit log; null if nothing did.</summary>
    public static string? Changed(
        IReadOnlyDictionary<string, string>? before, IReadOnlyDictionary<string, string> after)
    {
        before ??= Control.NoSettings;
        var changes = new Changes();
        foreach (var name in before.Keys.Union(after.Keys).Order(StringComparer.Ordinal))
            changes.Text(name, before.GetValueOrDefault(name), after.GetValueOrDefault(name));
        return changes.Json;
    }

    private Task<Reply> SetOnceAsync(
        ManagementWriter.Request<IReadOnlyDictionary<string, string>> request, string name, string? value)
    {
        var facts = instance.FactsInForce;
        var before = facts.Settings ?? Control.NoSettings;
        var after = before.Where(each => each.Key != name).ToDictionary();
        if (value is not null)
            after[name] = value;
        var entry = request.Caller.Entry("change_settings", "ok") with
        {
            Target = name,
            Changed = Changed(before, after),
        };
        return control.WriteAsync(request, facts, entry, found => facts.Settings is null
                ? throw ApiError.SettingsWait()
                : (found with { Settings = after }, []),
            static changed => changed.Settings!);
    }
}
