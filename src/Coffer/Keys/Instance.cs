// Keys: root keys, what wraps them, and the store's own identity. This room never decides who may do what.

using System.Security.Cryptography;
using System.Text;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>
/// What makes a store this store: a random id that every sealed thing is bound to, the root keys, and the pepper of its
/// API keys. All of it is sealed: without what wraps the root keys a store does not open.
/// </summary>
internal sealed partial class Instance
{
    /// <summary>
    /// Where <c>meta</c> says that the store is the target of a migration that is not finished; the value is the
    /// store's id.
    /// </summary>
    public const string MigrationMetaKey = "migration";

    /// <summary>
    /// Where <c>meta</c> says that the store was migrated: the value is when and where to, as UTF-8. It is not copied.
    /// </summary>
    public const string MovedMetaKey = "moved";

    private const int IdSize = Control.StoreIdSize;
    private const int PepperSize = Control.PepperSize;

    private readonly Lock taking = new();
    private RootKeys inForce;
    private Peppers peppers;
    private ControlFacts? known;
    private SigningKeys signingKeys;

    private Instance(
        RootKeys roots, byte[] id, Peppers peppers, SigningKeys signing, ControlFacts? facts) =>
        (inForce, this.peppers, signingKeys, known, Id) = (roots, peppers, signing, facts, id);

    /// <summary>What <c>meta</c> has of the store's own secrets, at whichever level.</summary>
    public static IReadOnlyList<string> MetaKeys { get; } =
    [
        Control.MetaKey, Control.StoreMetaKey, RecoveryShares.MetaKey, LevelOne.IdentityMetaKey,
        LevelOne.SigningMetaKey,
    ];

    /// <summary>
    /// Whether the settings of every app are sealed, so that an app without any is damaged. Only a store of schema 1
    /// had others, until its first start with a program that knows this.
    /// </summary>
    public bool AppsAreSealed { get; private set; } = true;

    /// <summary>Which forms are written into the store (docs/envelope.md, "Levels").</summary>
    public long Level => Facts?.Level ?? 1;

    /// <summary>Whether the store was restored and does nothing by itself yet.</summary>
    public bool IsHeld => Facts?.IsHeld == true;

    /// <summary>What the control row says; null of a store of level 1.</summary>
    public ControlFacts? Facts => Volatile.Read(ref known);

    /// <summary>The same of a store that serves: such a store has one.</summary>
    public ControlFacts FactsInForce =>
        Facts ?? throw new InvalidOperationException("a store that serves has a control row");

    public RootKeys Roots => Volatile.Read(ref inForce);

    /// <summary>What an anchor has of the identity: who writes the database cannot make another one's.</summary>
    public byte[] AnchorMark => Peppers.Newest.Mark;

    /// <summary>Whether a mark is of the store, now or before: an anchor may have slept.</summary>
    public bool HasMark(byte[] mark) =>
        Peppers.All.Any(own => CryptographicOperations.FixedTimeEquals(own.Mark, mark));

    /// <summary>What proves: which keys of API keys, the audit log and others come from it.</summary>
    public Peppers Peppers => Volatile.Read(ref peppers);

    /// <summary>Called when other peppers are believed than before, or a renewal has come further.</summary>
    public Action WhenRenewed { get; set; } = static () => { };

    /// <summary>16 random bytes; not a secret.</summary>
    public byte[] Id { get; }

    /// <summary>Key of the MAC under which a token is stored. It finds, and proves nothing.</summary>
    public MacKey TokenKey => Peppers.First.Token;

    /// <summary>Key of the MAC that binds an API key's row to its token, and of what is proven like it.</summary>
    public MacKey ProofKey => Peppers.Newest.Proof;

    /// <summary>
    /// Key of the MAC that shows an id to be of an app or API key of this store: where a list continues.
    /// </summary>
    public MacKey ManagedIdKey => Peppers.First.ManagedId;

    /// <summary>Key of the MAC that shows an id to be of an ephemeral key of an account, to be ended.</summary>
    public MacKey EphemeralIdKey => Peppers.First.EphemeralId;

