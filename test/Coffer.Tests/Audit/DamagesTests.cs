using Coffer.Audit;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Audit;

/// <summary>A damaged row is named in the log and in the audit log, and who asks for it again fills neither.</summary>
[Trait("Firm ground", "14")]
public sealed class DamagesTests : IDisposable
{
    private static readonly DamagedRow Row = new("secrets", "appsecret_1 (tenant 1)", "its proof")
    {
        App = "app_1",
        Account = "acct_1",
    };

    private readonly TemporaryDirectory directory = new();
    private readonly ManualTime time = new();
    private readonly KeptLog<Damages> log = new();
    private readonly List<AuditEntry> entries = [];
    private readonly SqliteEngine engine;
    private readonly Committer committer;
    private readonly Damages damages;

    public DamagesTests()
    {
        engine = SqliteEngine.Open(directory.File("coffer.db"));
        committer = new Committer(engine, 10, new Committer.Chain(Note, () => { }));
        var policy = new AuditPolicy(Buffered: false, MetadataReads: false);
        var recorder = new Recorder(committer, () => policy, NullLogger<Recorder>.Instance);
        damages = new Damages(recorder, time, log);
    }

    [Fact]
    public async Task A_row_is_named_once_in_five_minutes_however_often_it_is_met()
    {
        for (var i = 0; i < 100; i++)
            await damages.ReportAsync([Row, Row], $"req_{i}");
        var line = Assert.Single(Errors);
        Assert.Contains("secrets appsecret_1 (tenant 1)", line, StringComparison.Ordinal);
        Assert.Contains("req_0", line, StringComparison.Ordinal);
        var entry = Assert.Single(entries);
        Assert.Equal(("check_row", "damaged", "req_0"), (entry.Verb, entry.Outcome, entry.Request));
        Assert.Equal(("app_1", "acct_1", "secrets appsecret_1 (tenant 1)", "its proof"),
            (entry.App, entry.Account, entry.Target, entry.Reason));

        time.Move(Damages.Quiet);
        await damages.ReportAsync([Row], "req_later");
        Assert.Equal((2, 2), (Errors.Count, entries.Count));
    }

    [Fact]
    public async Task Rows_are_told_apart_and_those_of_one_request_share_a_commit()
    {
        await damages.ReportAsync([Row, Row with { Id = "appsecret_2" }, Row with { Table = "apps" }], "req_1");
        Assert.Equal((3, 3), (Errors.Count, entries.Count));
    }

    [Fact]
    public async Task More_rows_than_memory_has_room_for_are_counted_and_not_named()
    {
        for (var i = 0; i < 11; i++)
        {
            var rows = Enumerable.Range(i * 1_000, 1_000).Select(n => Row with { Id = $"row {n}" });
            await damages.ReportAsync([.. rows], "req_1");
        }

        Assert.Equal(10_000, entries.Count);
        Assert.Equal(10_001, Errors.Count);
        Assert.Contains("not logged", Errors[^1], StringComparison.Ordinal);
        time.Move(Damages.Quiet);
        await damages.ReportAsync([Row], "req_2");
        Assert.Equal(10_001, entries.Count);
    }

    [Fact]
    public async Task What_cannot_be_recorded_fails_no_answer_and_is_named_again()
    {
        committer.Dispose();
        for (var i = 0; i < 100; i++)
            await damages.ReportAsync([Row], "req_1");
        Assert.Single(Errors, line => line.Contains("appsecret_1", StringComparison.Ordinal));
        time.Move(TimeSpan.FromSeconds(10));
        await damages.ReportAsync([Row], "req_2");
        Assert.Empty(entries);
        Assert.Equal(2, Errors.Count(line => line.Contains("appsecret_1", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_row_is_one_line_of_printable_text_of_a_bounded_length()
    {
        var shown = (Row with { Id = "a\nb\u001b[0m\u2028" + new string('x', 1_000) }).ToString();
        Assert.StartsWith("secrets a?b?[0m?x", shown, StringComparison.Ordinal);
        Assert.Equal(300, shown.Length);
    }

    public void Dispose()
    {
        committer.Dispose();
        engine.Dispose();
        directory.Dispose();
    }

    private AuditStep? Note(IReadOnlyList<Note> notes)
    {
        entries.AddRange(notes.Cast<AuditEntry>());
        return null;
    }

    private List<string> Errors =>
        [.. log.Lines.Where(line => line.Level == LogLevel.Error).Select(line => line.Text)];
}
