using System.Buffers.Binary;
using System.Text;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>
/// A rotation of tenants' keys which others may know, as the control row has it from when the root key is made that
/// ends it: no root key takes over keys of these tenants that were there before the one that it began with.
/// </summary>
/// <param name="Root">The version of the root key that ends it.</param>
/// <param name="First">The version of the one that it began with.</param>
/// <param name="Rotation">Its id.</param>
/// <param name="Tenants">Whose keys it is about.</param>
internal sealed record Compromise(uint Root, uint First, string Rotation, TenantChoice Tenants)
{
    private const byte RotationTag = 1, AppTag = 2, AccountTag = 3, ModeTag = 4;
    private const int VersionSize = sizeof(uint);

    /// <summary>As the control row has it.</summary>
    public byte[] ToBytes()
    {
        var versions = new byte[2 * VersionSize];
        BinaryPrimitives.WriteUInt32BigEndian(versions, Root);
        BinaryPrimitives.WriteUInt32BigEndian(versions.AsSpan(VersionSize), First);
        var fields = new List<(byte, byte[])> { (RotationTag, Encoding.UTF8.GetBytes(Rotation)) };
        if (Tenants.App is { } app)
            fields.Add((AppTag, Encoding.UTF8.GetBytes(app)));
        if (Tenants.Account is { } account)
            fields.Add((AccountTag, Encoding.UTF8.GetBytes(account)));
        if (Tenants.Livemode is { } livemode)
            fields.Add((ModeTag, Tlv.Bytes(livemode)));
        return [.. versions, .. Tlv.Of(fields)];
    }

    /// <returns>Null if it is not what Coffer writes.</returns>
    public static Compromise? Read(ReadOnlySpan<byte> value)
    {
        if (value.Length < 2 * VersionSize)
            return null;
        var fields = value[(2 * VersionSize)..];
        if (!Tlv.AreSound(fields, [RotationTag, AppTag, AccountTag, ModeTag])
            || Tlv.Text(fields, RotationTag) is not { } rotation
            || !Tlv.IsTextOrNone(fields, AppTag) || !Tlv.IsTextOrNone(fields, AccountTag)
            || !Tlv.IsFlagOrNone(fields, ModeTag))
            return null;
        return new(BinaryPrimitives.ReadUInt32BigEndian(value),
            BinaryPrimitives.ReadUInt32BigEndian(value[VersionSize..]), rotation,
            new TenantChoice(Tlv.Text(fields, AppTag), Tlv.Text(fields, AccountTag), Tlv.Flag(fields, ModeTag)));
    }
}