    /// <summary>
    /// Seals the claims of ephemeral keys of format 1. It outlives a rotation of the root keys, as the pepper does.
    /// </summary>
    public SealingKey EphemeralKey => Peppers.Newest.Ephemeral;

    /// <summary>The same of format 2, which a program that knows only format 1 has no key for.</summary>
    public SealingKey EphemeralKey2 => Peppers.Newest.Ephemeral2;

    /// <summary>Seals what idempotency keys have kept outside tenants, receipts, and the record of rotations.</summary>
    public SealingKey ReplyKey => Peppers.Newest.Reply;

    /// <summary>Key of the MACs that prove back-ups to be of this store.</summary>
    public MacKey BackupKey => Peppers.Newest.Backup;

    /// <summary>Sign the audit log's checkpoints and the receipts of what was forgotten.</summary>
    public SigningKeys Signing => Volatile.Read(ref signingKeys);

    /// <summary>The one of them that signs, ECDSA P-256.</summary>
    public ECDsa AuditSigningKey => Signing.Newest;

    /// <summary>Whether the store has an identity yet. One that has is never given another.</summary>
    public static async Task<bool> ExistsAsync(Engine engine, CancellationToken ct) =>
        await engine.FindMetaAsync(Control.MetaKey, ct) is not null
        || await engine.FindMetaAsync(LevelOne.IdentityMetaKey, ct) is not null;

    /// <summary>Refuses the target of an unfinished migration: what is in it is a part, and not proven.</summary>
    /// <exception cref="ConfigurationException">It is one.</exception>
    public static async Task RequireWholeAsync(Engine engine, CancellationToken ct)
    {
        if (await engine.FindMetaAsync(MigrationMetaKey, ct) is not null)
            throw Unfinished();
    }

    /// <summary>Refuses that too, and a store that was migrated: it would live on as a second one.</summary>
    /// <exception cref="ConfigurationException">It is one of them.</exception>
    public static async Task RequireServableAsync(Engine engine, CancellationToken ct)
    {
        await RequireWholeAsync(engine, ct);
        if (await engine.FindMetaAsync(MovedMetaKey, ct) is { } where)
            throw Moved(where);
    }

    public static ConfigurationException Moved(byte[] where) =>
        new($"this store was migrated {Encoding.UTF8.GetString(where)}, and is closed",
        "Use that one; if it is lost, restore a back-up of it. To go back, migrate it into an empty directory or "
            + "database. Nothing was changed.");

    public static ConfigurationException Unfinished() =>
        new("the store is the target of an unfinished migration or restoration and cannot be used",
        "Run the same coffer migrate or coffer restore command again: it continues where it stopped.");

    /// <summary>
    /// The rows that make an empty store this program's, to be committed with whatever else a first start writes.
    /// </summary>
    /// <param name="wrappers">Each wraps the first root key.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="ct">Ends the wait for a wrapper.</param>
    /// <param name="settings">The settings that it begins with; null leaves that to the first server.</param>
    /// <exception cref="KeyServiceException">One could not wrap it.</exception>
    public static async Task<(Instance Instance, RowWrite[] Rows)> CreateAsync(
        KeyWrappers wrappers, long now, CancellationToken ct, IReadOnlyDictionary<string, string>? settings = null)
    {
        using var pepper = SecretBytes.Rent(PepperSize);
        RandomNumberGenerator.Fill(pepper.Span);
        using var signing = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var pkcs8 = signing.ExportPkcs8PrivateKey();
        try
        {
            var id = RandomNumberGenerator.GetBytes(IdSize);
            var root = RootKeys.Generate(1);
            var (instance, stored) = await MakeAsync(
                id, root, now, pepper.Memory, pkcs8, wrappers, now, ct, settings: settings);
            return (instance, stored.Writes);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(pkcs8);
        }
    }

