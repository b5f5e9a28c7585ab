using System.Text;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>Where events are sent, with what it is set to (docs/events.md, "Endpoints").</summary>
/// <param name="Id"><c>we_…</c></param>
/// <param name="App">Whose it is; null is the operator's, who is sent ids only.</param>
/// <param name="Livemode">The mode of what it is sent: its secrets are for that one alone.</param>
/// <param name="Created">Unix seconds.</param>
internal sealed record WebhookEndpoint(string Id, string? App, bool Livemode, long Created)
{
    public const string IdPrefix = "we_", SecretPrefix = "whsec_";

    public const int LongestUrl = 2_048, LongestVersion = 64, LongestDescription = 500, MostOfApp = 16;

    /// <summary>How long the last secret signs beside a new one, unless it is to end sooner.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromHours(24);

    private const int MostSecrets = 2;

    private const byte UrlTag = 1, KindTag = 2, NamesTag = 3, VersionTag = 4, SecretTag = 5, DisabledTag = 6,
        SecretsEndedTag = 7, DescriptionTag = 8, FailedTag = 9, EnabledTag = 10;

    /// <summary>https, or http into networks that the server names.</summary>
    public string Url { get; init; } = "";

    // Without the path: receivers have their tokens in it.
    private string Origin => new Uri(Url).GetLeftPart(UriPartial.Authority);

    public string Description { get; init; } = "";

    /// <summary>What it wants to know of; empty is everything.</summary>
    public IReadOnlyList<string> Kinds { get; init; } = [];

    /// <summary>Whether it is sent names of secrets and users; never of one that is no app's.</summary>
    public bool HasNames { get; init; }

    /// <summary>The version of Stripe's API that events name, for the SDK that reads them.</summary>
    public string ApiVersion { get; init; } = "";

    /// <summary>While it is true nothing is sent, and what happens waits for as long as events are kept.</summary>
    public bool IsDisabled { get; init; }

    /// <summary>When it was enabled last, in Unix seconds: what waited is tried for its time from then on.</summary>
    public long EnabledAt { get; init; }

    /// <summary>Whether Coffer disabled it, because it accepted nothing for days.</summary>
    public bool HasFailed { get; init; }

    /// <summary>What signs: the newest, and the one before it in its grace period.</summary>
    public IReadOnlyList<SigningSecret> Secrets { get; init; } = [];

    /// <summary>The newest pepper of which a renewal has ended the secrets of before; 0 if none has.</summary>
    public uint SecretsEnded { get; init; }

    /// <summary>How far it has come; the store keeps it beside its settings.</summary>
    public long Position { get; init; }

    /// <summary>When it accepted something last, in Unix seconds; 0 is never.</summary>
    public long Delivered { get; init; }

    /// <summary>What is wrong with the row, or null.</summary>
    public string? Fault { get; private init; }

    public bool IsDamaged => Fault is not null;

    public DamagedRow? Damage =>
        Fault is null ? null : new DamagedRow("webhook_endpoints", Id, Fault) { App = App };

    /// <summary>What signs at a Unix second, newest first.</summary>
    public IEnumerable<SigningSecret> SecretsAt(long now) => Secrets.Where(secret => !(secret.ExpiresAt <= now));

    /// <summary>Whether something that happened is of its app and mode.</summary>
    public bool IsFor(EventRow row) => row.Livemode == Livemode && (App is null || App == row.App);

    /// <summary>Whether it is to be sent something that happened.</summary>
    public bool Wants(EventRow row) => IsFor(row)
        && (Kinds.Count == 0 || Kinds.Contains(row.Kind, StringComparer.Ordinal));

    /// <summary>The endpoint with a new secret, beside which the last one signs until then; null ends it.</summary>
    public (WebhookEndpoint Endpoint, string Secret) WithSecret(Instance instance, long? lastUntil)
    {
        var (secret, text) = SigningSecret.Generate(SecretPrefix);
        List<SigningSecret> secrets = [secret];
        if (lastUntil is { } until)
            secrets.AddRange(Secrets.Take(1).Select(last => last.Until(until)));
        var pepper = instance.Peppers.Newest.Number;
        return (this with { Secrets = secrets, SecretsEnded = pepper > 1 ? pepper : 0 }, text);
    }

    /// <summary>The endpoint without secrets, as <see cref="App.WithoutSecretsOf"/>.</summary>
    public WebhookEndpoint? WithoutSecretsOf(Pepper pepper) => SecretsEnded >= pepper.Number ? null : this with
    {
        SecretsEnded = pepper.Number,
        Secrets = [],
    };

    /// <summary>What was changed, for the audit entry: no secret, and of the URL what is no credential.</summary>
    public static string? Changed(WebhookEndpoint? before, WebhookEndpoint after) => new Changes()
        .Text("url", before?.Origin, after.Origin)
        .Flag("url_path_changed", false, before is not null && before.Url != after.Url)
        .Texts("enabled_events", before?.Kinds, after.Kinds)
        .Flag("names", before?.HasNames ?? false, after.HasNames)
        .Text("api_version", before?.ApiVersion, after.ApiVersion)
        .Flag("disabled", before?.IsDisabled ?? false, after.IsDisabled).Json;

