using System.Text.Unicode;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// How a secret is turned into a row and back. The plaintext is name, user and payload; everything else of the row is
/// associated data, so that a changed owner, scope, name, id, version or time is found out, with or without opening.
/// </summary>
internal static class SealedSecret
{
    private const byte NameTag = 1, UserTag = 2, PayloadTag = 3;

    /// <summary>Where a secret stands: the blind index of its name within its scope.</summary>
    /// <param name="tenant">Whose it is.</param>
    /// <param name="seed">The seed of that tenant which it stands under.</param>
    /// <param name="scope">Its scope.</param>
    /// <param name="name">Its name.</param>
    public static SecretKey KeyOf(Tenant tenant, TenantSeed seed, Scope scope, SecretName name)
    {
        using var bound = new AssociatedData("name"u8);
        bound.Add(scope.Type);
        bound.Add(scope.User.Span);
        bound.Add(name.Utf8.Span);
        return new SecretKey(tenant.Number, seed.BlindIndex(bound.Span));
    }

    /// <summary>The blind index of a scope, under which its secrets are listed and counted.</summary>
    public static byte[] ScopeOf(TenantSeed seed, Scope scope)
    {
        using var bound = new AssociatedData("scope"u8);
        bound.Add(scope.Type);
        bound.Add(scope.User.Span);
        return seed.BlindIndex(bound.Span);
    }

    /// <summary>Whether an id was made for a scope of a tenant, by the id alone.</summary>
    public static bool IsOf(Tenant tenant, Scope scope, string id) =>
        tenant.Keys.Retired.Where(static seed => seed.Marks.HasFlag(SeedMarks.Ids)).Append(tenant.Keys.Seed)
            .Any(seed => SecretId.BelongsTo(seed, ScopeOf(seed, scope), id));

    /// <param name="instance">Whose store it is.</param>
    /// <param name="tenant">Whose secret it is.</param>
    /// <param name="row">The row, of which everything but <c>Sealed</c> is bound.</param>
    /// <param name="secret">Name, scope and payload.</param>
    public static SecretRow Seal(Instance instance, Tenant tenant, SecretRow row, Secret secret)
    {
        var name = secret.Name.Utf8.Span;
        var user = secret.Scope.User.Span;
        var payload = secret.Payload!.Value.Span;
        using var plaintext = SecretBytes.Rent(Tlv.SizeOf(name) + Tlv.SizeOf(user) + Tlv.SizeOf(payload));
        Tlv.Write(Tlv.Write(Tlv.Write(plaintext.Span, NameTag, name), UserTag, user), PayloadTag, payload);
        using var bound = Bind(instance, tenant, row);
        return row with { Sealed = tenant.Keys.Seal(SealedKind.Secret, plaintext.Span, bound.Span) };
    }

    /// <summary>
    /// The secret without its payload. No plaintext is made: the caller knows the name, and the rest is proven by the
    /// commitment.
    /// </summary>
    /// <exception cref="ApiError">The row was changed outside Coffer.</exception>
    public static Secret Prove(Instance instance, Tenant tenant, SecretRow row, Scope scope, SecretName name)
    {
        using var bound = Bind(instance, tenant, row);
        return row.IsSound && tenant.Keys.Proves(row.Sealed, bound.Span)
            ? new Secret(row.Id, name, scope, tenant.Id.Livemode, row.Created, row.ExpiresAt, row.Version)
            : throw Damaged(tenant.Id, row);
    }

    /// <summary>The secret with its name as it is sealed, and with its payload if that is wanted.</summary>
    /// <param name="instance">Whose store it is.</param>
    /// <param name="tenant">Whose secret it is.</param>
    /// <param name="row">The row.</param>
    /// <param name="scope">
    /// The scope that it must stand in; null takes the one that it says itself, under the same proof.
    /// </param>
    /// <param name="wantsPayload">Whether to give the payload.</param>
    /// <exception cref="ApiError">The row was changed outside Coffer.</exception>
    public static Secret Open(Instance instance, Tenant tenant, SecretRow row, Scope? scope, bool wantsPayload)
    {
        using var bound = Bind(instance, tenant, row);
        var plaintext = row.IsSound ? tenant.Keys.Open(row.Sealed, bound.Span) : null;
        if (plaintext is null)
            throw Damaged(tenant.Id, row);

        try
        {
            if (!Tlv.AreSound(plaintext.Span, [NameTag, UserTag, PayloadTag])
                || Tlv.Find(plaintext.Span, NameTag) is not { } name
                || Tlv.Find(plaintext.Span, UserTag) is not { } user
                || Tlv.Find(plaintext.Span, PayloadTag) is not { } payload
                || plaintext.Span[name].IsEmpty || !Utf8.IsValid(plaintext.Span[name])
                || !Utf8.IsValid(plaintext.Span[user]) || !Utf8.IsValid(plaintext.Span[payload])
                || (scope is not null && !plaintext.Span[user].SequenceEqual(scope.User.Span)))
                throw Damaged(tenant.Id, row);
            scope ??= plaintext.Span[user].IsEmpty ? Scope.Account : Scope.ForUser(plaintext.Span[user]);

            var secret = new Secret(row.Id, new SecretName(plaintext.Span[name]), scope, tenant.Id.Livemode,
                row.Created, row.ExpiresAt, row.Version);
            if (!wantsPayload)
                return secret;
            secret = secret with { Payload = plaintext.Memory[payload], Owner = plaintext };
            plaintext = null;
            return secret;
        }
        finally
        {
            plaintext?.Dispose();
        }
    }

    /// <summary>The refusal of a row that was changed outside Coffer.</summary>
    public static ApiError Damaged(TenantId tenant, SecretRow row) => ApiError.RecordDamaged("secret",
        new DamagedRow("secrets", $"{row.Id} (tenant {row.Key.Tenant})", row.IsSound ? "its proof" : DamagedRow.Columns)
        {
            App = tenant.App,
            Account = tenant.Account,
        });

    /// <summary>
    /// The row under the tenant's newest key, and where its name stands under the seed that is in use; null if it does
    /// not open.
    /// </summary>
    public static SecretRow? Reseal(Instance instance, Tenant tenant, SecretRow row)
    {
        if (tenant.Keys.HasOldNames)
            return Move(instance, tenant, row);
        using var bound = Bind(instance, tenant, row);
        var again = row.IsSound ? tenant.Keys.Reseal(SealedKind.Secret, row.Sealed, bound.Span) : null;
        return again is null ? null : row with { Sealed = again };
    }

    private static SecretRow? Move(Instance instance, Tenant tenant, SecretRow row)
    {
        try
        {
            using var secret = Open(instance, tenant, row, scope: null, wantsPayload: true);
            var moved = row with
            {
                Key = KeyOf(tenant, tenant.Keys.Seed, secret.Scope, secret.Name),
                Scope = ScopeOf(tenant.Keys.Seed, secret.Scope),
            };
            return Seal(instance, tenant, moved, secret);
        }
        catch (ApiError e) when (e.Damage is not null)
        {
            return null;
        }
    }

    private static AssociatedData Bind(Instance instance, Tenant tenant, SecretRow row)
    {
        var bound = Tenants.Bound(SealedKind.Secret, instance, tenant.Id);
        bound.Add(row.Scope);
        bound.Add(row.Key.Name);
        bound.Add(row.Id);
        bound.Add(row.Version);
        bound.Add(row.Created);
        bound.Add(row.ExpiresAt);
        return bound;
    }
}
