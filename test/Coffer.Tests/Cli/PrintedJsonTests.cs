using System.Text.Encodings.Web;
using System.Text.Json;
using Coffer.Cli;
using Coffer.Client;
using Coffer.Settings;

namespace Coffer.Tests.Cli;

/// <summary>What <c>--json</c> prints, to the byte: scripts read it.</summary>
[Trait("Fast", "5")]
public sealed class PrintedJsonTests
{
    private static readonly JsonSerializerOptions Relaxed = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static readonly JsonSerializerOptions Readable = new(Relaxed) { WriteIndented = true };

    private static readonly DateTimeOffset Time = DateTimeOffset.FromUnixTimeSeconds(1_700_000_000);

    [Fact]
    public void A_secret_of_a_user_is_a_line_with_the_fields_of_the_API() => Holds(
        """{"id":"appsecret_1","created":1700000000,"expires_at":4105080000,"livemode":true,"name":"é","""
            + """
              "scope":{"type":"user","user":"usr_1"},"payload":"漢 \uD83D\uDD11 <'&+\" \\ /\n\t\u001B[31m\u202e"}
              """,
        SecretsVerb.Shape(new StoredSecret("appsecret_1", "é", SecretScope.ForUser("usr_1"), true, Time,
            DateTimeOffset.FromUnixTimeSeconds(4_105_080_000), "漢 🔑 <'&+\" \\ /\n\t\u001b[31m\u202e")));

    [Fact]
    public void A_secret_of_the_account_has_no_user_and_without_an_end_and_a_payload_null_and_nothing() => Holds(
        """{"id":"appsecret_1","created":1700000000,"expires_at":null,"livemode":false,"name":"n","""
            + """
              "scope":{"type":"account"}}
              """,
        SecretsVerb.Shape(new StoredSecret("appsecret_1", "n", SecretScope.Account, false, Time, null, null)));

    [Fact]
    public void An_ephemeral_key_is_a_line_with_the_fields_of_the_API() => Holds(
        """{"id":"key_1","object":"ephemeral_key","account":"acct_1","created":1700000000,"expires":1700000000,"""
            + """
              "livemode":false,"permissions":["secret_read","secret_write"],"secret":"ek_test_1","user":"usr_é"}
              """,
        KeysVerb.Shape(new EphemeralKey("key_1", "acct_1", "usr_é", false, ["secret_read", "secret_write"], Time, Time,
            "ek_test_1")));

    [Theory]
    [InlineData("""{"a" : [1, 1.50, 1e400, -0, true, null, {}], "b":"\u00e9\u003c\/\ud83d\ude00\u2028"}""",
        """{"a":[1,1.50,1e400,-0,true,null,{}],"b":"é</\uD83D\uDE00\u2028"}""")]
    [InlineData("\"x\"", "\"x\"")]
    [InlineData("[]", "[]")]
    public void What_a_server_sent_is_one_line_whose_numbers_are_as_they_came(string sent, string printed) =>
        Holds(printed, JsonElement.Parse(sent));

    [Fact]
    public void Settings_are_printed_as_an_array_of_objects_over_many_lines()
    {
        Assert.Equal(JsonSerializer.Serialize(SettingsTable.All.Select(setting => new
        {
            name = setting.Name,
            environment = setting.InServe ? setting.Environment : null,
            value = setting.Value,
            @default = setting.Default,
            serve = setting.InServe,
            dev = setting.InDev,
            help = setting.Help,
        }), Readable), SettingsVerb.Json());
        Assert.StartsWith("[\n  {\n    \"name\": \"", SettingsVerb.Json(), StringComparison.Ordinal);
    }

    // The serializer, which works by reflection, prints the same: it did before there was a native build.
    private static void Holds(string printed, JsonElement value)
    {
        Assert.Equal(printed, Terminal.JsonLine(value));
        Assert.Equal(printed, VisibleText.Of(JsonSerializer.Serialize(value, Relaxed)));
    }
}
