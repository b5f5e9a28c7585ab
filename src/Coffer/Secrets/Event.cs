using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// Something that happened, opened: it is given out as ids only, or with the name of the secret and the user to those
/// who asked for them and own them. A payload is never in it. What is an account's is sealed under its tenant's keys,
/// everything else under a root key; all that the row says is bound (docs/events.md).
/// </summary>
internal sealed class Event
{
    /// <summary>How long events are kept.</summary>
    public static readonly TimeSpan KeptFor = TimeSpan.FromDays(30);

    /// <summary>The version of Stripe's API whose shapes these are, unless an endpoint wants another named.</summary>
    public const string ApiVersion = "2026-10-28.endive";

    private const byte ObjectTag = 1, NameTag = 2, UserTag = 3, RequestTag = 4;

    private static readonly JsonWriterOptions Compact = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private readonly byte[] about;

    private Event(EventRow row, byte[] about) => (Row, this.about) = (row, about);

    public EventRow Row { get; }

    /// <summary>Whose something is.</summary>
    /// <param name="App">The app; null is the store's.</param>
    /// <param name="Livemode">The mode; what has none is live.</param>
    /// <param name="Account">The account, or null.</param>
    public readonly record struct Owner(string? App, bool Livemode, string? Account = null)
    {
        public static readonly Owner Store = new(null, Livemode: true);
    }

    /// <summary>That something happened to a secret, whose app keeps events.</summary>
    /// <param name="instance">Whose store it is.</param>
    /// <param name="tenant">Whose secret it is, by the keys that the change has compared.</param>
    /// <param name="kind">What.</param>
    /// <param name="secret">The secret as it is then.</param>
    /// <param name="request">The request that did it; null is the store itself.</param>
    /// <param name="now">When.</param>
    public static RowWrite.PutEvent OfSecret(
        Instance instance, Tenant tenant, string kind, Secret secret, string? request, DateTimeOffset now) =>
        Put(instance, tenant, kind, json =>
        {
            json.WriteString("id"u8, secret.Id);
            json.WriteString("object"u8, "apps.secret"u8);
            json.WriteNumber("created"u8, secret.Created);
            if (kind == EventKinds.SecretDeleted)
                json.WriteBoolean("deleted"u8, true);
            json.WriteNumberOrNull("expires_at"u8, secret.ExpiresAt);
            json.WriteBoolean("livemode"u8, secret.Livemode);
            json.WriteStartObject("scope"u8);
            json.WriteString("type"u8, secret.Scope.Type);
            json.WriteEndObject();
            json.WriteNumber("version"u8, secret.Version);
        }, (secret.Name.Utf8, secret.Scope.User), request, now);

    /// <summary>The same of a row that the caller has not opened; null if it does not open.</summary>
    public static RowWrite.PutEvent? OfStored(
        Instance instance, Tenant tenant, string kind, SecretRow row, DateTimeOffset now)
    {
        try
        {
            using var secret = SealedSecret.Open(instance, tenant, row, scope: null, wantsPayload: false);
            return OfSecret(instance, tenant, kind, secret, request: null, now);
        }
        catch (ApiError e) when (e.Damage is not null)
        {
            return null;
        }
    }

    /// <summary>That something happened to what is an account's, under its tenant's keys.</summary>
    /// <param name="instance">Whose store it is.</param>
    /// <param name="tenant">Whose it is, by the keys that the change has compared.</param>
    /// <param name="kind">What.</param>
    /// <param name="shape">Writes the fields of what it happened to: ids, times and numbers.</param>
    /// <param name="named">Name and user, as exact UTF-8 bytes, which are given only to those who asked.</param>
    /// <param name="request">The request that did it; null is the store itself.</param>
    /// <param name="now">When.</param>
    public static RowWrite.PutEvent Put(Instance instance, Tenant tenant, string kind, Action<Utf8JsonWriter> shape,
        (ReadOnlyMemory<byte> Name, ReadOnlyMemory<byte> User) named, string? request, DateTimeOffset now)
    {
        var row = new EventRow(EventId.Next(now), tenant.Id.App, tenant.Id.Livemode, tenant.Id.Account, tenant.Number,
            kind, now.ToUnixTimeSeconds(), []);
        using var plaintext = Plain(shape, named, request);
        using var bound = Bind(instance, row);
        return new(row with { Sealed = tenant.Keys.Seal(SealedKind.Event, plaintext.Span, bound.Span) });
    }

    /// <summary>That something happened to what is no account's, or of what is gone with its keys.</summary>
    /// <param name="instance">Whose store it is.</param>
    /// <param name="owner">Whose it is.</param>
    /// <param name="kind">What.</param>
    /// <param name="shape">Writes the fields of what it happened to: ids, times and numbers.</param>
    /// <param name="request">The request that did it; null is the store itself.</param>
    /// <param name="now">When.</param>
    public static RowWrite.PutEvent Put(Instance instance, Owner owner, string kind, Action<Utf8JsonWriter> shape,
        string? request, DateTimeOffset now)
    {
        var row = new EventRow(EventId.Next(now), owner.App, owner.Livemode, owner.Account, null, kind,
            now.ToUnixTimeSeconds(), []);
        using var plaintext = Plain(shape, default, request);
        using var bound = Bind(instance, row);
        return new(row with { Sealed = instance.Roots.Seal(SealedKind.StoreEvent, plaintext.Span, bound.Span) });
    }

