namespace Coffer.Tests.Access;

/// <summary>
/// Who may do what: the specification that AuthorizationTests and AuthorizationProductTests come from. A route that
/// is not here fails a test. What a request is answered follows from these tables by the rules below, the first that
/// applies (docs/wire.md, "Order of checks"); they are written out as code in <see cref="AuthorizationRules"/>:
/// <list type="number">
/// <item>A stranger and who is barred are answered what their column says, whatever else the request says.</item>
/// <item>An account that could be read in two ways is 400.</item>
/// <item>A key that is bound to an account is 403 when the header names another; without it, it acts in its own.</item>
/// <item>A parameter that could be read in two ways is 400.</item>
/// <item>The cell of the route and the column of the principal: 403, or the request is let in.</item>
/// <item>A key that is bound to a user is 403 on the scope of any other user.</item>
/// <item>What is let in acts in the app and mode of its key alone: there a name that is not there is 404.</item>
/// </list>
/// A refusal changes nothing and does not tell whether what was asked for exists.
/// </summary>
internal static class AuthorizationTable
{
    /// <summary>
    /// What each route answers to each kind of principal. r, w, rw: a restricted key that may read, write, or both; er,
    /// ew, erw: an ephemeral key. A cell of two is without and with the payload in the answer. ~ is
    /// <c>/admin/v1/apps/{app}</c>.
    /// </summary>
    private const string RouteRows = """
        route                                              |stranger|barred|admin|secret|r  |w      |rw |er |ew     |erw
        POST   /v1/apps/secrets                            |401     |403   |403  |200   |403|200    |200|403|200    |200
        GET    /v1/apps/secrets                            |401     |403   |403  |200   |200|403    |200|200|403    |200
        GET    /v1/apps/secrets/find                       |401     |403   |403  |200   |200|403    |200|200|403    |200
        POST   /v1/apps/secrets/delete                     |401     |403   |403  |200   |403|200/403|200|403|200/403|200
        GET    /v1/apps/installs                           |401     |403   |403  |200   |403|403    |403|403|403    |403
        POST   /v1/apps/installs                           |401     |403   |403  |200   |403|403    |403|403|403    |403
        GET    /v1/apps/installs/{install}                 |401     |403   |403  |200   |403|403    |403|403|403    |403
        POST   /v1/apps/installs/{install}                 |401     |403   |403  |200   |403|403    |403|403|403    |403
        POST   /v1/apps/installs/{install}/uninstall       |401     |403   |403  |200   |403|403    |403|403|403    |403
        POST   /v1/ephemeral_keys                          |401     |403   |403  |200   |403|403    |403|403|403    |403
        DELETE /v1/ephemeral_keys/{key}                    |401     |403   |403  |200   |403|403    |403|403|403    |403
        GET    /v1/apps/app_embedded_backend_signature     |401     |403   |403  |403   |403|403    |403|200|200    |200
        GET    /v1/events                                  |401     |403   |403  |200   |403|403    |403|403|403    |403
        GET    /v1/events/{event}                          |401     |403   |403  |200   |403|403    |403|403|403    |403
        POST   /admin/v1/apps                              |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/apps                              |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    ~                                           |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   ~                                           |401     |403   |200  |403   |403|403    |403|403|403    |403
        DELETE ~                                           |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   ~/signing_secret/roll                       |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    ~/accounts                                  |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   ~/accounts/{account}/export                 |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   ~/accounts/{account}/forget                 |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   ~/accounts/{account}/secrets/{secret}/reveal|401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    ~/installs                                  |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   ~/installs                                  |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   ~/installs/{install}/uninstall              |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/secrets/search                    |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/receipts/{receipt}                |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/api_keys                          |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/api_keys                          |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/api_keys/{key}                    |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/api_keys/{key}/roll               |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/api_keys/{key}/revoke             |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/audit                             |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/root_keys                         |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/root_keys/rotate                  |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/root_keys/rewrap                  |401     |403   |200  |403   |403|403    |403|403|403    |403
        DELETE /admin/v1/root_keys/{version}               |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/root_keys/wrappers                |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/root_keys/wrappers/remove         |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/root_keys/confirmation            |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/root_keys/confirmation            |401     |403   |403  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/root_keys/shares                  |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/root_keys/shares                  |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/tenant_keys                       |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/tenant_keys/rotate                |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/settings                          |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/settings                          |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/events                            |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/events/{event}                    |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/webhook_endpoints                 |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/webhook_endpoints                 |401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/webhook_endpoints/{endpoint}      |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/webhook_endpoints/{endpoint}      |401     |403   |200  |403   |403|403    |403|403|403    |403
        DELETE /admin/v1/webhook_endpoints/{endpoint}      |401     |403   |200  |403   |403|403    |403|403|403    |403
        POST   /admin/v1/webhook_endpoints/{endpoint}/secret/roll|401|403|200|403|403|403|403|403|403|403
        POST   /admin/v1/webhook_endpoints/{endpoint}/retry|401     |403   |200  |403   |403|403    |403|403|403    |403
        GET    /admin/v1/webhook_endpoints/{endpoint}/deliveries |401|403|200|403|403|403|403|403|403|403
        GET    /admin/v1/status                            |401     |403   |200  |403   |403|403    |403|403|403    |403
        """;

