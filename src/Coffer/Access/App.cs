using System.Buffers;
using System.Buffers.Binary;
using System.IO.Enumeration;
using System.Security.Cryptography;
using System.Text;
using System.Text.Unicode;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>A third-party program that keeps secrets here, with what it is set to.</summary>
/// <param name="Id"><c>app_…</c></param>
/// <param name="Name">For people; 1 to 200 characters.</param>
/// <param name="Account">The app's own account, in which its keys act when they name no other.</param>
/// <param name="Created">Unix seconds.</param>
internal sealed record App(string Id, string Name, string Account, long Created)
{
    public const int LongestName = 200;
    public const int MostOrigins = 20;
    public const int LongestAccountPattern = 255, MostStars = 4;

    private const int MostSigningSecrets = 2;

    // Programs before there were two modes read and write 1 to 4 only: to them a test secret is not there.
    private const byte DisabledTag = 1, QuotaTag = 2, OriginTag = 3, LiveSigningTag = 4, TestSigningTag = 6,
        GenerationTag = 16, AccountPatternTag = 17, AccountRequiredTag = 18, SecretsEndedTag = 19,
        ExplicitInstallsTag = 20, UninstallDisabledTag = 21, EventsTag = 22;
    private static ReadOnlySpan<byte> OnceTags =>
    [
        DisabledTag, QuotaTag, GenerationTag, AccountPatternTag, AccountRequiredTag, SecretsEndedTag,
        ExplicitInstallsTag, UninstallDisabledTag, EventsTag,
    ];

    private static ReadOnlySpan<byte> FlagTags =>
        [DisabledTag, AccountRequiredTag, ExplicitInstallsTag, UninstallDisabledTag, EventsTag];

    private static ReadOnlySpan<byte> OftenTags => [OriginTag, LiveSigningTag, TestSigningTag];

    /// <summary>While it is true every key of the app is refused.</summary>
    public bool IsDisabled { get; init; }

    /// <summary>How many secrets a scope may hold; null is the server's own quota.</summary>
    public int? SecretsPerScope { get; init; }

    /// <summary>
    /// What the accounts that requests name look like: characters of an account's id, and <c>*</c> for any number of
    /// them. Null is any.
    /// </summary>
    public string? AccountPattern { get; init; }

    /// <summary>Whether requests have to name an account, and so never mean the app's own by leaving it out.</summary>
    public bool IsAccountRequired { get; init; }

    /// <summary>Whether an account has to be installed before something is stored for it.</summary>
    public bool AreInstallsExplicit { get; init; }

    /// <summary>Whether its keys may not uninstall it.</summary>
    public bool IsUninstallDisabled { get; init; }

    /// <summary>Whether what happens to its secrets, keys and accounts is kept as events.</summary>
    public bool HasEvents { get; init; }

    /// <summary>The web origins from which browsers may use the app's keys; empty is any.</summary>
    public IReadOnlyList<string> Origins { get; init; } = [];

    /// <summary>
    /// What signs in live mode that a browser is a user: the newest, and the one before it in its grace period.
    /// </summary>
    public IReadOnlyList<SigningSecret> LiveSigningSecrets { get; init; } = [];

    /// <summary>The number of the commit that ended all that its keys had minted; 0 if none did.</summary>
    public long Generation { get; init; }

    /// <summary>
    /// The newest pepper of which a renewal has ended the signing secrets of before; 0 if none has.
    /// </summary>
    public uint SecretsEnded { get; init; }

    /// <summary>The same in test mode.</summary>
    public IReadOnlyList<SigningSecret> TestSigningSecrets { get; init; } = [];

    public const string IdPrefix = "app_";

    private static readonly SearchValues<char> PatternCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-*");

    /// <summary>Whether a text can be an <see cref="AccountPattern"/>.</summary>
    public static bool IsAccountPattern(string text) => text.Length is > 0 and <= LongestAccountPattern
        && text.AsSpan().Count('*') <= MostStars && !text.AsSpan().ContainsAnyExcept(PatternCharacters);

