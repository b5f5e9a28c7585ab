using System.IO.Pipelines;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Coffer.Hosting;

/// <summary>
/// Whether clients can speak TLS with a certificate: its key, what it is for, the chain after it; and, by a handshake
/// with itself, whatever else the system's TLS does not accept.
/// </summary>
internal static class TlsSoundness
{
    private const string Rsa = "1.2.840.113549.1.1.1", EllipticCurve = "1.2.840.10045.2.1", ForServers =
        "1.3.6.1.5.5.7.3.1";

    private const int LeastBits = 2048;

    /// <summary>The curves that TLS 1.3 has signatures for (RFC 8446, 4.2.3).</summary>
    private static readonly string[] Curves = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];

    private static readonly (string Identifier, string Name)[] OtherKinds =
    [
        ("1.3.101.112", "Ed25519"), ("1.3.101.113", "Ed448"), ("1.2.840.113549.1.1.10", "RSA-PSS"),
        ("1.2.840.10040.4.1", "DSA"),
    ];

    /// <summary>The end of a sentence that begins with the file of the certificate; null if it is sound.</summary>
    /// <param name="certificate">The first of the file.</param>
    /// <param name="chain">Those after it.</param>
    public static string? Problem(X509Certificate2 certificate, X509Certificate2Collection chain) =>
        KeyProblem(certificate) ?? PurposeProblem(certificate) ?? ChainProblem(certificate, chain);

    /// <summary>What a handshake fails with; null if it succeeds.</summary>
    public static string? Try(SslServerAuthenticationOptions options)
    {
        var (there, back) = (new Pipe(), new Pipe());
        using var server = new SslStream(new Both(there.Reader.AsStream(), back.Writer.AsStream()));
        using var client = new SslStream(new Both(back.Reader.AsStream(), there.Writer.AsStream()));
        try
        {
            var answering = Ending(server.AuthenticateAsServerAsync(options), back.Writer);
            var asking = Ending(client.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = "localhost",
#pragma warning disable CA5359 // Whom it names, and who has signed it, is for its clients to find: this one is itself.
                RemoteCertificateValidationCallback = static (_, _, _, _) => true,
#pragma warning restore CA5359
            }), there.Writer);
            answering.GetAwaiter().GetResult();
            asking.GetAwaiter().GetResult();
            return null;
        }
        catch (Exception e) when (e is AuthenticationException or CryptographicException or IOException)
        {
            return Cause.Find<CryptographicException>(e)?.Message ?? e.Message;
        }

        // Who fails says no more: the other one is not to wait.
        static async Task Ending(Task half, PipeWriter writer)
        {
            try
            {
                await half;
            }
            catch (Exception e)
            {
                await writer.CompleteAsync(new IOException("the handshake failed", e));
                throw;
            }
        }
    }

    private static string? KeyProblem(X509Certificate2 certificate)
    {
        const string Instead = "use RSA with 2048 bits or more, or ECDSA with the curve P-256, P-384 or P-521";
        var kind = certificate.PublicKey.Oid.Value;
        using var rsa = kind == Rsa ? certificate.GetRSAPublicKey() : null;
        if (rsa is { KeySize: < LeastBits and var bits })
            return $"has an RSA key of {bits} bits, which clients refuse: {Instead}";
        if (kind == EllipticCurve && !Curves.Any(curve => HasCurve(certificate, curve)))
            return $"has a key on a curve that TLS clients do not know: {Instead}";
        if (kind is Rsa or EllipticCurve)
            return null;
        var name = OtherKinds.FirstOrDefault(known => known.Identifier == kind).Name ?? $"the kind {kind}";
        return $"has a key of {name}, which cannot be served here: {Instead}";
    }

    private static bool HasCurve(X509Certificate2 certificate, string curve) =>
        certificate.PublicKey.EncodedParameters is { RawData: [6, _, .. var identifier] }
            && Encoded(curve).AsSpan().SequenceEqual(identifier);

    // An object identifier as DER has it, without its tag and length.
    private static byte[] Encoded(string identifier)
    {
        var writer = new System.Formats.Asn1.AsnWriter(System.Formats.Asn1.AsnEncodingRules.DER);
        writer.WriteObjectIdentifier(identifier);
        return writer.Encode()[2..];
    }

    private static string? PurposeProblem(X509Certificate2 certificate) =>
        certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().FirstOrDefault() is { } usage
        && !usage.EnhancedKeyUsages.Cast<Oid>().Any(purpose => purpose.Value is ForServers or "2.5.29.37.0")
            ? "is not for servers (its extended key usage lacks serverAuth): ask its authority for one that is"
            : null;

    private static string? ChainProblem(X509Certificate2 certificate, X509Certificate2Collection chain)
    {
        if (chain.Count == 0)
            return null;
        using var path = new X509Chain();
        path.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        path.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        path.ChainPolicy.DisableCertificateDownloads = true;
        path.ChainPolicy.ExtraStore.AddRange(chain);
        path.Build(certificate); // nothing of it is trusted here: what counts is where it leads
        var isBroken = path.ChainStatus.Any(status => status.Status == X509ChainStatusFlags.NotSignatureValid);
        return path.ChainElements.Count > 1 && !isBroken
            ? null
            : "is followed by certificates that did not issue it: put the intermediates of its authority after it, as "
                + "the file fullchain.pem of certbot has them";
    }

    private sealed class Both(Stream input, Stream output) : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override void Flush() => output.Flush();

        public override Task FlushAsync(CancellationToken cancellationToken) => output.FlushAsync(cancellationToken);

        public override int Read(byte[] buffer, int offset, int count) => input.Read(buffer, offset, count);

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            input.ReadAsync(buffer, cancellationToken);

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => output.Write(buffer, offset, count);

        public override ValueTask WriteAsync(
            ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
            output.WriteAsync(buffer, cancellationToken);
    }
}
