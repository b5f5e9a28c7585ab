namespace Coffer.Storage;

/// <summary>Who owns a row: the unit of encryption, quota, export and shredding.</summary>
/// <param name="App"><c>app_…</c></param>
/// <param name="Livemode">Live or test; decided by the key, never by a parameter.</param>
/// <param name="Account">
/// The account that installed the app; the app's own account when no header names one.
/// </param>
internal sealed record TenantId(string App, bool Livemode, string Account);

/// <summary>Which tenants something is about; of each, null is all.</summary>
internal sealed record TenantChoice(string? App, string? Account, bool? Livemode)
{
    public bool Has(TenantId tenant) => (App is null || App == tenant.App)
        && (Account is null || Account == tenant.Account) && (Livemode is null || Livemode == tenant.Livemode);
}

/// <summary>A tenant's row: its number, under which its secrets hang, and its keys sealed under a root key.</summary>
internal sealed record TenantRow(long Id, byte[] SealedKeys)
{
    /// <summary>What <see cref="From"/> reads.</summary>
    public const string Columns = "id, sealed_keys, counter, keys";

    public static readonly Table Table = new("tenants",
        "id:n app:t livemode:n account:t created:n sealed_keys:b counter:n keys:n install:t", "id")
    {
        Numbered = "id",
        Below = [DeleteSecrets, DeleteIdempotency],
    };

    public static readonly Query<TenantRow> ByOwner = new(
        $"SELECT {Columns} FROM tenants WHERE app = $1 AND livemode = $2 AND account = $3", From);

    public static readonly Query<TenantRow> ByNumber = new($"SELECT {Columns} FROM tenants WHERE id = $1", From);

    /// <summary>The counter of one by its number.</summary>
    public static readonly Query<long> CounterByNumber = new(
        "SELECT counter FROM tenants WHERE id = $1", static row => row.Number(0));

    /// <summary>1 or nothing.</summary>
    public static readonly Query<long> OfApp = new(
        "SELECT CAST(1 AS BIGINT) FROM tenants WHERE app = $1 LIMIT 1", static row => row.Number(0));

    private const string AddOfApp = """
        INSERT INTO tenants (app, livemode, account, created, sealed_keys, counter, keys, install)
        SELECT id, $1, $2, $3, $4, $5, $6, $7 FROM apps WHERE id = $8
        """;

    private const string UnlessThere = "ON CONFLICT (app, livemode, account) DO NOTHING";

    public const string Add = $"{AddOfApp} {UnlessThere}";

    // The app is held against its deletion by another node: a deleted one is waited for, and then has no tenant added.
    public const string AddShared = $"{AddOfApp} FOR KEY SHARE {UnlessThere}";

    /// <summary>1 if a tenant is to be added: its app is there and it is not; else 0.</summary>
    public static readonly Query<long> MayAdd = new("""
        SELECT count(*) FROM apps
        WHERE NOT EXISTS (SELECT 1 FROM tenants WHERE livemode = $1 AND account = $2 AND app = $3) AND id = $3
        """, static row => row.Number(0));

    /// <summary>
    /// Those from a number on whose keys are not sealed under a root key, given as the 4 bytes of its version.
    /// </summary>
    public static readonly Query<OwnedTenantRow> NotUnder = new($"""
        SELECT {OwnedTenantRow.Columns} FROM tenants
        WHERE substr(sealed_keys, 3, 4) <> $1 AND id >= $2 ORDER BY id LIMIT $3
        """, OwnedTenantRow.From);

    /// <summary>How many these are.</summary>
    public static readonly Query<long> CountNotUnder = new(
        "SELECT count(*) FROM tenants WHERE substr(sealed_keys, 3, 4) <> $1", static row => row.Number(0));

    private const string Chosen = """
        FROM tenants WHERE app = $1 AND id > $2 AND (CAST($3 AS TEXT) IS NULL OR account = $3)
        AND (CAST($4 AS INTEGER) IS NULL OR livemode = $4)
        """;

    /// <summary>Those of an app after a number, of one account or of all, in one mode or in both.</summary>
    public static readonly Query<OwnedTenantRow> OfAppAfter = new(
        $"SELECT {OwnedTenantRow.Columns} {Chosen} ORDER BY id LIMIT $5", OwnedTenantRow.From);

