using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Coffer.Settings;
using Coffer.Transfer;

namespace Coffer.Cli;

/// <summary>Arguments and options that several verbs take, read in one way: ids, times, durations.</summary>
internal static class Parameters
{
    private static readonly string[] TimeFormats = ["yyyy-MM-dd'T'HH:mm:ssK", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK",
        "yyyy-MM-dd'T'HH:mmK", "yyyy-MM-dd"];

    public static readonly Option<bool> Json = new("--json") { Description = "Print JSON, for scripts." };
    public static readonly Option<bool> Yes = new("--yes")
    {
        Description = "Do not ask for confirmation. Required where there is no terminal.",
    };

    /// <summary>An id as an argument. An empty one, as a variable that is not set gives, is refused.</summary>
    public static Argument<string> IdArgument(string name, string help, string description)
    {
        var id = new Argument<string>(name) { Description = description, HelpName = help };
        id.Validators.Add(result => CheckId(result, help));
        return id;
    }

    /// <summary>An id as an option. An empty one is refused, and does not count as none.</summary>
    public static Option<string?> Id(string name, string help, string description, bool required = false)
    {
        var id = new Option<string?>(name) { Description = description, HelpName = help, Required = required };
        id.Validators.Add(result => CheckId(result, name));
        return id;
    }

    /// <summary>Has an option refuse what cannot be meant as it stands.</summary>
    /// <param name="option">One whose value is a path, a connection string, or an id of somebody else's.</param>
    /// <param name="isFree">As <see cref="LiteralText.Problem"/>. Such a value is not shown.</param>
    public static T Literal<T>(T option, bool isFree = false) where T : Option
    {
        option.Validators.Add(result =>
        {
            // What is wrong already is said already.
            if (!result.Errors.Any() && result.Tokens is [var token]
                && LiteralText.Problem(token.Value, isFree) is { } problem)
                result.AddError(isFree ? $"{option.Name} {problem}" : $"{option.Name} '{token.Value}' {problem}");
        });
        return option;
    }

    /// <summary>The data directory of a store.</summary>
    public static Option<string?> Data(bool required = true) => Literal(new Option<string?>("--data")
    {
        Description = "The data directory.",
        HelpName = "DIR",
        Required = required,
    });

    /// <summary>The database of a store, if it is in one.</summary>
    public static Option<string?> Store() => Literal(new Option<string?>("--store")
    {
        Description =
            "The PostgreSQL database of the store, as Host=HOST;Database=NAME;Username=ROLE; the default is "
                + "COFFER_STORE, or else a file in the data directory.",
        HelpName = "CONNECTION",
    }, isFree: true);

    // The variable is not the option's default: help would print it, and it may hold a password.
    public static StoreLocation At(ParseResult parsed, Option<string?> data, Option<string?> store) => new(
        parsed.GetValue(data)!, parsed.GetValue(store) ?? StoreOfEnvironment());

    private static string? StoreOfEnvironment() =>
        Environment.GetEnvironmentVariable("COFFER_STORE") is { Length: > 0 } given
            ? Connection.Meant(given, "COFFER_STORE", isFree: true)
            : null;

    /// <summary>What wraps the root keys of a store.</summary>
    /// <param name="name">The option.</param>
    /// <param name="default">What is in force without it.</param>
    public static Option<KeySettings?> RootKey(string name, string @default) => new(name)
    {
        Description = $"What wraps the root keys, if it is not a key file in the data directory: {WrapperUrl.Forms}. "
            + $"The default is {@default}.",
        HelpName = "URLS",
        CustomParser = result => Read(result, name),
    };

    /// <summary>What COFFER_ROOT_KEY names, or null if it is not set.</summary>
    /// <exception cref="ConfigurationException">It is no list of wrappers.</exception>
    public static KeySettings? KeysOfEnvironment()
    {
        var setting = SettingsTable.All.First(known => known.Name == RootKeySetting);
        if (Environment.GetEnvironmentVariable(setting.Environment) is not { Length: > 0 } text)
            return null;
        _ = Connection.Meant(text, setting.Environment);
        try
        {
            return KeysOf(text);
        }
        catch (FormatException e)
        {
            throw new ConfigurationException($"{setting.Environment} '{text}' {e.Message}",
                "Run coffer settings to see what root-key may be.");
        }
    }

    private const string RootKeySetting = "root-key";

    private static KeySettings? Read(ArgumentResult result, string name)
    {
        var text = result.Tokens is [var token] ? token.Value : "";
        if (LiteralText.Problem(text) is { } problem)
        {
            result.AddError($"{name} '{text}' {problem}");
            return null;
        }

        try
        {
            if (KeysOf(text) is { Urls.Count: > 0 } keys)
                return keys;
            result.AddError($"{name} names no wrapper.");
        }
        catch (FormatException e)
        {
            result.AddError($"{name} '{text}' {e.Message}.");
        }

        return null;
    }

    // How wrappers are asked is set as for a server; nobody waits for one that is away.
    private static KeySettings KeysOf(string urls)
    {
        var options = new CofferOptions { Data = "" };
        foreach (var setting in SettingsTable.All.Where(known =>
            known.Name.StartsWith(RootKeySetting, StringComparison.Ordinal)))
        {
            var value = setting.Name == RootKeySetting ? urls : Environment.GetEnvironmentVariable(setting.Environment);
            if (value is { Length: > 0 })
                options = setting.Apply(options, value);
        }

        return options.RootKey with { Patience = TimeSpan.Zero };
    }

