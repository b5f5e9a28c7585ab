using System.IO.Hashing;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Tests.Crypto;

public sealed class KeyFileTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 11, 21, 0, 0, 0, TimeSpan.Zero);

    private readonly TemporaryDirectory directory = new();

    private string Path => directory.File("coffer.key");

    [Fact]
    public void A_new_file_is_readable_by_its_owner_alone()
    {
        KeyFile.Create(Path, Now);
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path));
        Assert.Matches(@"(?m)^coffer-key-v1 1 2026-11-21T00:00:00Z [A-Za-z0-9_-]{43} [0-9a-f]{8}$",
            File.ReadAllText(Path));
    }

    [Fact]
    public void A_file_is_never_overwritten()
    {
        KeyFile.Create(Path, Now);
        var before = File.ReadAllText(Path);
        Assert.ThrowsAny<IOException>(() => KeyFile.Create(Path, Now));
        Assert.Equal(before, File.ReadAllText(Path));
    }

    [Fact]
    public async Task The_newest_key_wraps_and_older_ones_still_unwrap()
    {
        var name = new RootKeyName(new byte[16], 1);
        using var text = SecretBytes.Copy("key"u8);
        var (first, second) = (NewLine(1), NewLine(2));
        File.WriteAllText(Path, first);
        Restrict();
        var one = KeyFile.Load(Path);
        var old = await one.WrapAsync(name, text, default);

        File.WriteAllText(Path, $"# both\n\n{first}\n{second}\n");
        var both = KeyFile.Load(Path);
        Assert.Equal(2u, Envelope.KeyVersionOf(await both.WrapAsync(name, text, default)));
        Assert.True(both.Holds(one.Id) && both.Id != one.Id && !one.Holds(both.Id));
        using var unwrapped = await both.UnwrapAsync(name, old, default);
        Assert.Equal("key"u8.ToArray(), unwrapped!.Span.ToArray());

        File.WriteAllText(Path, second);
        Assert.Null(await KeyFile.Load(Path).UnwrapAsync(name, old, default));
    }

    [Theory]
    [InlineData(UnixFileMode.OtherRead)]
    [InlineData(UnixFileMode.OtherWrite)]
    [InlineData(UnixFileMode.GroupRead | UnixFileMode.OtherRead)]
    public void A_file_that_is_open_to_others_is_refused(UnixFileMode open)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no Unix modes here");
        KeyFile.Create(Path, Now);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(Path, File.GetUnixFileMode(Path) | open);
        var refused = Assert.Throws<ConfigurationException>(() => KeyFile.Load(Path));
        Assert.Contains("chmod 600", refused.Hint, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm edges", "8")]
    public void One_of_its_own_that_a_mount_has_opened_to_a_group_is_used()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no Unix modes here");
        KeyFile.Create(Path, Now);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(Path, File.GetUnixFileMode(Path) | UnixFileMode.GroupRead | UnixFileMode.GroupWrite);
        KeyFile.Load(Path);
    }

    [Fact]
    public void A_missing_file_is_refused_and_not_made()
    {
        Assert.Contains("missing", Assert.Throws<ConfigurationException>(() => KeyFile.Load(Path)).Message,
            StringComparison.Ordinal);
        Assert.False(File.Exists(Path));
    }

    [Fact]
    public void A_file_that_lost_or_changed_any_character_is_refused()
    {
        var line = NewLine(1);
        Restrict();
        for (var i = 0; i < line.Length; i++)
        {
            File.WriteAllText(Path, line[..i] + (line[i] == 'x' ? 'y' : 'x') + line[(i + 1)..]);
            Assert.Throws<ConfigurationException>(() => KeyFile.Load(Path));
            File.WriteAllText(Path, line[..i]);
            Assert.Throws<ConfigurationException>(() => KeyFile.Load(Path));
        }
    }

    [Fact]
    public void Keys_out_of_order_or_twice_are_refused()
    {
        var (first, second) = (NewLine(1), NewLine(2));
        Restrict();
        foreach (var text in (string[])[$"{second}\n{first}", $"{first}\n{first}"])
        {
            File.WriteAllText(Path, text);
            Assert.Contains("line 2", Assert.Throws<ConfigurationException>(() => KeyFile.Load(Path)).Message,
                StringComparison.Ordinal);
        }
    }

    /// <summary>The checksum was computed with zlib: a key file that was made before must stay readable.</summary>
    [Fact]
    [Trait("Firm ground", "2")]
    public void A_line_with_a_checksum_that_another_program_computed_is_read()
    {
        const string Line = "coffer-key-v1 1 2026-11-21T00:00:00Z AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        Restrict();
        File.WriteAllText(Path, $"{Line} e4f8311f\n");
        KeyFile.Load(Path);
        File.WriteAllText(Path, $"{Line} e4f8311e\n");
        Assert.Throws<ConfigurationException>(() => KeyFile.Load(Path));
    }

    [Theory]
    [Trait("Firm ground", "14")]
    [InlineData(1, "01")]
    [InlineData(1, "0")]
    [InlineData(1, "+1")]
    [InlineData(2, "yesterday")]
    [InlineData(2, "2026-11-21")]
    [InlineData(2, "2026-02-30T00:00:00Z")]
    public void A_field_that_is_not_as_it_is_written_is_refused_though_the_checksum_is_right(int field, string value)
    {
        Restrict();
        var fields = NewLine(1).Split(' ');
        fields[field] = value;
        File.WriteAllText(Path, Checked(string.Join(' ', fields[..4])));
        var refused = Assert.Throws<ConfigurationException>(() => KeyFile.Load(Path));
        Assert.Contains("line 1", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm ground", "14")]
    public void A_key_that_is_spelt_in_another_way_is_refused_though_the_checksum_is_right()
    {
        Restrict();
        var fields = NewLine(1).Split(' ');
        const string Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        var last = Alphabet.IndexOf(fields[3][^1], StringComparison.Ordinal);
        // 43 characters are 258 bits: the last two are nobody's.
        var (head, tail) = (fields[3][..10], fields[3][10..]);
        foreach (var key in (string[])[fields[3][..^1] + Alphabet[last ^ 1], fields[3] + "=", $"{head}\t{tail}"])
        {
            File.WriteAllText(Path, Checked($"{fields[0]} {fields[1]} {fields[2]} {key}"));
            Assert.Throws<ConfigurationException>(() => KeyFile.Load(Path));
        }

        File.WriteAllText(Path, Checked(string.Join(' ', fields[..4])));
        KeyFile.Load(Path);
    }

    public void Dispose() => directory.Dispose();

    // A line as Create writes it, with another id.
    private string NewLine(int id)
    {
        var made = directory.File("made.key");
        KeyFile.Create(made, Now);
        var line = File.ReadAllLines(made)[1];
        File.Delete(made);
        var renumbered = line[..line.LastIndexOf(' ')].Replace("-v1 1 ", $"-v1 {id} ", StringComparison.Ordinal);
        return Checked(renumbered);
    }

    private static string Checked(string line) =>
        $"{line} {Crc32.HashToUInt32(System.Text.Encoding.ASCII.GetBytes(line)):x8}";

    private void Restrict()
    {
        if (!File.Exists(Path))
            File.WriteAllText(Path, "");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(Path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }
}