    /// <summary>How many these are, and the greatest number among them.</summary>
    public static readonly Query<(long Count, long Last)> CountOfAppAfter = new(
        $"SELECT count(*), coalesce(max(id), 0) {Chosen}", static row => (row.Number(0), row.Number(1)));

    /// <summary>Those of all apps from a number on.</summary>
    public static readonly Query<OwnedTenantRow> AllFrom = new(
        $"SELECT {OwnedTenantRow.Columns} FROM tenants WHERE id >= $1 ORDER BY id LIMIT $2", OwnedTenantRow.From);

    public static readonly Query<(long Count, long Last)> CountOfAll = new(
        "SELECT count(*), coalesce(max(id), 0) FROM tenants", static row => (row.Number(0), row.Number(1)));

    /// <summary>
    /// How many rows of a tenant are not under one of its keys, given as the 4 bytes of its version: of each kind that
    /// is sealed under them. Only such as are listed to be sealed again: of names and keys after an empty one. SQLite
    /// keeps a text among bytes, which comes before them all.
    /// </summary>
    public static readonly Query<long> CountNotUnderNewest = new("""
        SELECT (SELECT count(*) FROM secrets WHERE tenant = $1 AND substr(sealed, 3, 4) <> $2 AND name > $3)
            + (SELECT count(*) FROM idempotency WHERE tenant = $1 AND substr(sealed, 3, 4) <> $2 AND key > $3)
            + (SELECT count(*) FROM replies WHERE tenant = $1 AND substr(sealed, 3, 4) <> $2 AND key > $3)
            + (SELECT count(*) FROM events WHERE tenant = $1 AND substr(sealed, 3, 4) <> $2 AND seq > -1)
        """, static row => row.Number(0));

    /// <summary>Of a tenant whose row is held.</summary>
    public const string PutKeys = "UPDATE tenants SET sealed_keys = $1, counter = $2, keys = $3 WHERE id = $4";

    public const string Rewrap = "UPDATE tenants SET sealed_keys = $1 WHERE id = $2 AND sealed_keys = $3";

    public const string DeleteSecrets = "DELETE FROM secrets WHERE tenant = $1";
    public const string DeleteIdempotency = "DELETE FROM idempotency WHERE tenant = $1";
    public const string DeleteReplies = "DELETE FROM replies WHERE tenant = $1";
    public const string Delete = "DELETE FROM tenants WHERE id = $1";

    /// <summary>One more at each change of the keys; 0 in their format 1.</summary>
    public long Counter { get; init; }

    /// <summary>How many keys seal or open: one, but for a rotation.</summary>
    public long Keys { get; init; } = 1;

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static TenantRow From(IRow row)
    {
        var isSound = row.Has("nbnn");
        return From(row, 0, isSound);
    }

    /// <param name="row">The row.</param>
    /// <param name="first">Its first column of a tenant.</param>
    /// <param name="isSound">Whether its columns have their types.</param>
    public static TenantRow From(IRow row, int first, bool isSound) => new(row.Number(first), row.Bytes(first + 1))
    {
        Counter = row.Number(first + 2),
        Keys = row.Number(first + 3),
        IsSound = isSound,
    };
}

/// <summary>A tenant's row, and whose it is.</summary>
internal sealed record OwnedTenantRow(TenantId Tenant, TenantRow Row)
{
    public const string Columns = $"app, livemode, account, {TenantRow.Columns}";

    public long Id => Row.Id;

    public static OwnedTenantRow From(IRow row)
    {
        var isSound = row.Has("tntnbnn") && row.Number(1) is 0 or 1;
        return isSound
            ? new(new TenantId(row.Text(0), row.Number(1) != 0, row.Text(2)), TenantRow.From(row, 3, isSound))
            : new(new TenantId("", Livemode: false, ""), new TenantRow(row.Number(3), []) { IsSound = false });
    }
}

/// <summary>A tenant of an account, with how many unexpired secrets it has.</summary>
internal sealed record CountedTenantRow(long Id, bool Livemode, long Secrets, long Created)
{
    // Counted to be forgotten: that accepts a damaged tenant too.
    public static readonly Query<CountedTenantRow> OfAccount = new("""
        SELECT id, livemode,
            (SELECT count(*) FROM secrets WHERE tenant = t.id AND (expires_at IS NULL OR expires_at > $1)), created
        FROM tenants t WHERE app = $2 AND account = $3 ORDER BY id
        """, static row => new(row.Number(0), row.Number(1) != 0, row.Number(2), row.Number(3)));
}