    /// <summary>A well-formed request of a route that needs parameters.</summary>
    private const string RequestRows = """
        route                                              |with
        POST   /v1/apps/secrets                            |scope[type]=account&name={name}&payload=by_a_route
        GET    /v1/apps/secrets                            |scope[type]=account&limit=100&expand[]=data.payload
        GET    /v1/apps/secrets/find                       |scope[type]=account&name={name}&expand[]=payload
        POST   /v1/apps/secrets/delete                     |scope[type]=account&name={name}
        GET    /v1/apps/installs                           |app={own_app}
        POST   /v1/apps/installs                           |app={own_app}&channel=private_{mode}
        POST   /v1/ephemeral_keys                          |user=usr_1
        GET    /v1/apps/app_embedded_backend_signature     |payload={}
        POST   /admin/v1/apps                              |name=made
        POST   ~                                           |disabled=true
        POST   ~/signing_secret/roll                       |grace_period=0
        POST   ~/accounts/{account}/export                 |reason=test
        POST   ~/accounts/{account}/secrets/{secret}/reveal|reason=test
        POST   ~/installs                                  |account=acct_new
        GET    /admin/v1/secrets/search                    |app={app}
        POST   /admin/v1/api_keys                          |type=secret&app={app}
        GET    /admin/v1/api_keys                          |app={app}
        POST   /admin/v1/api_keys/{key}/roll               |grace_period=0
        POST   /admin/v1/root_keys/wrappers                |wrapper={wrapper}
        POST   /admin/v1/root_keys/wrappers/remove         |wrapper={wrapper}
        POST   /admin/v1/root_keys/confirmation            |keys=00
        POST   /admin/v1/root_keys/shares                  |shares={shares}
        POST   /admin/v1/tenant_keys/rotate                |app={app}
        POST   /admin/v1/settings                          |name=audit&value=default
        POST   /admin/v1/webhook_endpoints                 |app={app}&livemode=false&url=https://hooks.invalid/
        POST   /admin/v1/webhook_endpoints/{endpoint}      |disabled=true
        POST   /admin/v1/webhook_endpoints/{endpoint}/retry|event={event}
        """;

