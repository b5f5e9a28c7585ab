using System.Security.Cryptography;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>The renewal of a store whose root key has leaked, for someone with an admin key.</summary>
internal sealed partial class ManagedRootKeys
{
    private const int ListedAtOnce = 200;

    /// <summary>A renewal as it is shown.</summary>
    /// <param name="State">How far it has come, in a word.</param>
    /// <param name="Pepper">The number of the pepper that it makes.</param>
    /// <param name="Created">When it was asked for, in Unix seconds.</param>
    public sealed record ShownRenewal(string State, uint Pepper, long Created);

    /// <summary>The list of API keys as an owner confirms it.</summary>
    /// <param name="Hash">Over all of them, in hexadecimal.</param>
    /// <param name="Count">How many there are.</param>
    public sealed record ListedKeys(string Hash, long Count);

    /// <summary>
    /// Has the store renewed: the background continues until it waits for an owner (<see cref="StoreRenewal"/>).
    /// </summary>
    /// <exception cref="ApiError">
    /// 400: it is being renewed; or a node runs that does not read what that writes. 409: as <see cref="AddAsync"/>.
    /// </exception>
    public Task<Reply> RenewAsync(ManagementWriter.Request<Answer> request, CancellationToken ct) =>
        RetryAsync(() => RenewOnceAsync(request), request, ct);

    private Task<Reply> RenewOnceAsync(ManagementWriter.Request<Answer> request)
    {
        var facts = instance.FactsInForce;
        var refusal = facts switch
        {
            { Renewal: not null } => ApiError.RenewalUnderWay(),
            { Level: < Control.RenewedPeppers } => ApiError.LevelTooLow(),
            _ => null,
        };
        var entry = request.Caller.Entry("renew_store", StoreRenewal.Word(RenewalState.Asked));
        var pepper = instance.Peppers.Newest.Number + 1;
        return WriteAsync(request, facts, refusal, entry, control => control with
        {
            Renewal = new Renewal(RenewalState.Asked, facts.NewestVersion + 1, pepper, management.Now),
        }, []);
    }

    /// <summary>What an owner is to confirm, whether or not it is time for that.</summary>
    public async Task<ListedKeys> ListKeysAsync(Caller caller, CancellationToken ct)
    {
        gate.Require(caller, Acts.ShowRootKeys);
        await gate.RecordAsync(caller, "list_keys_to_confirm");
        return await ListKeysAsync(ct);
    }

    /// <summary>Ends a renewal: an owner knows each API key that there is.</summary>
    /// <param name="request">Who asks: with a key that was made beside the server since the new pepper began.</param>
    /// <param name="hash">What <see cref="ListKeysAsync"/> gave when the keys were looked at.</param>
    /// <param name="ct">Ends reading.</param>
    /// <exception cref="ApiError">
    /// 400: no renewal waits for it. 403: with another key. 409: the keys are others by now; or as <see
    /// cref="AddAsync"/>.
    /// </exception>
    public Task<Reply> ConfirmAsync(
        ManagementWriter.Request<Answer> request, string hash, CancellationToken ct) =>
        RetryAsync(() => ConfirmOnceAsync(request, hash, ct), request, ct);

    // No key is made between the scan and the change: as long as it waits, nobody else makes one.
    private async Task<Reply> ConfirmOnceAsync(
        ManagementWriter.Request<Answer> request, string hash, CancellationToken ct)
    {
        var facts = instance.FactsInForce;
        var refusal = facts.Renewal switch
        {
            not { State: RenewalState.Waiting } => ApiError.NothingToConfirm(),
            _ when (await ListKeysAsync(ct)).Hash != hash => ApiError.KeysWereChanged(),
            _ => null,
        };
        var entry = request.Caller.Entry("confirm_renewal", "ok") with { Version = facts.Renewal?.Pepper };
        return await WriteAsync(request, facts, refusal, entry, before => before with { Renewal = null }, [],
            asks: row =>
            {
                if (row is null || !ApiKey.Inspect(instance, row).MayConfirm(instance))
                    throw ApiError.ConfirmingKeyRequired();
            });
    }

    // A hash over all rows of API keys, each of which its proof stands for.
    private async Task<ListedKeys> ListKeysAsync(CancellationToken ct)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData("coffer v1 list of keys"u8);
        var count = 0L;
        await foreach (var rows in engine.ApiKeysAsync(ListedAtOnce, ct))
        {
            foreach (var row in rows)
            {
                using var bound = new AssociatedData("coffer v1 listed key"u8);
                bound.Add(row.Id);
                bound.Add(row.Mac);
                bound.Add(row.Proof);
                hash.AppendData(SHA256.HashData(bound.Span));
            }

            count += rows.Count;
        }

        return new ListedKeys(Convert.ToHexStringLower(hash.GetHashAndReset()), count);
    }
}
