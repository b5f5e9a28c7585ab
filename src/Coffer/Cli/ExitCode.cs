using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>What the process says when it ends (BSD sysexits where one fits). Scripts may rely on them.</summary>
internal static class ExitCode
{
    public const int Ok = 0;

    /// <summary>What the command line names is not there: no such secret, app, key.</summary>
    public const int Absent = 1;

    /// <summary>The audit log, a back-up, or what was migrated or restored does not verify.</summary>
    public const int Unverified = 2;

    /// <summary>Of <c>check</c>, as monitors expect it: warnings and nothing worse, or a problem.</summary>
    public const int Warnings = 1, Problems = 2;

    /// <summary>The command line is wrong, or what it asks for was not confirmed.</summary>
    public const int Usage = 64;

    /// <summary>What was given cannot be stored: the server refused the request, or the payload is not text.</summary>
    public const int Refused = 65;

    /// <summary>The server cannot be reached or cannot answer now; trying later may help.</summary>
    public const int Unavailable = 69;

    /// <summary>A fault of Coffer.</summary>
    public const int Bug = 70;

    /// <summary>A file, or a standard stream, cannot be read or written.</summary>
    public const int Io = 74;

    /// <summary>What wraps the root keys cannot be asked now; starting again later may help.</summary>
    public const int TemporaryFailure = 75;

    /// <summary>The key is not known or may not do this.</summary>
    public const int Permission = 77;

    /// <summary>Coffer cannot start as it was told to: settings, data directory or key file.</summary>
    public const int Configuration = 78;
}
