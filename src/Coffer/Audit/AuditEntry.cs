// Audit: what was decided, by whom, in an order that cannot be changed unnoticed. No entry holds a payload or a name in
// clear, and no request waits for anything here but the commit that its own change is part of.

using System.Text.Json;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>One decision. Fields that do not apply are null and left out.</summary>
/// <param name="Verb">What was asked for, in the words of docs/audit-log.md.</param>
/// <param name="Outcome">ok, replayed, absent, or the reason of a refusal in one word.</param>
internal sealed record AuditEntry(string Verb, string Outcome) : Note
{
    /// <summary>
    /// The id that the request's answer carries; null where the program itself decided, such as the Reaper.
    /// </summary>
    public string? Request { get; init; }

    /// <summary>The address at the other end of the connection.</summary>
    public string? Remote { get; init; }

    /// <summary>The id of the API key that asked, never the key.</summary>
    public string? Key { get; init; }

    public TenantId? Tenant { get; init; }

    /// <summary>The app, where no mode is meant.</summary>
    public string? App { get; init; }

    /// <summary>The account, where no mode is meant.</summary>
    public string? Account { get; init; }

    /// <summary>The id of what it is about, if that is neither the key that asked nor a name.</summary>
    public string? Target { get; init; }

    /// <summary>Why, in the words of the caller.</summary>
    public string? Reason { get; init; }

    /// <summary>What was changed, before and after, as JSON (<see cref="Changes"/>).</summary>
    public string? Changed { get; init; }

    /// <summary>account or user.</summary>
    public string? Scope { get; init; }

    /// <summary>The blind index of the name in its scope.</summary>
    public byte[]? Name { get; init; }

    /// <summary>The version that the decision led to or was about.</summary>
    public long? Version { get; init; }

    /// <summary>
    /// How many decisions this entry stands for, where a flood of them is counted instead of written out.
    /// </summary>
    public long? Count { get; init; }

    /// <summary>Of an accepted roll-back: its number, from 1.</summary>
    public long? Rollback { get; init; }

    /// <summary>The last entry that a log had before it went back.</summary>
    public long? From { get; init; }

    /// <summary>The last entry that was left of it.</summary>
    public long? To { get; init; }

    /// <summary>The generation of the store whose segment it begins, and says why.</summary>
    public StoreGeneration? Begins { get; init; }

    public override int Size => 290 + Length(Tenant?.Account) + Length(Account) + Length(Target) + Length(Reason)
        + Length(Changed);

    /// <summary>
    /// The entry as one line of JSON without its line feed: what the chain covers and what an export holds.
    /// </summary>
    /// <param name="json">An empty writer without indentation.</param>
    /// <param name="node">Whose chain it is.</param>
    /// <param name="sequence">Its number in the chain, from 1.</param>
    /// <param name="time">When it was decided, in ISO 8601.</param>
    public void WriteLine(Utf8JsonWriter json, string node, long sequence, string time)
    {
        json.WriteStartObject();
        json.WriteNumber("seq"u8, sequence);
        json.WriteString("node"u8, node);
        json.WriteString("time"u8, time);
        json.WriteString("verb"u8, Verb);
        json.WriteString("outcome"u8, Outcome);
        Text("request"u8, Request);
        Text("remote"u8, Remote);
        Text("key"u8, Key);
        if (Tenant is { } tenant)
        {
            json.WriteString("app"u8, tenant.App);
            json.WriteString("mode"u8, tenant.Livemode ? "live"u8 : "test"u8);
            json.WriteString("account"u8, tenant.Account);
        }
        else
        {
            Text("app"u8, App);
            Text("account"u8, Account);
        }

        Text("target"u8, Target);
        Text("reason"u8, Reason);
        if (Changed is not null)
        {
            json.WritePropertyName("changed"u8);
            json.WriteRawValue(Changed);
        }

        Text("scope"u8, Scope);
        Text("name"u8, Name is null ? null : Convert.ToHexStringLower(Name));
        Number("version"u8, Version);
        Number("count"u8, Count);
        Number("rollback"u8, Rollback);
        Number("from"u8, From);
        Number("to"u8, To);
        Text("generation"u8, Begins?.ToString());
        json.WriteEndObject();
        json.Flush();

        void Text(ReadOnlySpan<byte> field, string? value)
        {
            if (!string.IsNullOrEmpty(value))
                json.WriteString(field, value);
        }

        void Number(ReadOnlySpan<byte> field, long? value)
        {
            if (value is { } number)
                json.WriteNumber(field, number);
        }
    }

    private static int Length(string? text) => text?.Length ?? 0;
}
