using Coffer.Transfer;

namespace Coffer.Tests.Access;

/// <summary>
/// Where a secret stands. The account is <c>own</c>, <c>other</c>, or null for the app's own; a user of null is the
/// account's scope.
/// </summary>
internal sealed record Place(string App, bool Live, string? Account, string? User)
{
    public static IEnumerable<Place> All { get; } =
        [.. from live in (bool[])[false, true]
            from app in (string[])["A", "B"]
            from account in (string?[])["own", "other", null]
            from user in (string?[])[null, "usr_1", "usr_2"]
            select new Place(app, live, account, user)];

    public override string ToString()
    {
        var scope = User is null ? "account scope" : $"user {User}";
        return $"{(Live ? "live" : "test")} object of app {App}, account {Account ?? "the app's"}, {scope}";
    }
}

/// <summary>
/// A verb of the secrets. A find and a list ask for payloads, a set for none; a delete comes without and with.
/// </summary>
/// <param name="Name">What it is called.</param>
/// <param name="Row">Its route.</param>
/// <param name="WithPayload">Whether it asks for the payload.</param>
/// <param name="More">What it sends besides name and scope.</param>
internal sealed record SecretVerb(string Name, RouteRow Row, bool WithPayload, string More = "")
{
    public static readonly SecretVerb
        Find = new("find", AuthorizationTable.Route("GET", "/v1/apps/secrets/find"), true, "expand[]=payload"),
        List = new("list", AuthorizationTable.Route("GET", "/v1/apps/secrets"), true,
            "limit=100&expand[]=data.payload"),
        Delete = new("delete", AuthorizationTable.Route("POST", "/v1/apps/secrets/delete"), false),
        DeleteWithPayload = new("delete with payload", Delete.Row, true, "expand[]=payload"),
        Set = new("set", AuthorizationTable.Route("POST", "/v1/apps/secrets"), false);

    /// <summary>
    /// Reads first, and then what changes as little as may be: the order in which a product goes through them.
    /// </summary>
    public static IReadOnlyList<SecretVerb> All { get; } = [Find, List, Delete, DeleteWithPayload, Set];

    public bool IsDelete => this == Delete || this == DeleteWithPayload;

    public override string ToString() => Name;
}

/// <summary>One combination of the product.</summary>
/// <param name="Principal">Who asks.</param>
/// <param name="Verb">For what.</param>
/// <param name="Header">The account in the header: <c>own</c>, <c>other</c>, or null for no header.</param>
/// <param name="Target">Where the secret stands that is asked for.</param>
/// <param name="Spelling">How <paramref name="Param"/> is sent.</param>
/// <param name="Param">The parameter that is spelt so; the others are sent plainly.</param>
internal sealed record Combination(Principal Principal, SecretVerb Verb, string? Header, Place Target,
    Spelling Spelling, string Param)
{
    public override string ToString() =>
        $"{Principal} | {Verb} | {Target} | header {Header ?? "none"} | {Param} {Spelling}";
}

/// <summary>What must come of a combination.</summary>
/// <param name="Status">The status of the answer.</param>
/// <param name="Acts">Where the request acts, if it is let in.</param>
/// <param name="Reaches">Whether it acts on the very secret that it asks for.</param>
internal sealed record Outcome(int Status, Place? Acts = null, bool Reaches = false);

/// <summary>
/// The rules of <see cref="AuthorizationTable"/> for the secrets, in its order. They know the tables and nothing of the
/// program.
/// </summary>
internal static class AuthorizationRules
{
    /// <summary>Stands for the account instead of a parameter.</summary>
    public const string Account = "account";

    public static readonly IReadOnlyList<string> Params = ["scope[type]", "scope[user]", "name"];

    /// <summary>
    /// A spelling that sends every parameter where the method has it, once; a parameter that does not belong is not
    /// sent.
    /// </summary>
    public static readonly Spelling Plain = new("plain", ["P=V"], "same");

    public static Outcome Of(Combination asked)
    {
        var (principal, verb, header, target, _, param) = asked;
        var cell = verb.Row.Status(principal.Column, verb.WithPayload);
        if (principal.IsAtTheDoor)
            return new Outcome(cell);
        var effect = EffectOf(asked);
        if (param == Account && effect == "refused")
            return new Outcome(400);
        if (param == Account && effect == "another")
            header = header!.ToUpperInvariant();
        if (principal.Account is { } bound && header is not null && header != bound)
            return new Outcome(403);
        if (effect == "refused")
            return new Outcome(400);
        if (cell != 200)
            return new Outcome(cell);

        var user = effect == "another" && param == "scope[user]" ? target.User!.ToUpperInvariant() : target.User;
        if (principal.User is { } own && user is not null && user != own)
            return new Outcome(403);

        var acts = new Place(principal.App!, principal.Live, principal.Account ?? header, user);
        var reaches = acts == target && effect == "same";
        return new Outcome(!reaches && (verb == SecretVerb.Find || verb.IsDelete) ? 404 : 200, acts, reaches);
    }

    /// <summary>What the spelling makes of the parameter, in this request.</summary>
    private static string EffectOf(Combination asked)
    {
        // There is no user in the account's scope and no name of a list: however it is spelt, it is refused.
        if ((asked.Param == "scope[user]" && asked.Target.User is null)
            || (asked.Param == "name" && asked.Verb == SecretVerb.List))
            return asked.Spelling == Plain ? "same" : "refused";
        // There are two types, in lower case.
        return asked.Param == "scope[type]" && asked.Spelling.Effect == "another" ? "refused" : asked.Spelling.Effect;
    }
}
