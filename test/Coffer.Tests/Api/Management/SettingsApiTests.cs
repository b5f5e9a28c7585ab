using System.Text.Json.Nodes;
using Coffer.Settings;

namespace Coffer.Tests.Api.Management;

/// <summary>What is in force, and whose store it is (docs/management.md, "Settings").</summary>
public sealed class SettingsApiTests : ServerTests
{
    private const string Settings = "/admin/v1/settings";

    [Fact]
    public async Task The_store_says_who_it_is_and_goes_on_saying_so()
    {
        var settings = (await Server.Admin.Get(Settings)).IsOk().Json;
        Assert.Equal(["instance", "object", "receipt_key", "settings", "version"],
            settings.AsObject().Select(field => field.Key).Order());
        Assert.Equal("settings", (string?)settings["object"]);
        Assert.Matches("^[0-9a-f]{32}$", (string?)settings["instance"]);
        Assert.Matches("^[0-9]+\\.[0-9]+\\.[0-9]+$", (string?)settings["version"]);
        Assert.Equal("crv kty x y", settings["receipt_key"]!.Fields());

        await Server.StopAsync();
        await Server.StartAgainAsync();
        var again = (await Server.Admin.Get(Settings)).IsOk().Json;
        foreach (var same in (string[])["instance", "receipt_key"])
            Assert.True(JsonNode.DeepEquals(settings[same], again[same]), same);
        await using var other = await TestServer.StartAsync(isOther: true);
        Assert.NotEqual((string?)settings["instance"],
            (string?)(await other.Admin.Get(Settings)).IsOk().Json["instance"]);
    }

    [Fact]
    public async Task Each_setting_has_a_name_a_source_and_a_value()
    {
        foreach (var setting in (await Server.Admin.Get(Settings)).IsOk().Json["settings"]!.AsArray())
        {
            Assert.Equal("name source value", setting!.Fields());
            Assert.Contains((string)setting!["source"]!, (string[])["flag", "environment", "file", "default"]);
        }
    }

    [Fact]
    public async Task Nothing_else_is_taken()
    {
        (await Server.Admin.Get(Settings, ("name", "listen"))).IsError(400, "parameter_unknown", "name");
        (await Server.Admin.Post(Settings, [])).IsError(400, "parameter_missing", "name");
    }
}
