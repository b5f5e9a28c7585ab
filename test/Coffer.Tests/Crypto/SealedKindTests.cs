using System.Text.RegularExpressions;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Tests.Crypto;

/// <summary>The register of what is sealed says what the documents say, and nothing is sealed beside it.</summary>
[Trait("Keys", "S5")]
public sealed class SealedKindTests : IDisposable
{
    private readonly SealingKey key = new(1, new byte[32]);

    [Fact]
    public void The_document_lists_each_kind_with_what_the_register_has_of_it()
    {
        var text = File.ReadAllText(Repository.File("docs/envelope.md"));
        var (begin, end) = (text.IndexOf("## Associated data", StringComparison.Ordinal),
            text.IndexOf("## Plaintexts", StringComparison.Ordinal));
        var section = text[begin..end];
        var rows = section.Split('\n')
            .Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Skip(1).ToList(); // its head
        Assert.Equal(SealedKind.All.Where(kind => kind != SealedKind.Proof).Select(Row).Order(), rows.Order());
        var bullets = Regex.Matches(section, @"^- (?<line>[^\n]+(?:\n  [^\n]+)*)", RegexOptions.Multiline)
            .Select(match => Regex.Replace(match.Groups["line"].Value, @"\s+", " ")).ToList();
        Assert.Equal(SealedKind.All.Where(kind => kind != SealedKind.Proof).Select(Bullet).Order(), bullets.Order());
    }

    [Fact]
    public void No_two_kinds_are_bound_alike()
    {
        Assert.Equal(SealedKind.All.Count, SealedKind.All.Select(kind => kind.Purpose).Distinct().Count());
        Assert.Equal(SealedKind.All.Count, SealedKind.All.Select(kind => kind.Name).Distinct().Count());
        Assert.Equal(23, SealedKind.All.Count);
    }

    [Fact]
    public void Each_kind_of_a_table_stands_in_a_column_that_is_there()
    {
        var tables = Coffer.Storage.Tables.All.ToDictionary(table => table.Name);
        foreach (var kind in SealedKind.All.Where(kind => kind.Place.Contains('.', StringComparison.Ordinal)))
        {
            var (table, column) = (kind.Place.Split('.')[0], kind.Place.Split('.')[1]);
            Assert.Contains(tables[table].Columns, each => each == (column, SqlType.Bytes));
        }
    }

    [Fact]
    public void The_last_scan_of_a_rotation_counts_each_kind_that_is_under_a_tenants_keys()
    {
        var scan = TenantRow.CountNotUnderNewest.Text.Sqlite;
        var kinds = SealedKind.All.Where(kind => kind.Under == SealedKind.Key.Tenant).ToList();
        foreach (var kind in kinds)
        {
            var (table, column) = (kind.Place.Split('.')[0], kind.Place.Split('.')[1]);
            var place = table switch { "secrets" => "name > $3", "events" => "seq > -1", _ => "key > $3" };
            Assert.Contains($"(SELECT count(*) FROM {table} WHERE tenant = $1 "
                + $"AND substr({column}, 3, 4) <> $2 AND {place})", scan, StringComparison.Ordinal);
        }

        Assert.Equal(kinds.Count, Regex.Count(scan, "count"));
    }

    [Fact]
    public void What_is_an_accounts_and_outlives_a_request_is_under_its_tenants_keys()
    {
        Assert.Equal(["secret", "kept outcome", "kept reply of a mint", "event of an account"],
            SealedKind.All.Where(kind => kind.Under == SealedKind.Key.Tenant).Select(kind => kind.Name));
        Assert.All(SealedKind.All.Where(kind => kind.Under == SealedKind.Key.Tenant),
            kind => Assert.Equal(SealedKind.Owner.Account, kind.Whose));
        // The keys themselves are under the root key, and tokens stand in no table.
        Assert.Equal(["ephemeral key, format 1", "ephemeral key, format 2", "tenant keys, format 1",
            "tenant keys, format 2"],
            SealedKind.All.Where(kind => kind.Whose == SealedKind.Owner.Account
                && kind.Under != SealedKind.Key.Tenant).Select(kind => kind.Name).Order());
    }

    [Fact]
    public void What_is_not_bound_as_a_kind_or_is_another_keys_is_not_sealed()
    {
        using var secret = SealedKind.Secret.Bind();
        using var other = new AssociatedData("coffer v1 sacret"u8);
        Envelope.Seal(SealedKind.Secret, key, [], secret.Span);
        var bound = other.Span.ToArray();
        Assert.Throws<InvalidOperationException>(() => Envelope.Seal(SealedKind.Secret, key, [], bound));
        Assert.Throws<InvalidOperationException>(() => Envelope.Seal(SealedKind.Secret, key, [], []));
        using var fresh = TenantKeys.Generate();
        using var keys = TenantKeys.Parse(fresh.Span)!;
        var app = SealedKind.App.Bind().Span.ToArray();
        Assert.Throws<InvalidOperationException>(() => keys.Seal(SealedKind.App, [], app));
        var roots = new Coffer.Keys.RootKeys(key);
        var own = secret.Span.ToArray();
        Assert.Throws<InvalidOperationException>(() => roots.Seal(SealedKind.Secret, [], own));
    }

    public void Dispose() => key.Dispose();

    private static string Row(SealedKind kind) =>
        $"| {kind.Name} | {Place(kind)} | {KeyOf(kind).Key} | {KeyOf(kind).Version} | {Whose(kind)} |";

    private static string Bullet(SealedKind kind) => $"{kind.Name}: `{kind.Purpose}`, {kind.Fields}";

    private static string Place(SealedKind kind) =>
        kind.Place.Contains('.', StringComparison.Ordinal) ? $"`{kind.Place}`" : kind.Place;

    private static string Whose(SealedKind kind) => kind.Whose switch
    {
        SealedKind.Owner.Store => "the store's",
        SealedKind.Owner.App => "the app's",
        _ => "the account's",
    };

    private static (string Key, string Version) KeyOf(SealedKind kind) => kind.Under switch
    {
        SealedKind.Key.File => ("key file", "id of the line"),
        SealedKind.Key.Root => ("root key", "version of the root key"),
        SealedKind.Key.Tenant => ("tenant's sealing key", "its version"),
        SealedKind.Key.EphemeralOne => ("that of format 1", "1"),
        SealedKind.Key.EphemeralTwo => ("that of format 2", "2"),
        SealedKind.Key.Shares => ("that of the shares", "1"),
        SealedKind.Key.Backup => ("the back-up's", "1"),
        _ => ("that of kept replies", "1"),
    };
}