    /// <summary>Proves that the wrappers belong to this store.</summary>
    /// <inheritdoc cref="StoredKeys.OpenAsync" path="/exception"/>
    public static async Task<Instance> OpenAsync(Engine engine, KeyWrappers wrappers, CancellationToken ct)
    {
        await RequireWholeAsync(engine, ct);
        return await OpenAsync(await StoredKeys.ReadAsync(engine, ct), wrappers, ct);
    }

    /// <inheritdoc cref="OpenAsync(Engine, KeyWrappers, CancellationToken)"/>
    public static async Task<Instance> OpenAsync(StoredKeys stored, KeyWrappers wrappers, CancellationToken ct)
    {
        if (!stored.Meta.ContainsKey(Control.MetaKey))
        {
            using var old = LevelOne.Open(stored, wrappers);
            Control.Numbered[] signing = [new Control.Numbered(1, old.SigningKey)];
            return new Instance(
                old.Roots, old.Id, Peppers.Of(old.Pepper.Span), SigningKeys.Open(old.Id, signing), facts: null)
            {
                AppsAreSealed = old.AppsAreSealed,
            };
        }

        var (roots, control, troubles) = await stored.OpenAsync(wrappers, ct);
        using (control)
        {
            var id = stored.Meta[Control.StoreMetaKey];
            return new Instance(roots, id, Peppers.Of(control), SigningKeys.Open(id, control),
                ControlFacts.Of(control, stored.Meta[Control.MetaKey], stored.Roots))
            {
                Troubles = troubles,
            };
        }
    }

    /// <summary>
    /// The rows that raise a store of level 1 to the first that has a control row: its identity goes into it, and
    /// its root keys are wrapped by all that is set. Once they are durable, what is given is in force.
    /// </summary>
    /// <exception cref="ConfigurationException">The identity was changed since it was opened.</exception>
    /// <exception cref="KeyServiceException">A wrapper could not wrap.</exception>
    public async Task<(RowWrite[] Rows, Action Durable)> RaiseAsync(
        Engine engine, KeyWrappers wrappers, long now, CancellationToken ct)
    {
        var (raised, rows) = await RaiseAsync(await StoredKeys.ReadAsync(engine, ct), wrappers, now, ct);
        RowWrite[] all =
        [
            .. rows.Writes.Select(row => row is RowWrite.PutRootKey { Row.Version: var version }
                ? new RowWrite.EmptyRootKey(version) : row),
            new RowWrite.DeleteMeta(LevelOne.IdentityMetaKey), new RowWrite.DeleteMeta(LevelOne.SigningMetaKey),
        ];
        return (all, Durable);

        void Durable()
        {
            AppsAreSealed = true;
            Take(new InForce(Roots, raised.Facts!, Peppers));
        }
    }

    /// <summary>
    /// The row by which the store begins another life, once it is accepted that it went back; nothing of a store of
    /// level 1. Once it is durable, what is given is in force.
    /// </summary>
    /// <param name="engine">Where the store is.</param>
    /// <param name="anchor">The serial that an anchor has, or 0.</param>
    /// <param name="known">The greatest number of a generation that is known from elsewhere, or 0.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>The rows, the generation that begins with them, and what to do once they are durable.</returns>
    /// <exception cref="ConfigurationException">The control row was changed since it was opened.</exception>
    public async Task<(RowWrite[] Rows, StoreGeneration? Generation, Action Durable)> StepBackAsync(
        Engine engine, long anchor, long known, long now, CancellationToken ct)
    {
        if (Facts is not { } facts)
            return ([], null, static () => { });
        var stored = await StoredKeys.ReadAsync(engine, ct);
        using var control = Control.Open(Id, stored.Meta.GetValueOrDefault(Control.MetaKey), Roots) ?? throw Changed();
        var last = Math.Max(control.Generation.Number, known);
        var next = control with { Generation = StoreGeneration.After(last, now) };
        var before = control with { Serial = Math.Max(control.Serial, anchor) };
        var (row, changed) = ControlChange.Write(this, before, next, facts);
        return ([row], next.Generation, () => Take(changed));
    }

