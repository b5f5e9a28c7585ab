using System.Text.Json.Nodes;

namespace Coffer.Management;

/// <summary>A back-up in the directory of the schedule, as its first line says.</summary>
/// <param name="Id">Its id.</param>
/// <param name="File">The name of its file.</param>
/// <param name="Created">Unix seconds.</param>
/// <param name="Wrappers">The names of what wrapped the root key that it is sealed under.</param>
internal sealed record KnownBackup(string Id, string File, long Created, IReadOnlyList<string> Wrappers);

/// <summary>What a node knows of the back-ups that it makes by itself.</summary>
/// <param name="Every">How long after the last one the next is made.</param>
/// <param name="Keep">How long one is kept.</param>
internal sealed record KnownBackups(TimeSpan Every, TimeSpan Keep)
{
    /// <summary>More are counted and not named: a receipt is for a person.</summary>
    public const int MostNamed = 100;

    /// <summary>What a back-up may take, from when it is due until those that are too old are removed.</summary>
    private static readonly TimeSpan LongestMaking = TimeSpan.FromHours(1);

    /// <summary>Those in the directory, oldest first; null if it cannot be read.</summary>
    public IReadOnlyList<KnownBackup>? Files { get; init; }

    /// <summary>Whether one may be on its way that is not among them yet.</summary>
    public bool IsUnderWay { get; init; }

    /// <summary>
    /// What a receipt says of them: which may hold an account, newest first, how many there are, and until when the
    /// schedule keeps the last one; null if there is none.
    /// </summary>
    /// <param name="forgottenAt">When the account was forgotten, in Unix seconds.</param>
    public JsonObject Holding(long forgottenAt)
    {
        var holding = Files?.Where(file => file.Created <= forgottenAt).Reverse().ToList();
        var isBounded = holding is not null && !IsUnderWay;
        var last = isBounded ? holding!.FirstOrDefault()?.Created : forgottenAt;
        return new JsonObject
        {
            ["count"] = holding?.Count,
            ["files"] = holding is null ? null
                : new JsonArray([.. holding.Take(MostNamed).Select(file => (JsonNode?)file.File)]),
            ["until"] = last + (long)(Keep + Every + LongestMaking).TotalSeconds,
        };
    }
}