    /// <exception cref="ApiError">400: nodes of the release before run, and do not know events.</exception>
    public EndpointRow ToRow(Instance instance)
    {
        if (instance.Level < Control.Events)
            throw ApiError.OlderNodesRun("events");
        var fields = new List<(byte Tag, ReadOnlyMemory<byte> Value)> { (UrlTag, Encoding.UTF8.GetBytes(Url)) };
        fields.AddRange(Kinds.Select(kind => (KindTag, (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(kind))));
        if (HasNames)
            fields.Add((NamesTag, default));
        fields.Add((VersionTag, Encoding.UTF8.GetBytes(ApiVersion)));
        fields.AddRange(Secrets.Select(secret => (SecretTag, secret.Stored)));
        if (IsDisabled)
            fields.Add((DisabledTag, default));
        if (SecretsEnded > 0)
            fields.Add((SecretsEndedTag, Tlv.Bytes(SecretsEnded)));
        if (Description.Length > 0)
            fields.Add((DescriptionTag, Encoding.UTF8.GetBytes(Description)));
        if (HasFailed)
            fields.Add((FailedTag, default));
        if (EnabledAt > 0)
            fields.Add((EnabledTag, Tlv.Bytes(EnabledAt)));
        using var plaintext = SecretBytes.Rent(fields.Sum(field => Tlv.SizeOf(field.Value.Span)));
        var rest = plaintext.Span;
        foreach (var (tag, value) in fields)
            rest = Tlv.Write(rest, tag, value.Span);
        var row = new EndpointRow(Id, App, Livemode, Created, []);
        using var bound = Bind(instance, row);
        return row with { Sealed = instance.Roots.Seal(SealedKind.Endpoint, plaintext.Span, bound.Span) };
    }

    /// <exception cref="ApiError">The row was changed outside Coffer.</exception>
    public static WebhookEndpoint From(Instance instance, EndpointRow row)
    {
        var endpoint = Inspect(instance, row);
        return endpoint.Damage is { } damage ? throw ApiError.RecordDamaged("webhook endpoint", damage) : endpoint;
    }

    /// <summary>The endpoint as it stands there, damaged or not: to be shown, or deleted.</summary>
    public static WebhookEndpoint Inspect(Instance instance, EndpointRow row)
    {
        var endpoint = new WebhookEndpoint(row.Id, row.App, row.Livemode, row.Created)
        {
            Position = row.Position,
            Delivered = row.Delivered,
        };
        if (!row.IsSound)
            return endpoint with { Fault = DamagedRow.Columns };
        using var bound = Bind(instance, row);
        using var settings = instance.Roots.Open(row.Sealed, bound.Span);
        if (settings is null)
            return endpoint with { Fault = "its proof" };
        return endpoint.With(settings.Span) ?? endpoint with { Fault = "the form of its settings" };
    }

    /// <summary>Its settings under the root key that seals; null if they do not open.</summary>
    public static byte[]? Rewrap(Instance instance, EndpointRow row)
    {
        using var bound = Bind(instance, row);
        return row.IsSound ? instance.Roots.Reseal(SealedKind.Endpoint, row.Sealed, bound.Span) : null;
    }

    public static DamagedRow DamageOf(EndpointRow row) =>
        new("webhook_endpoints", row.Id, row.IsSound ? "its proof" : DamagedRow.Columns) { App = row.App };

    // Null if the settings are not in the form in which this program writes them.
    private WebhookEndpoint? With(ReadOnlySpan<byte> fields)
    {
        if (!Tlv.AreSound(fields,
            [
                UrlTag, NamesTag, VersionTag, DisabledTag, SecretsEndedTag, DescriptionTag, FailedTag, EnabledTag,
            ],
            [KindTag, SecretTag])
            || Tlv.Text(fields, UrlTag) is not { } url || Tlv.Text(fields, VersionTag) is not { } version
            || !Tlv.IsNumberOrNone(fields, SecretsEndedTag)
            || !Tlv.IsNumberOrNone(fields, EnabledTag) || !Tlv.IsTextOrNone(fields, DescriptionTag))
            return null;
        var (kinds, secrets) = (new List<string>(), new List<SigningSecret>());
        foreach (var at in Tlv.All(fields, KindTag))
            kinds.Add(Encoding.UTF8.GetString(fields[at]));
        foreach (var at in Tlv.All(fields, SecretTag))
        {
            if (SigningSecret.Parse(fields[at], SecretPrefix) is not { } secret)
                return null;
            secrets.Add(secret);
        }

        return secrets.Count > MostSecrets ? null : this with
        {
            Url = url,
            Description = Tlv.Text(fields, DescriptionTag) ?? "",
            Kinds = kinds,
            HasNames = Tlv.Find(fields, NamesTag) is not null,
            ApiVersion = version,
            IsDisabled = Tlv.Find(fields, DisabledTag) is not null,
            HasFailed = Tlv.Find(fields, FailedTag) is not null,
            EnabledAt = Tlv.Number(fields, EnabledTag) ?? 0,
            Secrets = secrets,
            SecretsEnded = (uint)(Tlv.Number(fields, SecretsEndedTag) ?? 0),
        };
    }

    private static AssociatedData Bind(Instance instance, EndpointRow row)
    {
        var bound = SealedKind.Endpoint.Bind();
        bound.Add(instance.Id);
        bound.Add(row.Id);
        bound.Add(row.App ?? "");
        bound.Add(row.Livemode ? 1 : 0);
        bound.Add(row.Created);
        return bound;
    }
}