    /// <summary>
    /// Who asks, and what column of the routes that is. App A is this one and B another; the account is the one that
    /// the key is bound to, as its user is. Those marked * take part in the product over all spellings; all take part
    /// in everything else.
    /// </summary>
    private const string PrincipalRows = """
        principal                       |column  |app|mode|account|user |it is
        none *                          |stranger|   |    |       |     |no key at all
        malformed *                     |stranger|   |    |       |     |a good secret key with one character changed
        unknown                         |stranger|   |    |       |     |a well-formed secret key that is of no app
        publishable                     |stranger|   |    |       |     |a key of a kind that there is not
        two keys                        |stranger|   |    |       |     |two Authorization headers, both good
        revoked *                       |stranger|   |    |       |     |a secret key, revoked
        expired *                       |stranger|   |    |       |     |a secret key after its expires_at
        past grace                      |stranger|   |    |       |     |a rolled secret key, after its grace period
        of a deleted app                |stranger|   |    |       |     |a secret key of an app that was deleted
        revoked admin                   |stranger|   |    |       |     |an admin key, revoked
        expired admin                   |stranger|   |    |       |     |an admin key after its expires_at
        ephemeral revoked               |stranger|   |    |       |     |an ephemeral key, revoked
        ephemeral expired               |stranger|   |    |       |     |an ephemeral key after its life
        ephemeral of a revoked key      |stranger|   |    |       |     |an ephemeral key whose secret key was revoked
        ephemeral of a forgotten account|stranger|   |    |       |     |an ephemeral key whose account was forgotten
        ephemeral of a deleted app      |stranger|   |    |       |     |an ephemeral key whose app was deleted
        disabled                        |barred  |   |    |       |     |a secret key whose app is disabled
        ephemeral disabled              |barred  |   |    |       |     |an ephemeral key whose app is disabled
        elsewhere                       |barred  |   |    |       |     |a secret key that is for another address
        admin elsewhere                 |barred  |   |    |       |     |an admin key that is for another address
        foreign page                    |barred  |   |    |       |     |a secret key from a foreign web origin
        ephemeral foreign page          |barred  |   |    |       |     |an ephemeral key from a foreign web origin
        admin *                         |admin   |   |    |       |     |an admin key
        admin, new                      |admin   |   |    |       |     |an admin key that another one has made
        secret *                        |secret  |A  |test|       |     |a secret key
        secret, live                    |secret  |A  |live|       |     |a live secret key
        secret, other app               |secret  |B  |test|       |     |a secret key of another app
        secret, other app, live         |secret  |B  |live|       |     |a live secret key of another app
        secret, in grace                |secret  |A  |test|       |     |a rolled secret key, in its grace period
        restricted r *                  |r       |A  |test|       |     |a restricted key
        restricted w *                  |w       |A  |test|       |     |a restricted key
        restricted rw *                 |rw      |A  |test|       |     |a restricted key
        restricted rw, live             |rw      |A  |live|       |     |a live restricted key
        pinned *                        |rw      |A  |test|own    |     |a restricted key of one account
        pinned r, live                  |r       |A  |live|own    |     |a live restricted key of one account
        ephemeral own *                 |erw     |A  |test|own    |usr_1|an ephemeral key
        ephemeral other *               |erw     |A  |test|own    |usr_2|an ephemeral key of another user
        ephemeral elsewhere             |erw     |A  |test|other  |usr_1|an ephemeral key of that user elsewhere
        ephemeral r                     |er      |A  |test|own    |usr_1|an ephemeral key that may read
        ephemeral w                     |ew      |A  |test|own    |usr_1|an ephemeral key that may write
        ephemeral, live                 |erw     |A  |live|own    |usr_1|a live ephemeral key
        ephemeral, other app            |erw     |B  |test|own    |usr_1|an ephemeral key of another app
        """;

    /// <summary>
    /// How a parameter P with the value V is sent, and what that makes of it: the same, another value, or a refusal. D
    /// is a decoy, another value that would do; ^ is upper case, and %P is percent-encoded. What stands after ? is sent
    /// in the query, and what after ! in the body; what has neither is sent where the method has its parameters.
    /// </summary>
    private const string SpellingRows = """
        spelling                      | sent as     | it is
        in the query                  | ?P=V        | same
        in the body                   | !P=V        | same
        in both, the same             | ?P=V !P=V   | same
        in both, the query a decoy    | ?P=D !P=V   | refused
        in both, the body a decoy     | ?P=V !P=D   | refused
        repeated, the same            | P=V P=V     | same
        repeated, the first a decoy   | P=D P=V     | refused
        repeated, the last a decoy    | P=V P=D     | refused
        percent-encoded               | %P=V        | same
        percent-encoded, a decoy      | P=V %P=D    | refused
        as an array                   | P[]=V       | refused
        as an array, a decoy          | P=V P[]=D   | refused
        in upper case                 | ^P=V        | refused
        a value in upper case         | P=^V        | another
        """;

