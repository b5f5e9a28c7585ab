namespace Coffer.EndToEnd;

/// <summary>
/// Files as platforms hand them out, to a server that is not root ("Firm edges", 8). What is accepted and what is
/// refused is the table of <c>FileRuleTests</c>.
/// </summary>
[Trait("Firm edges", "8")]
public sealed class PlatformFilesTests : IDisposable
{
    private const UnixFileMode File600 = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const string Group = "4242";

    /// <summary>A user without rights, who is in the group of the volume.</summary>
    private static readonly string[] AsNobody =
        ["setpriv", "--reuid=65534", "--regid=65534", $"--groups=65534,{Group}", "--inh-caps=-all", "--"];

    private readonly TemporaryDirectory program = new();

    public void Dispose() => program.Dispose();

    [Fact]
    public async Task A_volume_of_Kubernetes_starts_again_after_each_mount_and_a_key_of_a_Secret_opens_it()
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Skip("only root gives files to others");
        using var data = new TemporaryDirectory();
        using var secret = new TemporaryDirectory();
        await MountAsync(data);
        string key;
        await using (var coffer = await StartAsync("serve", "--data", data.Path))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            (await client.SetAsync("k", "p")).Is(200);
            Assert.Empty(coffer.Complaints);
            Assert.Equal(0, await coffer.StopAsync());
        }

        // fsGroup: everything becomes the group's, to be read and written.
        await MountAsync(data);
        string[] files = ["coffer.db", "coffer.key", "coffer.anchor", "coffer.lock", "audit-checkpoints.jsonl"];
        await using (var coffer = await StartAsync("serve", "--data", data.Path))
        {
            Assert.All(files, file =>
            {
                Assert.Equal(File600, File.GetUnixFileMode(data.File(file)));
                Assert.Single(coffer.Stderr.Split('\n'), line => line.Contains(
                    $"{data.File(file)} could be used by others than its owner (mode 0660). It is now 0600",
                    StringComparison.Ordinal));
            });
            using var client = new WireClient(coffer.Url, key);
            Assert.Equal("p", (await client.FindAsync("k")).Is(200).Payload);
            Assert.Equal(0, await coffer.StopAsync());
        }

        // The key of the store and that of TLS from a Secret: root's, for the group to read, in a directory of root's.
        var pair = PemPair.Make(secret);
        File.Move(data.File("coffer.key"), secret.File("coffer.key"));
        (await Ran.ShellAsync($"chown -R 0:{Group} {secret.Path} && chmod 550 {secret.Path}")).EndedWith(0);
        string[] line = ["serve", "--data", data.Path, "--root-key", $"file:{secret.File("coffer.key")}", "--listen",
            "https://127.0.0.1:0", "--tls-cert", pair.Cert, "--tls-key", pair.Key];
        foreach (var mode in (string[])["440", "640"])
        {
            (await Ran.ShellAsync($"chmod {mode} {secret.Path}/*.key {pair.Key}")).EndedWith(0);
            await using var coffer = await StartAsync(line);
            Assert.Empty(coffer.Complaints);
            Assert.Equal(0, await coffer.StopAsync());
        }

        // What others can read is none, nor is what belongs to a group that it is not in.
        (await Ran.ShellAsync($"chmod 444 {secret.File("coffer.key")}")).EndedWith(0);
        (await RefusedAsync(line)).Refused(78, "can be read or written by other users than its owner (mode 0444)",
            "set defaultMode to 0440 and fsGroup");
        (await Ran.ShellAsync($"chmod 440 {secret.File("coffer.key")}; chgrp 4343 {secret.File("coffer.key")}"))
            .EndedWith(0);
        (await RefusedAsync(line))
            .Refused(78, "can be read or written by a group (gid 4343, mode 0440)", "chgrp GROUP");
        (await Ran.ShellAsync($"chown 65533:{Group} {secret.File("coffer.key")}")).EndedWith(0);
        (await RefusedAsync(line)).Refused(78, "belongs to another user (uid 65533)", "chown USER");
    }

    [Fact]
    public async Task What_root_has_left_is_no_hindrance_and_what_cannot_be_written_is_named()
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Skip("only root gives files to others");
        using var data = new TemporaryDirectory();
        await MountAsync(data);
        var (held, unfinished) = (data.File("coffer.lock"), data.File("coffer.anchor.new"));
        (await Ran.ShellAsync($"touch {held} && chmod 644 {held}")).EndedWith(0);
        // As root leaves it who was killed while writing: nobody else may read it.
        (await Ran.ShellAsync($"touch {unfinished} && chmod 600 {unfinished}")).EndedWith(0);
        await using (var coffer = await StartAsync("serve", "--data", data.Path))
        {
            var second = await RefusedAsync("serve", "--data", data.Path, "--listen", "http://127.0.0.1:0");
            second.Refused(78, "another process uses the data directory");
            Assert.Equal(0, await coffer.StopAsync());
        }

        (await Ran.ShellAsync($"chown 0:0 {data.File("coffer.db")}")).EndedWith(0);
        (await RefusedAsync("serve", "--data", data.Path, "--listen", "http://127.0.0.1:0"))
            .Refused(78, $"this user may not write {data.File("coffer.db")}", "--root-key");
    }

    private async Task<CofferProcess> StartAsync(params string[] line) =>
        await CofferProcess.StartAsync(
            [.. line, "--drain", "0"], under: AsNobody, program: await ProgramAsync(), asOther: true);

    private async Task<Ran> RefusedAsync(params string[] line) =>
        await Ran.ProgramAsync(AsNobody[0], [.. AsNobody[1..], await ProgramAsync(), .. line]);

    // A copy, if the checkout is root's alone, as in root's home.
    private async Task<string> ProgramAsync()
    {
        if ((await Ran.ProgramAsync(AsNobody[0], [.. AsNobody[1..], "test", "-x", Needs.Program])).ExitCode == 0)
            return Needs.Program;
        var copy = program.File(Path.GetFileName(Needs.Program));
        if (!File.Exists(copy))
        {
            (await Ran.ShellAsync($"cp -r {Path.GetDirectoryName(Needs.Program)}/. {program.Path}"
                + $" && chmod -R a+rX {program.Path}")).EndedWith(0);
        }

        return copy;
    }

    // As the kubelet does it at each mount.
    private static async Task MountAsync(TemporaryDirectory volume) => (await Ran.ShellAsync(
        $"chgrp -R {Group} {volume.Path} && chmod -R g+rw {volume.Path} && chmod 2770 {volume.Path}")).EndedWith(0);
}
