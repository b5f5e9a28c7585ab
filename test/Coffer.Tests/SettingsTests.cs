using System.Collections;
using System.Net;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Tests;

/// <summary>What flags, environment and file say, and how it becomes options.</summary>
public sealed class SettingsTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    private string File => directory.File("coffer.conf");

    public static TheoryData<string> Names() => [.. SettingsTable.All.Select(setting => setting.Name)];

    public static TheoryData<string> ServeNames() =>
        [.. SettingsTable.All.Where(setting => setting.InServe).Select(setting => setting.Name)];

    [Fact]
    public void Without_a_word_the_defaults_are_in_force()
    {
        var options = Serve(flags: [("data", "d")]);
        Preflight.Require(options);
        Assert.Equal(
            new CofferOptions { Data = "d" },
            options with
            {
                InForce = [],
                Misread = [],
                TrustedProxies = new CofferOptions { Data = "" }.TrustedProxies
            });
        Assert.Equal(("d", "flag"), InForce(options, "data"));
        foreach (var setting in SettingsTable.All.Where(setting => setting.InServe && setting.Name != "data"))
            Assert.Equal((setting.Default, "default"), InForce(options, setting.Name));
    }

    [Theory]
    [MemberData(nameof(ServeNames))]
    public void A_default_that_is_a_value_is_what_the_options_have(string name)
    {
        var setting = Setting(name);
        if (setting.Value is not ("N" or SettingsTable.SwitchValue) && name is not ("listen" or "audit"))
            return; // in words
        var bare = new CofferOptions { Data = "d" };
        if (setting.Default != "for ever")
            Assert.Equal(bare, setting.Apply(bare, setting.Default));
    }

    [Theory]
    [InlineData("data", "/d")]
    [InlineData("store", "Host=db.example;Database=coffer")]
    [InlineData("root-key", "exec:/usr/local/lib/wrap file:/k")]
    [InlineData("root-key-exec-arguments", "a b")]
    [InlineData("root-key-exec-environment", "TOKEN")]
    [InlineData("root-key-aws-endpoint", "https://kms.example")]
    [InlineData("root-key-gcp-endpoint", "https://cloudkms.example")]
    [InlineData("root-key-wait", "3600")]
    [InlineData("root-key-vault-token-file", "/t")]
    [InlineData("root-key-vault-role", "r")]
    [InlineData("root-key-vault-secret-file", "/s")]
    [InlineData("root-key-vault-namespace", "n")]
    [InlineData("listen", "http://127.0.0.1:1")]
    [InlineData("admin-listen", "http://127.0.0.1:2")]
    [InlineData("metrics-listen", "http://127.0.0.1:3")]
    [InlineData("metrics-apps", "1000")]
    [InlineData("trace-context-from", "192.0.2.0/24")]
    [InlineData("public-url", "https://coffer.example.com")]
    [InlineData("tls-cert", "c.pem")]
    [InlineData("tls-key", "k.pem")]
    [InlineData("strict-transport", "max-age=1")]
    [InlineData("insecure-http", "true")]
    [InlineData("connections", "7")]
    [InlineData("connections-per-address", "9")]
    [InlineData("trusted-proxies", "192.0.2.0/24")]
    [InlineData("webhook-networks", "10.0.0.0/8")]
    [InlineData("rate-per-key", "0")]
    [InlineData("rate-per-address", "0")]
    [InlineData("waiting-per-app", "0")]
    [InlineData("waiting-per-ephemeral-key", "4096")]
    [InlineData("kept-per-app", "0")]
    [InlineData("kept-per-ephemeral-key", "1000000")]
    [InlineData("audit-per-app", "0")]
    [InlineData("audit-per-ephemeral-key", "1")]
    [InlineData("tenants-per-app", "0")]
    [InlineData("secrets-per-scope", "10000")]
    [InlineData("open-tenants", "10000000")]
    [InlineData("audit", "buffered")]
    [InlineData("audit-metadata-reads", "true")]
    [InlineData("audit-retention-days", "36500")]
    [InlineData("audit-checkpoints", "/c")]
    [InlineData("receipts", "/s")]
    [InlineData("backup-directory", "/b")]
    [InlineData("backup-keys-directory", "/k")]
    [InlineData("backup-every", "8760")]
    [InlineData("backup-keep", "36500")]
    [InlineData("ready-file", "/r")]
    [InlineData("log-format", "json")]
    [InlineData("access-log", "failures")]
    [InlineData("drain", "3600")]
    [InlineData("stop-within", "1")]
    public void A_setting_reads_the_same_wherever_it_is_written(string name, string value)
    {
        System.IO.File.WriteAllText(File, $"# of the test\n\n  {name}={value}\n");
        var setting = Setting(name);
        (string, string)[] data = name == "data" ? [] : [("data", "d")];
        var options = (CofferOptions[])[
            Serve(flags: [.. data, (name, value)]),
            Serve(flags: data, environment: [(setting.Environment, value)]),
            Serve(flags: data, config: File),
            Serve(flags: data, environment: [("COFFER_CONFIG", File)]),
        ];
        Assert.Equal(["flag", "environment", "file", "file"], options.Select(each => InForce(each, name).Source));
        foreach (var each in options)
        {
            Assert.Empty(each.Misread);
            Assert.Equal(setting.IsPrivate ? SettingsTable.Redacted : value, InForce(each, name).Value);
            var changed =
                typeof(CofferOptions).GetProperties().Where(property => property.CanWrite
                && property.Name is not ("InForce" or "Misread" or "Data")
                && property.GetValue(each) is var now
                    && !Equals(now, property.GetValue(new CofferOptions { Data = "" }))
                        && now is not IPNetwork[] { Length: 0 });
            Assert.Equal(name == "data" ? 0 : 1, changed.Count());
        }
    }

    [Fact]
    public void The_table_above_is_whole() =>
        Assert.Equal(
            SettingsTable.All.Count(setting => setting.InServe),
            typeof(SettingsTests).GetMethod(
                nameof(A_setting_reads_the_same_wherever_it_is_written))!.GetCustomAttributes(
                    typeof(InlineDataAttribute), false).Length);

    [Fact]
    public void A_flag_goes_before_the_environment_that_before_the_file_that_before_the_default()
    {
        System.IO.File.WriteAllText(File, "data = f\nsecrets-per-scope = 3\nconnections = 3\n");
        var options = Serve([("secrets-per-scope", "1")],
            [("COFFER_SECRETS_PER_SCOPE", "2"), ("COFFER_CONNECTIONS", "2")], File);
        Assert.Equal(("f", 1, 2, CofferOptions.DefaultRatePerKey),
            (options.Data, options.SecretsPerScope, options.Connections, options.RatePerKey));
        Assert.Equal(
            ["file", "flag", "environment", "default"],
            ((string[])["data", "secrets-per-scope", "connections", "rate-per-key"]).Select(
                name => InForce(options, name).Source));

        using var other = new TemporaryDirectory();
        System.IO.File.WriteAllText(other.File("other.conf"), "data = other\n");
        Assert.Equal("other", Serve([], [("COFFER_CONFIG", File)], other.File("other.conf")).Data);
    }

    [Theory]
    [InlineData("secrets-per-scope", "0", "is not between 1 and 10000")]
    [InlineData("secrets-per-scope", "10001", "is not between 1 and 10000")]
    [InlineData("open-tenants", "0", "is not between 1 and 10000000")]
    [InlineData("secrets-per-scope", "ten", "is not a whole number")]
    [InlineData("secrets-per-scope", "1e3", "is not a whole number")]
    [InlineData("connections", "0", "is not between 1 and 1000000")]
    [InlineData("connections", "1000001", "is not between 1 and 1000000")]
    [InlineData("rate-per-key", "-1", "is not between 0 and 1000000")]
    [InlineData("rate-per-key", "1000001", "is not between 0 and 1000000")]
    [InlineData("waiting-per-app", "4097", "is not between 0 and 4096")]
    [InlineData("waiting-per-ephemeral-key", "-1", "is not between 0 and 4096")]
    [InlineData("kept-per-app", "1000001", "is not between 0 and 1000000")]
    [InlineData("kept-per-ephemeral-key", "-1", "is not between 0 and 1000000")]
    [InlineData("audit-per-app", "-1", "is not between 0 and 1000000")]
    [InlineData("audit-per-ephemeral-key", "many", "is not a whole number")]
    [InlineData("tenants-per-app", "-1", "is not between 0 and 1000000")]
    [InlineData("rate-per-address", "-1", "is not between 0 and 1000000")]
    [InlineData("rate-per-address", "1000001", "is not between 0 and 1000000")]
    [InlineData("audit-retention-days", "0", "is not between 1 and 36500")]
    [InlineData("audit-retention-days", "36501", "is not between 1 and 36500")]
    [InlineData("audit", "off", "is neither 'durable' nor 'buffered'")]
    [InlineData("insecure-http", "yes", "is neither 'true' nor 'false'")]
    [InlineData("audit-metadata-reads", "1", "is neither 'true' nor 'false'")]
    [InlineData("trusted-proxies", "10.0.0.1/8", "'10.0.0.1/8' is neither an address nor a network")]
    [InlineData("trusted-proxies", "10.0.0.0/8,,", "'' is neither an address nor a network")]
    [InlineData("trusted-proxies", "proxy.example.com", "'proxy.example.com' is neither an address nor a network")]
    [InlineData("listen", "nowhere", "is not of the form")]
    [InlineData("public-url", "coffer.example.com", "is not of the form https://NAME")]
    [InlineData("public-url", "https://coffer.example.com/path", "is not of the form https://NAME")]
    [InlineData("public-url", "https://user@coffer.example.com", "is not of the form https://NAME")]
    [InlineData("data", " ", "is empty")]
    [InlineData("audit-checkpoints", "", "is empty")]
    public void A_bad_value_is_refused_in_the_same_words_by_the_name_that_was_written(string name, string value,
        string problem)
    {
        System.IO.File.WriteAllText(File, $"{name} = {value}\n");
        (string, string)[] data = name == "data" ? [] : [("data", "d")];
        Assert.Matches($"^--{name} '.*{problem}", Refusal(Serve([.. data, (name, value)])));
        Assert.Matches($"^COFFER_{name.ToUpperInvariant().Replace('-', '_')} '.*{problem}",
            Refusal(Serve(data, [(Setting(name).Environment, value)])));
        Assert.Matches($"^{File} line 1: {name} '.*{problem}", Refusal(Serve(data, config: File)));
    }

    [Fact]
    public void All_problems_of_all_sources_are_told_at_once()
    {
        System.IO.File.WriteAllText(File, "secrets-per-scope = 0\nsecret-per-scope = 1\n");
        var message = Refusal(
            Serve([("connections", "0"), ("listen", "http://0.0.0.0:1"), ("tls-key", "k")],
                [("COFFER_AUDIT", "off"), ("COFFER_NOTHING", "")], File));
        foreach (var problem in (string[])[
            "--connections '0'", "--listen 'http://0.0.0.0:1'", "--tls-key needs", "COFFER_AUDIT 'off'",
            "COFFER_NOTHING", "line 1: secrets-per-scope '0'", "line 2: secret-per-scope", "no data directory is set"])
            Assert.Contains(problem, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("COFFER_SECRET_PER_SCOPE",
        "COFFER_SECRET_PER_SCOPE is an unknown setting (did you mean COFFER_SECRETS_PER_SCOPE?)")]
    [InlineData("COFFER_LISTENER", "COFFER_LISTENER is an unknown setting (did you mean COFFER_LISTEN?)")]
    [InlineData("COFFER_PASSWORD", "COFFER_PASSWORD is an unknown setting")]
    [InlineData("COFFER_PORT", "COFFER_PORT is an unknown setting")]
    [InlineData("COFFER_KEY", "COFFER_KEY is an unknown setting")] // dev's alone
    [InlineData("COFFER_", "COFFER_ is an unknown setting")]
    public void An_unknown_variable_is_refused_with_the_nearest_name(string variable, string problem) =>
        Assert.Equal(problem, Refusal(Serve([("data", "d")], [(variable, "1")])));

    [Theory]
    [InlineData("COFFER_URL", "http://127.0.0.1:26333")]
    [InlineData("COFFER_API_KEY", "sk_test_x")]
    [InlineData("COFFER_ADMIN_URL", "http://127.0.0.1:26334")]
    [InlineData("COFFER_ADMIN_KEY", "ak_x")]
    [InlineData("ASPNETCORE_URLS", "http://0.0.0.0:80")]
    [InlineData("COFFER_SERVICE_HOST", "10.0.0.1")] // what Kubernetes sets when a service is named coffer
    [InlineData("COFFER_SERVICE_PORT", "26333")]
    [InlineData("COFFER_SERVICE_PORT_HTTPS", "26333")]
    [InlineData("COFFER_PORT", "tcp://10.0.0.1:26333")]
    [InlineData("COFFER_PORT_26333_TCP", "tcp://10.0.0.1:26333")]
    [InlineData("COFFER_PORT_26333_TCP_ADDR", "10.0.0.1")]
    [InlineData("COFFER_ADMIN_SERVICE_HOST", "10.0.0.2")]
    public void A_variable_that_is_known_to_be_no_setting_is_passed_over(string variable, string value)
    {
        var options = Serve([("data", "d")], [(variable, value)]);
        Preflight.Require(options);
        Assert.All(options.InForce.Where(setting => setting.Name != "data"),
            setting => Assert.Equal("default", setting.Source));
    }

    [Theory]
    [InlineData("[server]", "line 1: sections are not supported")]
    [InlineData("insecure-http", "line 1: is not of the form NAME = VALUE")]
    [InlineData("secret-per-scope = 1",
        "line 1: secret-per-scope is an unknown setting (did you mean secrets-per-scope?)")]
    [InlineData("Secrets_Per_Scope = 1",
        "line 1: Secrets_Per_Scope is an unknown setting (did you mean secrets-per-scope?)")]
    [InlineData("config = other.conf", "line 1: config is an unknown setting")]
    [InlineData("key = sk_test_x", "line 1: key is an unknown setting")]
    [InlineData("audit = durable\n\naudit = buffered", "line 3: audit is already set in line 1")]
    [InlineData("audit-checkpoints = \"/x\"", "line 1: audit-checkpoints '\"/x\"' is in quotes: write the value")]
    [InlineData("audit-checkpoints = /x # here", "line 1: audit-checkpoints has a comment after its value")]
    [InlineData("audit-checkpoints = # here", "line 1: audit-checkpoints has a comment after its value")]
    [InlineData("audit-checkpoints = /x\t# here", "line 1: audit-checkpoints has a comment after its value")]
    [InlineData("connections =", "line 1: connections '' is empty")]
    public void A_line_that_is_not_understood_is_refused_with_its_number(string text, string problem)
    {
        System.IO.File.WriteAllText(File, text);
        Assert.StartsWith($"{File} {problem}", Refusal(Serve([("data", "d")], config: File)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/no/such/file")]
    [InlineData("/")]
    [InlineData("")]
    public void A_file_that_cannot_be_read_is_refused(string path)
    {
        Assert.StartsWith($"the file '{path}' of --config cannot be read",
            Refusal(Serve([("data", "d")], config: path)), StringComparison.Ordinal);
        Assert.StartsWith($"the file '{path}' of COFFER_CONFIG cannot be read",
            Refusal(Serve([("data", "d")], [("COFFER_CONFIG", path)])), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sk_live_anything")]
    [InlineData("rk_test_anything")]
    [InlineData("sk_test_")]
    [InlineData("sk_test_with space")]
    [InlineData("anything")]
    public void Dev_mode_takes_test_keys_only_and_does_not_show_others(string key)
    {
        var message = Refusal(Configuration.ForDev(new Dictionary<string, string> { ["key"] = key }));
        Assert.StartsWith("--key must be sk_test_", message, StringComparison.Ordinal);
        Assert.DoesNotContain($"'{key}'", message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_may_be_a_key_or_a_password_is_never_shown()
    {
        var options = Configuration.ForDev(new Dictionary<string, string>
        { ["key"] = "sk_test_chosen", ["data"] = "d" });
        Preflight.Require(options);
        Assert.Equal("sk_test_chosen", options.Dev!.Key);
        Assert.Equal(("[redacted]", "flag"), InForce(options, "key"));
        Assert.Equal(SettingsTable.All.Select(setting => setting.Name),
            options.InForce.Select(setting => setting.Name));
        Assert.DoesNotContain(options.InForce,
            setting => setting.ToString().Contains("sk_test_chosen", StringComparison.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_setting_is_documented_with_its_default_and_limits(string name)
    {
        var setting = Setting(name);
        string[] taking = [.. setting.InServe ? ["serve"] : (string[])[], .. setting.InDev ? ["dev"] : (string[])[]];
        var verbs = string.Join(", ", taking);
        var line = Assert.Single(System.IO.File.ReadAllLines(Repository.File("docs/settings.md")),
            line => line.StartsWith($"| `{name}` | {verbs} |", StringComparison.Ordinal));
        if (setting.Value is not "N")
            return;
        if (name == "open-tenants")
            Assert.Contains("| by memory |", line, StringComparison.Ordinal);
        else if (setting.Default != "for ever")
            Assert.Contains($"| {int.Parse(setting.Default):N0} |", line, StringComparison.Ordinal);
        Assert.Contains(setting.Help[(setting.Help.IndexOf("From ", StringComparison.Ordinal) + 5)..].TrimEnd('.'),
            line, StringComparison.Ordinal);
    }

    public void Dispose() => directory.Dispose();

    private static Setting Setting(string name) => SettingsTable.All.Single(setting => setting.Name == name);

    private static (string Value, string Source) InForce(CofferOptions options, string name)
    {
        var setting = options.InForce.Single(setting => setting.Name == name);
        return (setting.Value, setting.Source);
    }

    private static string Refusal(CofferOptions options) =>
        Assert.Throws<ConfigurationException>(() => Preflight.Require(options)).Message;

    private static CofferOptions Serve((string Name, string Value)[] flags,
        (string Name, string Value)[]? environment = null, string? config = null)
    {
        IDictionary variables = new Hashtable();
        foreach (var (name, value) in environment ?? [])
            variables[name] = value;
        return Configuration.ForServe(flags.ToDictionary(flag => flag.Name, flag => flag.Value), config, variables);
    }
}
