using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Coffer;

/// <summary>
/// Whose files are good enough to be used, wherever they come from: one rule for keys, the store and what lies beside
/// it, as platforms hand them out. What is this user's own is closed to others. What this user cannot change, as a
/// volume of Kubernetes or a key of Debian's group <c>ssl-cert</c>, has to be root's, and open to no more than a group
/// that this user is in. Nothing here changes a file.
/// </summary>
internal static class FileRule
{
    private const UnixFileMode OfGroup =
        UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute;

    private const UnixFileMode OfOthers =
        UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    /// <summary>What is to be done about a file or a directory.</summary>
    public enum Verdict
    {
        /// <summary>Only its owner may touch it, who is this user or root.</summary>
        Private,

        /// <summary>It is this user's own, and others may touch it: a start takes that from them.</summary>
        ToClose,

        /// <summary>A group may touch it that this user is in.</summary>
        OfOwnGroup,

        /// <summary>It is refused where it has to be secret, and warned of elsewhere.</summary>
        Refused,
    }

    /// <summary>What the system says of a file; of a link that of what it leads to.</summary>
    /// <param name="Owner">The number of the user who owns it.</param>
    /// <param name="Group">The number of its group.</param>
    /// <param name="Mode">Who may do what.</param>
    /// <param name="IsFixed">
    /// Whether its mode is not to be changed: nobody can on a medium that is read only.
    /// </param>
    public readonly record struct Facts(uint Owner, uint Group, UnixFileMode Mode, bool IsFixed = false)
    {
        /// <summary>
        /// Of a file of which the system does not say whose it is. Who may change its mode owns it; but root may change
        /// that of everybody's, so root leaves it as it is.
        /// </summary>
        public static Facts OfUnknown(UnixFileMode mode, Users by) =>
            new(by.User, uint.MaxValue, mode, IsFixed: by.User == 0);

        /// <summary>The mode as chmod takes it: 0640.</summary>
        public string Octal => "0" + Convert.ToString((int)Mode, 8).PadLeft(3, '0');

        /// <summary>Whether anybody but its owner and its group may touch it.</summary>
        public bool IsForAll => (Mode & OfOthers) != UnixFileMode.None;

        /// <summary>Whether its group may touch it.</summary>
        public bool IsForGroup => (Mode & OfGroup) != UnixFileMode.None;
    }

    /// <summary>Who uses a file.</summary>
    /// <param name="User">The number of the user.</param>
    /// <param name="Groups">The numbers of all groups that this user is in.</param>
    public sealed record Users(uint User, IReadOnlyCollection<uint> Groups)
    {
        private static readonly Lazy<Users> Found = new(static () => new Users(GetEffectiveUser(), FindGroups()));

        /// <summary>Those of this process. Not on Windows.</summary>
        public static Users OfThisProcess => Found.Value;
    }

    /// <summary>The rule.</summary>
    /// <param name="file">What is said of the file.</param>
    /// <param name="by">Who uses it.</param>
    /// <param name="isSecret">
    /// Whether whoever has read it has the store. Then one that all may read is refused though it could be closed: it
    /// may be known already.
    /// </param>
    /// <returns>The verdict, and of one that is refused what is wrong, to follow its name.</returns>
    public static (Verdict Verdict, string? Wrong) Judge(Facts file, Users by, bool isSecret)
    {
        var isOwn = file.Owner == by.User;
        var isToClose = isOwn && !file.IsFixed;
        if (!isOwn && file.Owner != 0)
            return (Verdict.Refused, $"belongs to another user (uid {file.Owner})");
        if (file.IsForAll)
        {
            return isToClose && !isSecret
                ? (Verdict.ToClose, null)
                : (Verdict.Refused, $"can be read or written by other users than its owner (mode {file.Octal})");
        }

        if (!file.IsForGroup)
            return (Verdict.Private, null);
        if (isToClose)
            return (Verdict.ToClose, null);
        return by.Groups.Contains(file.Group)
            ? (Verdict.OfOwnGroup, null)
            : (Verdict.Refused, $"can be read or written by a group (gid {file.Group}, mode {file.Octal}) that the "
                + "user who runs Coffer is not in");
    }

    /// <summary>What is wrong with a file that has to be secret, and what to do; null if it may be used.</summary>
    /// <param name="path">Where it is.</param>
    /// <param name="what">What it is, to begin the sentence: "the key file".</param>
    /// <param name="by">Who uses it; null is this process.</param>
    /// <param name="open">The open file, where its name may lead to another one meanwhile.</param>
    /// <exception cref="IOException">It cannot be looked at.</exception>
    public static (string Problem, string Hint)? ProblemOf(
        string path, string what, Users? by = null, SafeFileHandle? open = null)
    {
        if (OperatingSystem.IsWindows())
            return null;
        by ??= Users.OfThisProcess;
        var facts = open is null ? FileStatus.FactsOf(path) : FileStatus.FactsOf(open);
        if (Judge(facts, by, isSecret: true) is not (Verdict.Refused, { } wrong))
            return null;
        var hint = facts switch
        {
            _ when facts.Owner == by.User && !facts.IsFixed => $"Run: chmod 600 {path}",
            { Owner: 0 } => HintToShare(path),
            _ => $"Give it to the user that runs Coffer: chown USER {path}; chmod 600 {path}",
        };
        return ($"{what} {path} {wrong}", hint);
    }

    /// <summary>How root lets this user read a file.</summary>
    public static string HintToShare(string path) => $"Run as root: chgrp GROUP {path}; chmod 640 {path}, where GROUP "
        + "is one of the user that runs Coffer. Of a Secret in Kubernetes, set defaultMode to 0440 and fsGroup.";

    private static HashSet<uint> FindGroups()
    {
        var found = new uint[Math.Max(0, GetGroups(0, null))];
        var count = GetGroups(found.Length, found);
        return [GetEffectiveGroup(), .. found.Take(Math.Max(0, count))];
    }

    [DllImport("libc", EntryPoint = "geteuid")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern uint GetEffectiveUser();

    [DllImport("libc", EntryPoint = "getegid")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern uint GetEffectiveGroup();

    [DllImport("libc", EntryPoint = "getgroups")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int GetGroups(int most, [Out] uint[]? groups);
}
