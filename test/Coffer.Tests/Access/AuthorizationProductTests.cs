using System.Collections.Concurrent;
using System.Text;
using Coffer.Transfer;

namespace Coffer.Tests.Access;

/// <summary>
/// The four verbs of the secrets for every principal, place, account and spelling: each combination is sent, and
/// answered as the rules of <see cref="AuthorizationTable"/> say. Afterwards the store holds what the rules let in, and
/// nothing else.
/// </summary>
public sealed class AuthorizationProductTests(AuthorizationServer server,
    ITestOutputHelper output) : IClassFixture<AuthorizationServer>
{
    private const int ShownFailures = 40;
    private static readonly string?[] Headers = ["own", "other", null];

    private readonly ConcurrentQueue<string> failures = new();
    private readonly ConcurrentDictionary<Principal, int> reached = new();

    [Fact]
    public async Task No_spelling_of_a_parameter_widens_what_a_key_may_do()
    {
        var combinations = (
            from principal in AuthorizationTable.Principals
            where principal.IsSpelt
            from verb in SecretVerb.All
            from target in Place.All
            from param in AuthorizationRules.Params
            from spelling in AuthorizationTable.Spellings
            select new Combination(principal, verb, target.Account, target, spelling, param)).ToList();
        Assert.Equal(12 * 5 * 36 * 3 * 14, combinations.Count);

        await RunAsync(combinations, comparesWithAbsent: false);
    }

    [Fact]
    public async Task A_key_reaches_its_own_places_only_and_is_not_told_what_is_elsewhere()
    {
        var combinations = (
            from principal in AuthorizationTable.Principals
            from verb in SecretVerb.All
            from target in Place.All
            from header in Headers
            select new Combination(principal, verb, header, target, AuthorizationRules.Plain, "name")).ToList();
        Assert.Equal(42 * 5 * 36 * 3, combinations.Count);

        await RunAsync(combinations, comparesWithAbsent: true);
        Assert.All(
            AuthorizationTable.Principals.Where(principal => !principal.IsAtTheDoor && principal.Column != "admin"),
            principal => Assert.NotEqual(0, reached.GetValueOrDefault(principal)));
    }

    [Fact]
    public async Task No_spelling_of_the_account_leads_to_another_one()
    {
        var combinations = (
            from principal in AuthorizationTable.Principals
            where principal.IsSpelt
            from verb in SecretVerb.All
            from target in Place.All
            where target.Account is not null
            from spelling in AuthorizationTable.AccountSpellings
            select new Combination(principal, verb, target.Account, target, spelling,
                AuthorizationRules.Account)).ToList();
        Assert.Equal(12 * 5 * 24 * 11, combinations.Count);

        await RunAsync(combinations, comparesWithAbsent: false);
    }

    private async Task RunAsync(IReadOnlyList<Combination> combinations, bool comparesWithAbsent)
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();
        var seeds = (await server.Store.SeedAsync([.. Place.All])).ToDictionary(seed => seed.Place);
        var outcomes = new ConcurrentDictionary<int, int>();
        foreach (var verb in SecretVerb.All)
        {
            var asked = combinations.Where(combination => combination.Verb == verb)
                .Select(
                    combination => (Combination: combination, Outcome: AuthorizationRules.Of(combination))).ToList();
            var targets = asked.Select(ask => seeds[ask.Combination.Target]).ToArray();
            // What is going to be deleted is stored for that alone.
            if (verb.IsDelete)
            {
                var deleted = asked.Index().Where(ask => ask.Item.Outcome is { Status: 200, Reaches: true })
                    .Select(ask => ask.Index).ToList();
                foreach (var (index, seed) in deleted.Zip(
                    await server.Store.SeedAsync([.. deleted.Select(index => asked[index].Combination.Target)])))
                    targets[index] = seed;
            }

            var answers = new BulkAnswer[asked.Count];
            await server.Client.AskAllAsync(asked.Count, i => Request(asked[i].Combination, targets[i].Name,
                Decoy(i)), (i, answer) =>
            {
                outcomes.AddOrUpdate(answer.Status, 1, (_, count) => count + 1);
                Check(asked[i].Combination, asked[i].Outcome, targets[i], answer);
                if (comparesWithAbsent)
                    answers[i] = answer;
            });
            if (comparesWithAbsent)
                await CompareWithAbsentAsync(
                    [.. asked.Zip(targets, answers).Where(ask => ask.First.Outcome.Status >= 400)]);

            string Decoy(int i) =>
                seeds.Values.First(seed => seed.Name != targets[i].Name && seed.Place.App == targets[i].Place.App).Name;
        }

        Report(await server.Store.DifferencesAsync());
        var counts = outcomes.OrderBy(outcome => outcome.Key).Select(outcome => $"{outcome.Value} x {outcome.Key}");
        output.WriteLine($"{combinations.Count} combinations in {watch.Elapsed.TotalSeconds:0.0} s: "
            + string.Join(", ", counts));
    }

    private void Check(Combination asked, Outcome outcome, Seed target, BulkAnswer answer)
    {
        var (status, acts, reaches) = outcome;
        if (answer.Status != status)
            Fail($"should be {status}, is {answer.Status}");
        else if (status == 400
            && !answer.Body.Contains(
                asked.Param == AuthorizationRules.Account ? "Stripe-" : $"\"param\": \"{asked.Param}",
                StringComparison.OrdinalIgnoreCase))
            Fail($"should blame {asked.Param}");
        if (answer.Body.Contains(target.Id, StringComparison.Ordinal) != reaches)
            Fail(
                reaches
                    ? "should be about the secret that was asked for"
                    : "shows the id of a secret that it should not reach");
        if (server.Store.CanariesIn(answer.Body).Any(
            place => place is null || place != acts || !asked.Verb.WithPayload))
            Fail("shows a payload that it should not");
        if (reaches && asked.Verb.WithPayload && !answer.Body.Contains(target.Payload, StringComparison.Ordinal))
            Fail("should show the payload");
        if (answer.Status >= 400 && answer.Body.Contains("appsecret_", StringComparison.Ordinal))
            Fail("is a refusal that shows an id");

        if (status != 200)
            return;
        if (reaches)
            reached.AddOrUpdate(asked.Principal, 1, (_, count) => count + 1);
        if (reaches && asked.Verb.IsDelete)
            server.Store.Delete(target);
        if (asked.Verb == SecretVerb.Set)
            server.Store.Set(
                acts!,
                asked is { Param: "name", Spelling.Effect: "another" } ? target.Name.ToUpperInvariant() : target.Name,
                PayloadOf(asked.Principal));

        void Fail(string how) => failures.Enqueue($"{asked}: {how}\n    {answer.Body.ReplaceLineEndings(" ")}");
    }

    /// <summary>Asks for what does not exist in place of what does: whoever is refused gets the same answer.</summary>
    private Task CompareWithAbsentAsync(
        IReadOnlyList<((Combination Combination, Outcome Outcome) Asked, Seed Target, BulkAnswer Answer)> refused)
    {
        return server.Client.AskAllAsync(refused.Count, i =>
        {
            var ((combination, outcome), target, _) = refused[i];
            var (principal, there) = (combination.Principal, combination.Target);
            // A user and an account that hold nothing are named too, if it is not for them that it would be let in.
            var isShut = outcome.Status is 401 or 403;
            return Request(combination with
            {
                Target = there with
                {
                    User = isShut && there.User is not null && there.User != principal.User ? "usr_9" : there.User,
                },
                Header = isShut && combination.Header is { } header && header != principal.Account
                    ? "absent"
                    : combination.Header,
            }, Absent(target.Name), decoy: "");
        }, (i, answer) =>
        {
            var ((combination, _), target, first) = refused[i];
            if (answer != first with { Head = As(first.Head), Body = As(first.Body) })
                failures.Enqueue(
                    $"{combination}: tells that the secret exists\n    {first.Head} {first.Body}\n    {answer.Head} "
                        + $"{answer.Body}");

            // As the answer would be, had the request been about what does not exist; it may echo what the request
            // said.
            string As(string text) =>
                combination.Header is { } header
                    && answer.Head.Contains("Stripe-Account: acct_absent", StringComparison.Ordinal)
                ? text.Replace(target.Name, Absent(target.Name), StringComparison.Ordinal).Replace($"acct_{header}",
                    "acct_absent", StringComparison.Ordinal)
                : text.Replace(target.Name, Absent(target.Name), StringComparison.Ordinal);
        });

        static string Absent(string name) => name.Replace("k_", "z_", StringComparison.Ordinal);
    }

    private BulkRequest Request(Combination asked, string name, string decoy)
    {
        var (principal, verb, header, target, spelling, param) = asked;
        var hasBody = verb.Row.Method == "POST";
        var (query, body) = (new StringBuilder(), new StringBuilder());
        Add("scope[type]", target.User is null ? "account" : "user", target.User is null ? "user" : "account");
        if (target.User is not null || (param == "scope[user]" && spelling != AuthorizationRules.Plain))
            Add("scope[user]", target.User ?? "usr_1", target.User == "usr_1" ? "usr_2" : "usr_1");
        if (verb != SecretVerb.List || (param == "name" && spelling != AuthorizationRules.Plain))
            Add("name", name, decoy);
        (hasBody ? body : query).Append(verb == SecretVerb.Set ? $"payload={PayloadOf(principal)}" : verb.More);
        return new BulkRequest(verb.Row.Method, query.Length > 0 ? $"{verb.Row.Path}?{query}" : verb.Row.Path,
            server.HeadersOf(principal)
                + (header is null ? "" : AccountLines(
                    header,
                    param == AuthorizationRules.Account
                        ? spelling
                        : AuthorizationTable.AccountSpellings[0])), body.Length > 0
                ? body.ToString()
                : null);

        void Add(string parameter, string value, string other)
        {
            foreach (var sent in parameter == param ? spelling.SentAs : AuthorizationRules.Plain.SentAs)
            {
                var (named, valued) = sent.TrimStart('?', '!').Split('=') is [var left, var right]
                    ? (left, right)
                    : throw new InvalidOperationException(sent);
                var content = valued switch
                {
                    "D" => other,
                    "^V" => value.ToUpperInvariant(),
                    _ => value,
                };
                (sent[0] == '?' || (sent[0] != '!' && !hasBody) ? query : body)
                    .Append(Name(parameter, named)).Append('=').Append(content).Append('&');
            }
        }
    }

    private static string AccountLines(string account, Spelling spelling) =>
        string.Concat(spelling.SentAs.Select(sent =>
    {
        var (value, decoy) = ($"acct_{account}", account == "own" ? "acct_other" : "acct_own");
        var name =
            sent.Split('=')[0] switch
            {
                "A" => "Stripe-Account",
                "^A" => "STRIPE-ACCOUNT",
                "C" => "Stripe-Context",
                _ => throw new InvalidOperationException(sent)
            };
        var text = sent.Split('=')[1] switch
        {
            "V" => value,
            "D" => decoy,
            "^V" => value.ToUpperInvariant(),
            "V,D" => $"{value},{decoy}",
            _ => throw new InvalidOperationException(sent),
        };
        return $"{name}: {text}\r\n";
    }));

    private static string Name(string param, string how) => how switch
    {
        "P" => param,
        "%P" => $"%{(int)param[0]:x2}" + param[1..].Replace("[", "%5B", StringComparison.Ordinal)
            .Replace("]", "%5d", StringComparison.Ordinal),
        "P[]" => param + "[]",
        "^P" =>
            param.StartsWith("scope", StringComparison.Ordinal)
                ? "scope" + param["scope".Length..].ToUpperInvariant()
                : param.ToUpperInvariant(),
        _ => throw new InvalidOperationException(how),
    };

    private static string PayloadOf(Principal principal) =>
        $"by_{principal.Name.Replace(",", "", StringComparison.Ordinal).Replace(' ', '_')}";

    private void Report(IReadOnlyList<string> differences)
    {
        var wrong = failures.Concat(differences).ToList();
        if (wrong.Count > 0)
            Assert.Fail($"{wrong.Count} are wrong; the first of them:\n{string.Join('\n', wrong.Take(ShownFailures))}");
    }
}