    /// <summary>Whether requests may name an account: its own always.</summary>
    public bool Takes(string account) => AccountPattern is null || account == Account
        || FileSystemName.MatchesSimpleExpression(AccountPattern, account, ignoreCase: false);

    /// <summary>An app with an account of its own and a first signing secret of each mode.</summary>
    public static (App App, NewSigningSecrets Secrets) Create(Instance instance, string name, long now)
    {
        var ((test, testText), (live, liveText)) = (SigningSecret.Generate(), SigningSecret.Generate());
        var app = new App(ManagedId.New(instance, IdPrefix, now), name, NewAccount(), now);
        var pepper = instance.Peppers.Newest.Number;
        app = app with
        {
            TestSigningSecrets = [test],
            LiveSigningSecrets = [live],
            SecretsEnded = pepper > 1 ? pepper : 0, // those that were there before
        };
        return (app, new NewSigningSecrets(testText, liveText));
    }

    /// <summary>
    /// What is wrong with the row, or null: if anything is, the app's keys are refused, and nothing of it is known but
    /// id and name.
    /// </summary>
    public string? Fault { get; private init; }

    public bool IsDamaged => Fault is not null;

    /// <summary>What signs in a mode at a Unix second, newest first.</summary>
    public IEnumerable<SigningSecret> SigningSecretsAt(bool livemode, long now) =>
        SigningSecretsOf(livemode).Where(secret => !(secret.ExpiresAt <= now));

    /// <summary>The app with a new signing secret of a mode, beside which the last one signs until then.</summary>
    /// <param name="livemode">The mode; what signs in the other stays.</param>
    /// <param name="lastUntil">A Unix second; null ends the last one at once.</param>
    public (App App, NewSigningSecrets Secrets) RollSigningSecret(bool livemode, long? lastUntil)
    {
        var (secret, text) = SigningSecret.Generate();
        List<SigningSecret> secrets = [secret];
        if (lastUntil is { } until)
            secrets.AddRange(SigningSecretsOf(livemode).Take(1).Select(last => last.Until(until)));
        return livemode
            ? (this with { LiveSigningSecrets = secrets }, new NewSigningSecrets(null, text))
            : (this with { TestSigningSecrets = secrets }, new NewSigningSecrets(text, null));
    }

    /// <summary>
    /// The app without any signing secret, because others may know them; null if those of before a pepper were ended
    /// already.
    /// </summary>
    public App? WithoutSecretsOf(Pepper pepper) => SecretsEnded >= pepper.Number ? null : this with
    {
        SecretsEnded = pepper.Number,
        LiveSigningSecrets = [],
        TestSigningSecrets = [],
    };

    /// <summary>What was changed of what it is set to, for the audit entry; its name is not.</summary>
    /// <param name="before">As it was; null if it is made.</param>
    /// <param name="after">As it is.</param>
    public static string? Changed(App? before, App after) => new Changes()
        .Flag("disabled", before?.IsDisabled ?? false, after.IsDisabled)
        .Number("secrets_per_scope", before?.SecretsPerScope, after.SecretsPerScope)
        .Texts("origins", before?.Origins, after.Origins)
        .Text("account_pattern", before?.AccountPattern, after.AccountPattern)
        .Flag("account_required", before?.IsAccountRequired ?? false, after.IsAccountRequired)
        .Text("installs", before is null ? null : Word(before), Word(after))
        .Flag("uninstall_disabled", before?.IsUninstallDisabled ?? false, after.IsUninstallDisabled)
        .Flag("events", before?.HasEvents ?? false, after.HasEvents).Json;

    /// <summary>Whether events of an app are kept; of none that is not there.</summary>
    public static async ValueTask<bool> HasEventsAsync(
        Engine engine, Instance instance, string app, CancellationToken ct) =>
        await engine.FindAppAsync(app, ct) is { } row && Inspect(row, instance).HasEvents;

    /// <summary>What an app says of installs, as the API has it.</summary>
    public const string ExplicitInstalls = "explicit", ImplicitInstalls = "implicit";

