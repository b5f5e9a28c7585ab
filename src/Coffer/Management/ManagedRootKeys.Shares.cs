using System.Buffers.Text;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// Recovery shares, the wrapper that people hold. They are made where an operator sits: this store is given their
/// public half, and never sees the shares or what they open.
/// </summary>
internal sealed partial class ManagedRootKeys
{
    /// <summary>What whoever makes or proves shares has to know of the store.</summary>
    /// <param name="Store">The store's id, in hexadecimal.</param>
    /// <param name="Anchor">The store's mark, in hexadecimal.</param>
    public sealed record SharesAnswer(string Store, string Anchor)
    {
        /// <summary>The name of the wrapper; null if there are no shares, and so are the others.</summary>
        public string? Id { get; init; }

        /// <summary>As it is stored, in base64url.</summary>
        public string? Shares { get; init; }

        public int? Threshold { get; init; }

        public int? Count { get; init; }
    }

    /// <exception cref="ApiError">500: what is stored is not what wrapped the root keys.</exception>
    public async Task<SharesAnswer> ShowSharesAsync(Caller caller, CancellationToken ct)
    {
        gate.Require(caller, Acts.ShowRootKeys);
        await gate.RecordAsync(caller, "show_recovery_shares");
        var answer = new SharesAnswer(
            Convert.ToHexStringLower(instance.Id), Convert.ToHexStringLower(instance.AnchorMark));
        return await FindKnownSharesAsync(ct) is not { } shares ? answer : answer with
        {
            Id = shares.Id,
            Shares = Base64Url.EncodeToString(shares.ToRow()),
            Threshold = shares.Threshold,
            Count = shares.Count,
        };
    }

    /// <summary>Has shares that were made wrap every root key, in place of those of before.</summary>
    /// <param name="request">Who asks.</param>
    /// <param name="made">What is to be stored, in base64url.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ApiError">400: they are not for this store. 409: as <see cref="AddAsync"/>.</exception>
    public Task<Reply> CreateSharesAsync(ManagementWriter.Request<Answer> request, string made, CancellationToken ct) =>
        RetryAsync(() => CreateSharesOnceAsync(request, made, ct), request, ct);

    private async Task<Reply> CreateSharesOnceAsync(
        ManagementWriter.Request<Answer> request, string made, CancellationToken ct)
    {
        var (facts, shares) = (instance.FactsInForce, Parse(made));
        var rows = new List<WrappingRow>();
        var refusal = await RefusalAsync(async () =>
        {
            if (shares?.AnchorMark.AsSpan().SequenceEqual(instance.AnchorMark) != true)
                throw ApiError.SharesUnusable();
            rows.AddRange(await rotation.WrapAsync(
                [.. facts.Roots.Where(root => root.State != RootState.Unused)
                    .Select(root => instance.Roots.Find(root.Version) ?? throw ApiError.RootKeysMoved())],
                shares, ct));
        });
        var gone = facts.Roots.SelectMany(root => root.Wrappers.Where(RecoveryShares.IsName)
            .Where(id => !rows.Exists(row => (row.Version, row.Wrapper) == (root.Version, id)))
            .Select(id => new RowWrite.DeleteWrapping(root.Version, id)));
        var entry = request.Caller.Entry("create_recovery_shares", "ok") with
        {
            Target = shares?.Id,
            Count = shares?.Count,
        };
        return await WriteAsync(request, facts, refusal, entry,
            control => control with
            {
                Wrappings =
                [
                    .. control.Wrappings.Where(wrapping => !RecoveryShares.IsName(wrapping.Wrapper)),
                    .. rows.Select(ControlFacts.Of),
                ],
            },
            [
                .. gone, .. rows.Select(row => new RowWrite.PutWrapping(row)),
                .. shares is null ? (RowWrite[])[] : [new RowWrite.PutMeta(RecoveryShares.MetaKey, shares.ToRow())],
            ]);
    }

    // Another node may have made others a moment ago.
    private async Task<RecoveryShares?> FindKnownSharesAsync(CancellationToken ct)
    {
        try
        {
            return await rotation.FindSharesAsync(instance.FactsInForce, ct);
        }
        catch (ApiError)
        {
            await instance.Reload(ct);
            return await rotation.FindSharesAsync(instance.FactsInForce, ct);
        }
    }

    private static RecoveryShares? Parse(string made)
    {
        var row = new byte[Base64Url.GetMaxDecodedLength(made.Length)];
        return Base64Url.IsValid(made) && Base64Url.TryDecodeFromChars(made, row, out var length)
            ? RecoveryShares.Read(row.AsSpan(0, length))
            : null;
    }
}