    /// <summary>Whether the root key still opens what it seals: memory and cryptography work.</summary>
    public bool ProvesItself()
    {
        using var purpose = SealedKind.Proof.Bind();
        using var opened = Roots.Open(Roots.Seal(SealedKind.Proof, Id, purpose.Span), purpose.Span);
        return opened is not null && opened.Span.SequenceEqual(Id);
    }

    public static ConfigurationException Changed() => new(
        "the store's identity cannot be opened: its root keys or its meta table were changed",
        "Restore the store from a backup. Nothing was changed.");

    private async Task<(Instance Instance, StoredKeys Stored)> RaiseAsync(
        StoredKeys stored, KeyWrappers wrappers, long now, CancellationToken ct)
    {
        if (stored.Roots is not [var row] || Roots.Find(row.Version) is not { } root)
            throw Changed();
        using var old = LevelOne.Open(stored, Roots);
        return await MakeAsync(
            Id, root, row.Created, old.Pepper.Memory, old.SigningKey.Memory, wrappers, now, ct, Control.FirstLevel);
    }

    /// <param name="version">The root key that it does not open.</param>
    public static ConfigurationException WrongKeyFile(uint version) => new(
        $"the key file cannot open this store (root key {version})",
        "Restore the key file that this store was created with; all nodes of a store need the same coffer.key. "
            + "Coffer never creates a new key for existing data.");

    private static async Task<(Instance Instance, StoredKeys Stored)> MakeAsync(
        byte[] id, SealingKey root, long created, ReadOnlyMemory<byte> pepper, ReadOnlyMemory<byte> pkcs8,
        KeyWrappers wrappers, long now, CancellationToken ct, long level = Control.CurrentLevel,
        IReadOnlyDictionary<string, string>? settings = null)
    {
        var wrappings = await WrapAsync(id, root, wrappers.All, now, ct);
        using var control = new Control
        {
            Serial = 1,
            Level = level,
            Generation = StoreGeneration.After(0, now),
            Roots = [new Control.Root(root.Version, RootState.Done, root.Hash())],
            Wrappings = [.. wrappings.Select(ControlFacts.Of)],
            Peppers = [new Control.Numbered(1, SecretBytes.ForKey(pepper.Span))],
            SigningKeys = [new Control.Numbered(1, SecretBytes.ForKey(pkcs8.Span))],
            Settings = settings,
        };
        var (roots, rows) = (new RootKeys(root), (RootKeyRow[])[new RootKeyRow(root.Version, created, [])]);
        var stored = Stored(rows, wrappings, id, control, roots);
        var facts = ControlFacts.Of(control, stored.Meta[Control.MetaKey], rows);
        return (new Instance(roots, id, Peppers.Of(control), SigningKeys.Open(id, control), facts), stored);
    }

    /// <summary>A root key, as each of some wrappers wraps it.</summary>
    /// <exception cref="KeyServiceException">One could not.</exception>
    public static async Task<IReadOnlyList<WrappingRow>> WrapAsync(
        byte[] store, SealingKey root, IEnumerable<KeyWrapper> wrappers, long now, CancellationToken ct)
    {
        var name = new RootKeyName(store, root.Version);
        using var key = root.Copy();
        using var text = name.Text(key.Span);
        var wrappings = new List<WrappingRow>();
        foreach (var wrapper in wrappers)
            wrappings.Add(new WrappingRow(root.Version, wrapper.Id, await wrapper.AskWrapAsync(name, text, ct), now));
        return wrappings;
    }

    private static StoredKeys Stored(IReadOnlyList<RootKeyRow> roots, IReadOnlyList<WrappingRow> wrappings,
        byte[] id, Control control, RootKeys under)
    {
        var sealedControl = control.Write(id, under).Value;
        return new StoredKeys([.. roots.Select(root => root with { Wrapped = [] })], wrappings,
            new Dictionary<string, byte[]> { [Control.StoreMetaKey] = id, [Control.MetaKey] = sealedControl });
    }
}
