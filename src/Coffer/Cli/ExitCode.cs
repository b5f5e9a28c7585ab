using Coffer.Client;

namespace Coffer.Cli;

/// <summary>What the process says when it ends (BSD sysexits where one fits). Scripts may rely on them.</summary>
internal static class ExitCode
{
    public const int Ok = 0;

    /// <summary>There is no such secret.</summary>
    public const int Absent = 1;

    /// <summary>The audit log does not verify.</summary>
    public const int Unverified = 2;

    /// <summary>The command line is wrong.</summary>
    public const int Usage = 64;

    /// <summary>What was given cannot be stored: the server refused the request, or the payload is not text.</summary>
    public const int Refused = 65;

    /// <summary>The server cannot be reached or cannot answer now; trying later may help.</summary>
    public const int Unavailable = 69;

    /// <summary>A file cannot be read or written.</summary>
    public const int Io = 74;

    /// <summary>The key is not known or may not do this.</summary>
    public const int Permission = 77;

    /// <summary>Coffer cannot start as it was told to: settings, data directory or key file.</summary>
    public const int Configuration = 78;

    public static int For(CofferException e) => e.Status switch
    {
        401 or 403 => Permission,
        0 or >= 500 => Unavailable,
        _ => Refused,
    };

    public static string? HintFor(CofferException e) => e.Status switch
    {
        401 => "Set COFFER_API_KEY to the secret key that the server printed when it first started.",
        0 => "Check --url or COFFER_URL, and that the server runs.",
        _ => e.RequestId is { } id ? $"The server knows this request as {id}." : null,
    };
}