/// <summary>
/// An account of an app: when something was first stored for it, and how many unexpired secrets it has in each mode.
/// </summary>
internal sealed record AccountRow(string Account, long Created, long Test, long Live)
{
    private const string Counted = """
        SELECT account, min(created),
            CAST(sum(CASE WHEN livemode = 0 THEN n ELSE 0 END) AS BIGINT),
            CAST(sum(CASE WHEN livemode <> 0 THEN n ELSE 0 END) AS BIGINT),
            CAST(sum(CASE WHEN livemode IN (0, 1) THEN 0 ELSE 1 END) AS BIGINT)
        FROM (
            SELECT t.account, t.livemode, t.created,
                (SELECT count(*) FROM secrets s
                    WHERE s.tenant = t.id AND (s.expires_at IS NULL OR s.expires_at > $1)) AS n
            FROM tenants t WHERE t.app = $2 AND t.account
        """;

    public static readonly Query<AccountRow> After = new(
        $"{Counted} > $3) AS counted GROUP BY account ORDER BY account LIMIT $4", From);

    public static readonly Query<AccountRow> Before = new(
        $"{Counted} < $3) AS counted GROUP BY account ORDER BY account DESC LIMIT $4", From);

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static AccountRow From(IRow row)
    {
        var isSound = row.Has("tnnnn") && row.Number(4) == 0 && UnixTime.IsStorable(row.Number(1));
        return new(row.Text(0), row.Number(1), row.Number(2), row.Number(3)) { IsSound = isSound };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Adds a tenant unless it is there, the first to come deciding its keys, or its app is not.</summary>
    public sealed record AddTenant(TenantId Tenant, long Created, byte[] SealedKeys) : RowWrite
    {
        private static readonly SqlText Text = new(TenantRow.Add, TenantRow.AddShared);

        public long Counter { get; init; }

        public long Keys { get; init; } = 1;

        /// <inheritdoc cref="InstallRow.Install"/>
        public string? Install { get; init; }

        public override IReadOnlyList<Statement> Statements =>
        [
            new(Text, Tenant.Livemode, Tenant.Account, Created, SealedKeys, Counter, Keys, Install, Tenant.App)
            {
                Count = (TenantRow.MayAdd, [Tenant.Livemode, Tenant.Account, Tenant.App]),
            },
        ];

        public override string? Single => $"tenants {Tenant}";

        public override Sources Writes => Sources.Tenants;

        public override bool IsUnderRoot => true;
    }

    /// <summary>Puts a tenant's keys under another root key, unless it is gone or they are not as they were.</summary>
    public sealed record RewrapTenant(long Number, byte[] Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(TenantRow.Rewrap, After, Number, Before)];

        public override bool IsUnderRoot => true;
    }

    /// <summary>Gives a tenant other keys; whoever decides it has compared the counter.</summary>
    public sealed record PutTenantKeys(long Number, TenantId Tenant, byte[] SealedKeys, long Counter, long Keys)
        : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(TenantRow.PutKeys, SealedKeys, Counter, Keys, Number)];

        public override bool IsUnderRoot => true;

        public override Sources Writes => Sources.Tenants;
    }

    /// <summary>
    /// Removes a tenant's keys and all that hangs under it; what was removed is not left in the engine's files.
    /// </summary>
    public sealed record ShredTenant(long Number, TenantId Tenant) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(TenantRow.DeleteSecrets, Number), new(TenantRow.DeleteIdempotency, Number),
            new(TenantRow.DeleteReplies, Number),
            new(DeliveryRow.DeleteOfTenant, Number), new(EventRow.DeleteOfTenant, Number),
            new(DeliveryRow.DeleteOfAccount, Tenant.App, Tenant.Livemode, Tenant.Account),
            new(EventRow.DeleteOfAccount, Tenant.App, Tenant.Livemode, Tenant.Account),
            new(TenantRow.Delete, Number),
        ];

        public override Sources Writes => Sources.Tenants | Sources.Secrets;
    }
}