    /// <summary>The same for the account: A is the header Stripe-Account and C is Stripe-Context.</summary>
    private const string AccountSpellingRows = """
        spelling                      | sent as     | it is
        as the account                | A=V         | same
        as the context                | C=V         | same
        in both, the same             | A=V C=V     | refused
        in both, the account a decoy  | A=D C=V     | refused
        in both, the context a decoy  | A=V C=D     | refused
        repeated, the same            | A=V A=V     | refused
        repeated, the last a decoy    | A=V A=D     | refused
        the context repeated          | C=V C=V     | refused
        two in a line                 | A=V,D       | refused
        in upper case                 | ^A=V        | same
        a value in upper case         | A=^V        | another
        """;

    /// <summary>What is answered without a key; in dev mode <c>GET /</c> too.</summary>
    public static readonly IReadOnlyList<string> Open =
    [
        "/healthz", "/readyz", "/healthcheck", "/.well-known/coffer-audit-key",
        "/docs", "/docs/admin", "/docs/errors", "/openapi/v1.json", "/openapi/admin.json",
    ];

    public static readonly IReadOnlyList<RouteRow> Routes = [.. Read(RouteRows).Select(row =>
    {
        var with = Read(RequestRows).SingleOrDefault(request => request["route"] == row["route"])?["with"] ?? "";
        var (method, path) = (row["route"].Split(' ')[0], row["route"].Split(' ')[^1]);
        return new RouteRow(method, path.Replace("~", "/admin/v1/apps/{app}", StringComparison.Ordinal), with, row);
    })];

    public static readonly IReadOnlyList<Principal> Principals = [.. Read(PrincipalRows).Select(row => new Principal(
        row["principal"].TrimEnd('*', ' '), row["column"], Some(row["app"]), row["mode"] == "live",
            Some(row["account"]), Some(row["user"]), row["principal"].EndsWith('*')))];

    public static readonly IReadOnlyList<Spelling> Spellings =
        ReadSpellings(SpellingRows), AccountSpellings = ReadSpellings(AccountSpellingRows);

    public static RouteRow Route(string method, string path) =>
        Routes.Single(row => row.Method == method && row.Path == path);

    private static IReadOnlyList<Spelling> ReadSpellings(string table) =>
        [.. Read(table).Select(row => new Spelling(row["spelling"], row["sent as"].Split(' '), row["it is"]))];

    private static IEnumerable<Dictionary<string, string>> Read(string table)
    {
        var lines = table.Split('\n').Select(line => line.Split('|').Select(cell => cell.Trim()).ToArray()).ToList();
        return lines.Skip(1).Select(cells =>
        {
            Assert.Equal(lines[0].Length, cells.Length);
            return lines[0].Zip(cells).ToDictionary(cell => cell.First, cell => cell.Second);
        });
    }

    private static string? Some(string cell) => cell.Length == 0 ? null : cell;
}

/// <summary>A row of the routes.</summary>
internal sealed record RouteRow(string Method, string Path, string With, IReadOnlyDictionary<string, string> Cells)
{
    /// <summary>What the route answers to a column, without or with the payload in the answer.</summary>
    public int Status(string column, bool withPayload = false)
    {
        var statuses = Cells[column].Split('/');
        return int.Parse(statuses[withPayload ? ^1 : 0]);
    }

    public override string ToString() => $"{Method} {Path}";
}

/// <summary>A row of the principals.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Column">The column of the routes that it is answered by.</param>
/// <param name="App">A or B; null for a caller that acts in none.</param>
/// <param name="Live">The mode of the key.</param>
/// <param name="Account">The account that the key is bound to, or null.</param>
/// <param name="User">The user that the key is bound to, or null.</param>
/// <param name="IsSpelt">Whether it takes part in the product over all spellings.</param>
internal sealed record Principal(string Name, string Column, string? App, bool Live, string? Account, string? User,
    bool IsSpelt)
{
    /// <summary>Whether it is refused before anything of the request is looked at.</summary>
    public bool IsAtTheDoor => Column is "stranger" or "barred";

    public override string ToString() => Name;
}

/// <summary>A row of the spellings.</summary>
internal sealed record Spelling(string Name, IReadOnlyList<string> SentAs, string Effect)
{
    public override string ToString() => Name;
}