    /// <param name="instance">Whose store it is.</param>
    /// <param name="tenant">The tenant that the row names; null if it names none, or it is gone.</param>
    /// <param name="row">The row.</param>
    /// <returns>Null if the row was changed outside Coffer, or is under keys that the tenant has not.</returns>
    public static Event? Open(Instance instance, Tenant? tenant, EventRow row)
    {
        if (!row.IsSound || row.Tenant != tenant?.Number)
            return null;
        using var bound = Bind(instance, row);
        using var plaintext = tenant is null
            ? instance.Roots.Open(row.Sealed, bound.Span)
            : tenant.Keys.Open(row.Sealed, bound.Span);
        return plaintext is not null && Tlv.AreSound(plaintext.Span, [ObjectTag, NameTag, UserTag, RequestTag])
            && Tlv.Find(plaintext.Span, ObjectTag) is not null
            ? new Event(row, plaintext.Span.ToArray())
            : null;
    }

    /// <summary>The same row under the key that seals; null if it does not open.</summary>
    public static byte[]? Reseal(Instance instance, Tenant? tenant, EventRow row)
    {
        if (!row.IsSound || row.Tenant != tenant?.Number)
            return null;
        using var bound = Bind(instance, row);
        return tenant is null
            ? instance.Roots.Reseal(SealedKind.StoreEvent, row.Sealed, bound.Span)
            : tenant.Keys.Reseal(SealedKind.Event, row.Sealed, bound.Span);
    }

    /// <summary>The row, as one that does not open is reported.</summary>
    public static DamagedRow Damage(EventRow row) =>
        new("events", row.Id, row.IsSound ? "its proof" : DamagedRow.Columns) { App = row.App, Account = row.Account };

    /// <summary>As an object of JSON, without indentation: what is sent.</summary>
    public byte[] ToBytes(bool withNames, string apiVersion)
    {
        var bytes = new System.Buffers.ArrayBufferWriter<byte>(1_024);
        using (var json = new Utf8JsonWriter(bytes, Compact))
            Write(json, withNames, apiVersion);
        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>Writes it as Stripe's events are written.</summary>
    public void Write(Utf8JsonWriter json, bool withNames, string apiVersion = ApiVersion)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, Row.Id);
        json.WriteString("object"u8, "event"u8);
        if (Row.Account is not null)
            json.WriteString("account"u8, Row.Account);
        json.WriteString("api_version"u8, apiVersion);
        if (Row.App is not null)
            json.WriteString("app"u8, Row.App);
        json.WriteNumber("created"u8, Row.Created);
        json.WriteStartObject("data"u8);
        json.WritePropertyName("object"u8);
        WriteObject(json, withNames);
        json.WriteEndObject();
        json.WriteBoolean("livemode"u8, Row.Livemode);
        json.WriteNumber("pending_webhooks"u8, 0);
        json.WriteStartObject("request"u8);
        json.WriteString("id"u8, Tlv.Text(about, RequestTag));
        json.WriteNull("idempotency_key"u8);
        json.WriteEndObject();
        json.WriteString("type"u8, Row.Kind);
        json.WriteEndObject();
    }

    public override string ToString() => $"{Row.Id} [redacted]";

    private void WriteObject(Utf8JsonWriter json, bool withNames)
    {
        using var document = JsonDocument.Parse(about.AsMemory(Tlv.Find(about, ObjectTag)!.Value));
        var name = Of(NameTag);
        var user = Of(UserTag);
        json.WriteStartObject();
        foreach (var field in document.RootElement.EnumerateObject())
        {
            if (field.NameEquals("scope"u8) && withNames)
            {
                if (name.Length > 0)
                    json.WriteString("name"u8, name);
                json.WriteStartObject("scope"u8);
                foreach (var inner in field.Value.EnumerateObject())
                    inner.WriteTo(json);
                if (user.Length > 0)
                    json.WriteString("user"u8, user);
                json.WriteEndObject();
            }
            else
            {
                field.WriteTo(json);
            }
        }

        json.WriteEndObject();

        ReadOnlySpan<byte> Of(byte tag) => Tlv.Find(about, tag) is { } at && Utf8.IsValid(about.AsSpan(at))
            ? about.AsSpan(at)
            : default;
    }

    private static SecretBytes Plain(Action<Utf8JsonWriter> shape,
        (ReadOnlyMemory<byte> Name, ReadOnlyMemory<byte> User) named, string? request)
    {
        var written = new System.Buffers.ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(written, Compact))
        {
            json.WriteStartObject();
            shape(json);
            json.WriteEndObject();
        }

        var id = Encoding.UTF8.GetBytes(request ?? "");
        var plaintext = SecretBytes.Rent(Tlv.SizeOf(written.WrittenSpan) + Size(named.Name.Span)
            + Size(named.User.Span) + Size(id));
        var rest = Tlv.Write(plaintext.Span, ObjectTag, written.WrittenSpan);
        rest = WriteSome(rest, NameTag, named.Name.Span);
        rest = WriteSome(rest, UserTag, named.User.Span);
        WriteSome(rest, RequestTag, id);
        return plaintext;

        static int Size(ReadOnlySpan<byte> value) => value.IsEmpty ? 0 : Tlv.SizeOf(value);

        static Span<byte> WriteSome(Span<byte> to, byte tag, ReadOnlySpan<byte> value) =>
            value.IsEmpty ? to : Tlv.Write(to, tag, value);
    }

    private static AssociatedData Bind(Instance instance, EventRow row)
    {
        var bound = (row.Tenant is null ? SealedKind.StoreEvent : SealedKind.Event).Bind();
        bound.Add(instance.Id);
        bound.Add(row.App ?? "");
        bound.Add(row.Livemode ? 1 : 0);
        bound.Add(row.Account ?? "");
        bound.Add(row.Id);
        bound.Add(row.Kind);
        bound.Add(row.Created);
        return bound;
    }
}