    private static string? Word(App app) => app.AreInstallsExplicit ? ExplicitInstalls : null;

    /// <exception cref="ApiError">400: nodes of the release before run, and do not know what it is set to.</exception>
    public AppRow ToRow(Instance instance)
    {
        // To a program that does not know these fields the app is damaged, and its keys are refused.
        if ((AccountPattern is not null || IsAccountRequired) && instance.Level < Control.AccountRules)
            throw ApiError.OlderNodesRun("rules for accounts");
        if ((AreInstallsExplicit || IsUninstallDisabled) && instance.Level < Control.Installs)
            throw ApiError.OlderNodesRun("rules for installs");
        if (HasEvents && instance.Level < Control.Events)
            throw ApiError.OlderNodesRun("events");
        var fields = new List<(byte Tag, ReadOnlyMemory<byte> Value)>();
        if (IsDisabled)
            fields.Add((DisabledTag, default));
        if (SecretsPerScope is { } quota)
        {
            var value = new byte[sizeof(int)];
            BinaryPrimitives.WriteInt32BigEndian(value, quota);
            fields.Add((QuotaTag, value));
        }

        fields.AddRange(Origins.Select(origin => (OriginTag, (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(origin))));
        fields.AddRange(LiveSigningSecrets.Select(secret => (LiveSigningTag, secret.Stored)));
        fields.AddRange(TestSigningSecrets.Select(secret => (TestSigningTag, secret.Stored)));

        if (Generation > 0)
        {
            var value = new byte[sizeof(long)];
            BinaryPrimitives.WriteInt64BigEndian(value, Generation);
            fields.Add((GenerationTag, value));
        }

        if (AccountPattern is { } pattern)
            fields.Add((AccountPatternTag, Encoding.UTF8.GetBytes(pattern)));
        if (IsAccountRequired)
            fields.Add((AccountRequiredTag, default));
        if (AreInstallsExplicit)
            fields.Add((ExplicitInstallsTag, default));
        if (IsUninstallDisabled)
            fields.Add((UninstallDisabledTag, default));
        if (HasEvents)
            fields.Add((EventsTag, default));
        if (SecretsEnded > 0)
        {
            var value = new byte[sizeof(uint)];
            BinaryPrimitives.WriteUInt32BigEndian(value, SecretsEnded);
            fields.Add((SecretsEndedTag, value));
        }

        using var plaintext = SecretBytes.Rent(fields.Sum(field => Tlv.SizeOf(field.Value.Span)));
        var rest = plaintext.Span;
        foreach (var (tag, value) in fields)
            rest = Tlv.Write(rest, tag, value.Span);
        using var bound = Bind(instance, Id, Account, Created);
        return new AppRow(Id, Name, Account, Created, instance.Roots.Seal(SealedKind.App, plaintext.Span, bound.Span));
    }

    /// <exception cref="ApiError">The row was changed outside Coffer.</exception>
    public static App From(AppRow row, Instance instance)
    {
        var app = Inspect(row, instance);
        return app.Damage is { } damage ? throw ApiError.RecordDamaged("app", damage) : app;
    }

    /// <summary>The app as it stands there, damaged or not: to be shown, or deleted.</summary>
    public static App Inspect(AppRow row, Instance instance)
    {
        var app = new App(row.Id, row.Name, row.Account, row.Created);
        if (!row.IsSound)
            return app with { Fault = DamagedRow.Columns };
        // Only a store that a program of schema 1 made has apps without settings, until the next start seals them.
        if (row.Sealed is null)
            return instance.AppsAreSealed ? app with { Fault = "its settings, which are gone" } : app;
        using var bound = Bind(instance, row.Id, row.Account, row.Created);
        using var settings = instance.Roots.Open(row.Sealed, bound.Span);
        if (settings is null)
            return app with { Fault = "its proof" };
        return app.With(settings.Memory) ?? app with { Fault = "the form of its settings" };
    }

    /// <summary>An app's settings under the root key that seals; null if they do not open.</summary>
    public static byte[]? Rewrap(Instance instance, AppRow row)
    {
        using var bound = Bind(instance, row.Id, row.Account, row.Created);
        return row.IsSound ? instance.Roots.Reseal(SealedKind.App, row.Sealed, bound.Span) : null;
    }

    /// <summary>The row, if it is damaged.</summary>
    public DamagedRow? Damage => Fault is null ? null : AppRow.Damage(Id, Fault);

    private IReadOnlyList<SigningSecret> SigningSecretsOf(bool livemode) =>
        livemode ? LiveSigningSecrets : TestSigningSecrets;

    // Null if the settings are not in the form in which this program writes them.
    private App? With(ReadOnlyMemory<byte> fields)
    {
        if (!Tlv.AreSound(fields.Span, OnceTags, OftenTags))
            return null;
        foreach (var flag in FlagTags)
        {
            if (Tlv.Find(fields.Span, flag) is { } set && !fields.Span[set].IsEmpty)
                return null;
        }

        int? quota = null;
        if (Tlv.Find(fields.Span, QuotaTag) is { } at)
        {
            if (fields.Span[at].Length != sizeof(int))
                return null;
            quota = BinaryPrimitives.ReadInt32BigEndian(fields.Span[at]);
            if (quota < 1)
                return null;
        }

        var generation = 0L;
        if (Tlv.Find(fields.Span, GenerationTag) is { } of)
        {
            if (fields.Span[of].Length != sizeof(long))
                return null;
            generation = BinaryPrimitives.ReadInt64BigEndian(fields.Span[of]);
            if (generation < 1)
                return null;
        }

        var pattern = Tlv.Text(fields.Span, AccountPatternTag);
        if (!Tlv.IsTextOrNone(fields.Span, AccountPatternTag) || (pattern is not null && !IsAccountPattern(pattern)))
            return null;
        var ended = 0u;
        if (Tlv.Find(fields.Span, SecretsEndedTag) is { } since)
        {
            if (fields.Span[since].Length != sizeof(uint))
                return null;
            ended = BinaryPrimitives.ReadUInt32BigEndian(fields.Span[since]);
        }

        var origins = Tlv.All(fields.Span, OriginTag);
        if (origins.Count > MostOrigins || !origins.All(origin => IsText(fields.Span[origin])))
            return null;
        if (Secrets(LiveSigningTag) is not { } live || Secrets(TestSigningTag) is not { } test)
            return null;
        return this with
        {
            IsDisabled = Tlv.Find(fields.Span, DisabledTag) is not null,
            SecretsPerScope = quota,
            AccountPattern = pattern,
            IsAccountRequired = Tlv.Find(fields.Span, AccountRequiredTag) is not null,
            AreInstallsExplicit = Tlv.Find(fields.Span, ExplicitInstallsTag) is not null,
            IsUninstallDisabled = Tlv.Find(fields.Span, UninstallDisabledTag) is not null,
            HasEvents = Tlv.Find(fields.Span, EventsTag) is not null,
            Origins = [.. origins.Select(origin => Encoding.UTF8.GetString(fields.Span[origin]))],
            LiveSigningSecrets = live,
            TestSigningSecrets = test,
            Generation = generation,
            SecretsEnded = ended,
        };

        List<SigningSecret>? Secrets(byte tag)
        {
            var secrets = Tlv.All(fields.Span, tag).Select(secret => SigningSecret.Parse(fields.Span[secret])).ToList();
            var isSound = secrets.Count <= MostSigningSecrets && !secrets.Contains(null);
            return isSound ? [.. secrets.OfType<SigningSecret>()] : null;
        }

        static bool IsText(ReadOnlySpan<byte> value) => !value.IsEmpty && Utf8.IsValid(value);
    }

    private static AssociatedData Bind(Instance instance, string id, string account, long created)
    {
        var bound = SealedKind.App.Bind();
        bound.Add(instance.Id);
        bound.Add(id);
        bound.Add(account);
        bound.Add(created);
        return bound;
    }

    private static string NewAccount() => "acct_" + RandomNumberGenerator.GetString(Base62.Alphabet, 16);
}