    /// <summary>The reason for which an operator looks at payloads.</summary>
    public static Option<string> Reason() =>
        new("--reason")
        {
            Description = "The reason, for the audit log: 1 to 500 characters.",
            HelpName = "TEXT",
            Required = true,
        };

    /// <summary>A moment: Unix seconds or ISO 8601.</summary>
    public static Option<DateTimeOffset?> Time(string name, string description) => new(name)
    {
        Description = $"{description}: Unix seconds or ISO 8601.",
        HelpName = "TIME",
        CustomParser = result => Read(result, ParseTime, text => $"{name} '{text}' {WhyNoTime(text)}."),
    };

    /// <summary>A length of time: a number and its unit.</summary>
    public static Option<TimeSpan?> Duration(string name, string description, bool required = false) => new(name)
    {
        Description = $"{description}. Such as 90s, 15m, 24h, 7d.",
        HelpName = "DURATION",
        Required = required,
        CustomParser = result =>
            Read(result, ParseDuration, text => $"{name} '{text}' is not a duration such as 0, 90s, 15m, 24h or 7d."),
    };

    /// <summary>Unix seconds or ISO 8601; null if it is neither, or outside of the range that times have.</summary>
    internal static DateTimeOffset? ParseTime(string text)
    {
        if (IsNumber(text))
        {
            var isNumber = long.TryParse(text, CultureInfo.InvariantCulture, out var seconds);
            return isNumber && UnixTime.IsWritten(seconds) && !IsBasicDate(text) ? UnixTime.Date(seconds) : null;
        }

        var isDate = DateTimeOffset.TryParseExact(
            text, TimeFormats, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time);
        return isDate && UnixTime.IsWritten(time.ToUnixTimeSeconds()) ? time : null;
    }

    /// <summary>The end of the sentence about a text that is no time.</summary>
    internal static string WhyNoTime(string text)
    {
        const string Neither = "is neither Unix seconds nor an ISO 8601 time such as 2030-01-31T12:00:00Z";
        if (!IsNumber(text))
            return Neither;
        var isNumber = long.TryParse(text, CultureInfo.InvariantCulture, out var number) && number > UnixTime.Latest;
        return isNumber && UnixTime.IsWritten(number / 1_000)
            ? $"is too far ahead: if it is in milliseconds, give the seconds, {number / 1_000}"
            : "is not a time that a store can hold: write a date with its hyphens, such as 2030-03-01, or Unix seconds";
    }

    /// <summary>
    /// A whole number with its unit, <c>s</c>, <c>m</c>, <c>h</c> or <c>d</c>, which only 0 may lack; null if it is
    /// none, or more than 100,000 days.
    /// </summary>
    internal static TimeSpan? ParseDuration(string text)
    {
        if (text == "0")
            return TimeSpan.Zero;
        var unit = text.AsSpan() switch
        {
            [.., 's'] => TimeSpan.FromSeconds(1),
            [.., 'm'] => TimeSpan.FromMinutes(1),
            [.., 'h'] => TimeSpan.FromHours(1),
            [.., 'd'] => TimeSpan.FromDays(1),
            _ => TimeSpan.Zero,
        };
        return unit > TimeSpan.Zero
            && long.TryParse(text.AsSpan()[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            && number <= TimeSpan.FromDays(100_000) / unit ? number * unit : null;
    }

    /// <summary>A moment as a field of the API; null stays null.</summary>
    public static string? UnixSeconds(DateTimeOffset? time) =>
        time?.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);

    /// <summary>A length of time as a field of the API; null stays null.</summary>
    public static string? Seconds(TimeSpan? span) =>
        span is { } given ? ((long)given.TotalSeconds).ToString(CultureInfo.InvariantCulture) : null;

    /// <summary>An option that is yes or no.</summary>
    public static Option<string?> YesOrNo(string name, string description) => new Option<string?>(name)
    {
        Description = description,
        HelpName = "yes|no",
    }.AcceptOnlyFromAmong("yes", "no");

    /// <summary>What a form has for it; null if it was not given.</summary>
    public static string? Boolean(string? yesOrNo) => yesOrNo switch { null => null, "yes" => "true", _ => "false" };

    /// <summary>The elements of an array as a field of the API.</summary>
    public static IEnumerable<(string Name, string? Value)> Elements(string name, IEnumerable<string>? values) =>
        (values ?? []).Select(value => ($"{name}[]", (string?)value));

    private static T? Read<T>(ArgumentResult result, Func<string, T?> parse,
        Func<string, string> complaint) where T : struct
    {
        if (result.Tokens is not [var token])
            return null;
        var value = parse(token.Value);
        if (value is null)
            result.AddError(complaint(token.Value));
        return value;
    }

    // 203102281200 is a date and a time of ISO 8601 without its marks, and a Unix second of the year 8406.
    private static bool IsBasicDate(string text) =>
        DateTime.TryParseExact(text, "yyyyMMddHHmm", CultureInfo.InvariantCulture, DateTimeStyles.None, out _);

    private static bool IsNumber(string text) => text.Length > 0 && !text.AsSpan().ContainsAnyExceptInRange('0', '9');

    private static void CheckId(SymbolResult result, string what)
    {
        if (result.Tokens is [var token]
            && !(token.Value.Length > 0 && token.Value.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-')))
            result.AddError($"{what} '{token.Value}' is not an id: ids have only letters, digits, '_' and '-'.");
    }
}
