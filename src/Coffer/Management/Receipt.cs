using System.Text;
using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// What is stated of an account that was forgotten, or that its app was uninstalled from. It is made with the removal,
/// in one transaction, and signed when all that it says is true (docs/management.md, "Receipts"). Stored sealed, so
/// that nobody has one signed who can write the database only.
/// </summary>
/// <param name="Id"><c>rcpt_…</c></param>
/// <param name="App">The app.</param>
/// <param name="Account">The account.</param>
/// <param name="Test">How many unexpired secrets of test mode there were.</param>
/// <param name="Live">The same of live mode.</param>
/// <param name="At">When it was forgotten, in Unix seconds.</param>
internal sealed record Receipt(string Id, string App, string Account, long Test, long Live, long At)
{
    private const byte AppTag = 1, AccountTag = 2, TestTag = 3, LiveTag = 4, ReachTag = 5, TextTag = 6,
        InstallTag = 7, LivemodeTag = 8;

    // The words of docs/management.md. What is done at once, what takes longer, and what no receipt speaks of.
    private static readonly Dictionary<Reach, (string[] AtOnce, string[] Later, string[] Never)> Words = new()
    {
        [Reach.Files] = (["rows_deleted", "ephemeral_keys_ended"], ["write_ahead_log_emptied", "keys_overwritten"],
            ["audit_log", "back_ups", "storage_medium", "unused_page_space"]),
        [Reach.Rows] = (["rows_deleted"], ["ephemeral_keys_ended"],
            ["audit_log", "back_ups", "dead_rows", "replicas", "storage_medium", "write_ahead_log"]),
    };

    /// <summary>When it was signed, in Unix seconds; null while it waits.</summary>
    public long? SignedAt { get; private init; }

    /// <summary>The signed statement, a JSON Web Signature; null while it waits.</summary>
    public string? Text { get; private init; }

    /// <summary>How far the engine reached that it was signed for.</summary>
    public Reach? SignedFor { get; private init; }

    /// <summary>The install that it is about, in one mode; null is the account in both.</summary>
    public OfInstall? Install { get; init; }

    /// <summary>An install that is no more.</summary>
    /// <param name="Id">Its id, as it is shown.</param>
    /// <param name="Livemode">Its mode.</param>
    public sealed record OfInstall(string Id, bool Livemode);

    public static Receipt New(string app, string account, long test, long live, long at) =>
        new(SignedReceipt.NewId(), app, account, test, live, at);

    /// <summary>
    /// What is true by now, what has to become so before it is signed, and what it does not speak of.
    /// </summary>
    public (IReadOnlyList<string> Done, IReadOnlyList<string> Pending,
        IReadOnlyList<string> NotReached) StateOn(Reach reach)
    {
        var (atOnce, later, never) = Words[SignedFor ?? reach];
        return Text is null ? (atOnce, later, never) : ([.. atOnce, .. later], [], never);
    }

    /// <param name="instance">Whose key signs.</param>
    /// <param name="reach">How far the engine reaches.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="backups">What is known of back-ups that the server makes by itself; null if it makes none.</param>
    public Receipt Signed(Instance instance, Reach reach, long now, KnownBackups? backups)
    {
        var (atOnce, later, never) = Words[reach];
        var statement = new JsonObject
        {
            ["account"] = Account,
            ["app"] = App,
            ["done"] = Strings([.. atOnce, .. later]),
            ["forgotten_at"] = At,
            ["id"] = Id,
            ["not_reached"] = Strings(never),
            ["object"] = Install is null ? SignedReceipt.Forgotten : SignedReceipt.Uninstalled,
            ["secrets"] = new JsonObject { ["live"] = Live, ["test"] = Test },
            ["signed_at"] = now,
        };
        if (Install is not null)
            (statement["install"], statement["livemode"]) = (Install.Id, Install.Livemode);
        if (backups is not null)
            statement["back_ups"] = backups.Holding(At);
        return this with { SignedAt = now, SignedFor = reach, Text = SignedReceipt.Sign(instance, statement) };

        static JsonArray Strings(string[] words) => [.. words.Select(word => (JsonNode?)word)];
    }

