using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;

namespace Coffer.Tests.Secrets;

/// <summary>
/// Opens a stored secret by docs/envelope.md, step by step, with the labels and the order written out here once more: a
/// change of the stored form breaks this test before it breaks anyone's store.
/// </summary>
public sealed class StoredFormTests
{
    [Fact]
    public async Task A_stored_secret_opens_as_the_document_says()
    {
        await using var server = await TestServer.StartAsync();
        var at = server.Time.Seconds + 60;
        var id = (await server.Client(account: "acct_1").Set("my-api-key", "very secret", "usr_1",
            ("expires_at", $"{at}"))).IsOk().Id!;
        await server.StopAsync();

        // Key file -> root key -> identity and tenant keys -> record, each an envelope.
        using var fileKey = new SealingKey(1,
            Base64Url(File.ReadAllLines(Path.Combine(server.Data, "coffer.key"))[1].Split(' ')[3]));
        var instance = Blob("SELECT value FROM meta WHERE key = 'store id'");
        Assert.Equal(16, instance.Length);
        var wrapped = Open(fileKey, Blob("SELECT wrapped FROM root_key_wrappings"), Utf8("coffer v2 root key"),
            instance, Number(1));
        Assert.Equal(List(Utf8("coffer v1 wrapped root key"), instance, Number(1), wrapped[^32..]), wrapped);
        using var root = new SealingKey(1, wrapped.AsSpan()[^32..]);
        var control = Open(root, Blob("SELECT value FROM meta WHERE key = 'control'"), Utf8("coffer v2 control"),
            instance);
        Assert.Equal([1, .. Length(Number(1)), .. Number(1), 2, .. Length(Number(9)), .. Number(9)], control[..26]);
        var app = Encoding.UTF8.GetString(Blob("SELECT app FROM tenants"));
        var tenant = Open(root, Blob("SELECT sealed_keys FROM tenants"), Utf8("coffer v2 tenant keys"), instance,
            Utf8(app), Number(0), Utf8("acct_1"), Number(1), Number(1));
        Assert.Equal((2, 1 + 8 + 32 + 1 + 4 + 32), (tenant[0], tenant.Length));
        Assert.Equal([.. Number(1)], tenant[1..9]);
        Assert.Equal(0, tenant[41]);
        Assert.Equal(1u, BinaryPrimitives.ReadUInt32BigEndian(tenant.AsSpan(42)));
        using var recordKey = new SealingKey(1, tenant.AsSpan(46));

        var indexKey = HKDF.Expand(HashAlgorithmName.SHA256, tenant[9..41], 32, Utf8("coffer v1 blind index"));
        var scope = HMACSHA256.HashData(indexKey, List(Utf8("scope"), Utf8("user"), Utf8("usr_1")))[..16];
        var name = HMACSHA256.HashData(indexKey,
            List(Utf8("name"), Utf8("user"), Utf8("usr_1"), Utf8("my-api-key")))[..16];
        Assert.Equal(scope, Blob("SELECT scope FROM secrets"));
        Assert.Equal(name, Blob("SELECT name FROM secrets"));

        var plaintext = Open(recordKey, Blob(
            "SELECT sealed FROM secrets"), Utf8("coffer v1 secret"), instance, Utf8(app), Number(0), Utf8("acct_1"),
            scope, name, Utf8(id), Number(1), Number(server.Time.Seconds), Number(at));
        Assert.Equal([.. Tlv(1, "my-api-key"), .. Tlv(2, "usr_1"), .. Tlv(3, "very secret")], plaintext);

        // The id's tail is a MAC over the scope and the rest of the id.
        var cursorKey = HKDF.Expand(HashAlgorithmName.SHA256, tenant[9..41], 32, Utf8("coffer v1 cursor"));
        var mac = BinaryPrimitives.ReadUInt64BigEndian(
            HMACSHA256.HashData(cursorKey, List(Utf8("id"), scope, Utf8(id[..^11]))));
        Span<char> tail = stackalloc char[11];
        Base62.Write(mac, tail);
        Assert.Equal(id[^11..], new string(tail));

        byte[] Blob(string sql)
        {
            using var connection = StoreEdits.Connect(server.StoreFile);
            using var command = connection.CreateCommand();
            command.CommandText = sql;
            return command.ExecuteScalar() is var value && value is string text ? Utf8(text) : (byte[])value!;
        }
    }

    private static byte[] Open(SealingKey key, byte[] envelope, params byte[][] associated)
    {
        using var opened = Envelope.Open(key, envelope, List(associated));
        return opened!.Span.ToArray();
    }

    private static byte[] List(params byte[][] fields) =>
        [.. fields.SelectMany(field => (byte[])[.. Length(field), .. field])];

    private static byte[] Tlv(byte tag, string value) => [tag, .. Length(Utf8(value)), .. Utf8(value)];

    private static byte[] Length(byte[] field)
    {
        var length = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(length, field.Length);
        return length;
    }

    private static byte[] Number(long number)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        return bytes;
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Base64Url(string text) => System.Buffers.Text.Base64Url.DecodeFromChars(text);
}