    public RowWrite.PutReceipt ToRow(Instance instance)
    {
        List<(byte Tag, byte[] Value)> fields =
        [
            (AppTag, Encoding.UTF8.GetBytes(App)), (AccountTag, Encoding.UTF8.GetBytes(Account)),
            (TestTag, Tlv.Bytes(Test)), (LiveTag, Tlv.Bytes(Live)),
        ];
        if (Install is not null)
        {
            fields.AddRange([(InstallTag, Encoding.ASCII.GetBytes(Install.Id)),
                (LivemodeTag, Tlv.Bytes(Install.Livemode))]);
        }

        if (Text is not null)
            fields.AddRange([(ReachTag, [(byte)SignedFor!.Value]), (TextTag, Encoding.ASCII.GetBytes(Text))]);

        using var bound = Bind(instance, Id, At, SignedAt);
        var sealedBytes = Envelope.Seal(SealedKind.Receipt, instance.ReplyKey, Tlv.Of(fields), bound.Span);
        return new RowWrite.PutReceipt(new ReceiptRow(Id, At, SignedAt, sealedBytes));
    }

    /// <returns>Null if the row was changed outside Coffer.</returns>
    public static Receipt? From(ReceiptRow row, Instance instance)
    {
        using var bound = Bind(instance, row.Id, row.Created, row.Signed);
        using var opened = row.IsSound ? instance.Peppers.Open(row.Sealed, bound.Span) : null;
        if (opened is null)
            return null;
        var fields = opened.Span;
        if (!Tlv.AreSound(fields,
            [
                AppTag, AccountTag, TestTag, LiveTag, .. row.Signed is null ? (byte[])[] : [ReachTag, TextTag],
                InstallTag, LivemodeTag,
            ])
            || Tlv.Text(fields, AppTag) is not { } app || Tlv.Text(fields, AccountTag) is not { } account
            || Tlv.Number(fields, TestTag) is not { } test || Tlv.Number(fields, LiveTag) is not { } live)
            return null;
        var (isSound, install) = InstallOf(fields);
        if (!isSound)
            return null;
        var receipt = new Receipt(row.Id, app, account, test, live, row.Created) { Install = install };
        if (row.Signed is null)
            return receipt;
        return Tlv.Text(fields, TextTag) is { } text && ReachOf(fields) is { } reach
            ? receipt with { SignedAt = row.Signed, SignedFor = reach, Text = text }
            : null;

        static (bool IsSound, OfInstall? Install) InstallOf(ReadOnlySpan<byte> fields) =>
            (Tlv.Text(fields, InstallTag), Tlv.Flag(fields, LivemodeTag)) switch
            {
                (null, null) => (Tlv.IsTextOrNone(fields, InstallTag) && Tlv.IsFlagOrNone(fields, LivemodeTag), null),
                ({ } id, { } livemode) => (true, new OfInstall(id, livemode)),
                _ => (false, null),
            };

        static Reach? ReachOf(ReadOnlySpan<byte> fields) =>
            Tlv.Find(fields, ReachTag) is { } at && fields[at] is [(byte)Reach.Rows or (byte)Reach.Files]
                ? (Reach)fields[at][0] : null;
    }

    /// <summary>What seals a row by the newest pepper that another has sealed; null if nothing is to be done.</summary>
    public static RowWrite? ProveAnew(Instance instance, ReceiptRow row)
    {
        using var bound = Bind(instance, row.Id, row.Created, row.Signed);
        return row.IsSound && instance.Peppers.Reseal(SealedKind.Receipt, row.Sealed, bound.Span) is { } again
            ? new RowWrite.ResealReceipt(row.Id, row.Sealed, again)
            : null;
    }

    /// <summary>A row that <see cref="From"/> refuses, to be reported.</summary>
    public static DamagedRow Damaged(ReceiptRow row) =>
        new("receipts", row.Id, row.IsSound ? "its proof" : DamagedRow.Columns);

    private static AssociatedData Bind(Instance instance, string id, long created, long? signed)
    {
        var bound = SealedKind.Receipt.Bind();
        bound.Add(instance.Id);
        bound.Add(id);
        bound.Add(created);
        bound.Add(signed);
        return bound;
    }
}
