using Coffer.Crypto;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>Ids of secrets, which lists are in the order of, over restarts and steps of the clock.</summary>
public abstract partial class EngineContract
{
    [Fact]
    [Trait("Firm ground", "16")]
    public async Task Ids_are_above_all_that_were_made_before_whatever_the_clock_says()
    {
        var time = new ManualTime();
        using var fresh = TenantKeys.Generate();
        using var keys = TenantKeys.Parse(fresh.Span)!;
        var made = new List<string>();
        foreach (var step in (int[])[0, +400, -800, +1, -1, 0])
        {
            time.Step(TimeSpan.FromDays(step));
            // As after a start: nothing is known but what was committed.
            var mark = await IdMark.OpenAsync(engine, default);
            var ids = new SecretId(time, mark);
            for (var i = 0; i < 3; i++)
            {
                var (id, row) = ids.Next(keys.Seed, Scope);
                var secret = NewSecret(id);
                Write(row is null ? [new RowWrite.PutSecret(secret)] : [new RowWrite.PutSecret(secret), row]);
                if (row is not null)
                    ids.Keep(row);
                made.Add(secret.Id);
            }
        }

        Assert.Equal(made.Order(StringComparer.Ordinal), made);
        var listed = (await engine.ListSecretsAsync(tenant, Scope, null, false, 0, 100, default)).Rows;
        Assert.Equal(made, listed.Select(row => row.Id).Reverse());
    }

    [Fact]
    [Trait("Firm ground", "16")]
    public async Task A_mark_is_written_once_a_second_and_covers_the_ids_of_that_second()
    {
        var time = new ManualTime();
        using var fresh = TenantKeys.Generate();
        using var keys = TenantKeys.Parse(fresh.Span)!;
        var ids = new SecretId(time, await IdMark.OpenAsync(engine, default));
        var rows = 0;
        for (var i = 0; i < 4_000; i++)
        {
            if (ids.Next(keys.Seed, Scope).Mark is { } row)
            {
                // All of a batch bring the row, until it is committed.
                Write(row, ids.Next(keys.Seed, Scope).Mark!);
                ids.Keep(row);
                rows++;
            }

            time.Move(TimeSpan.FromMilliseconds(1));
        }

        Assert.Equal(4, rows);
        Assert.Single(await engine.ListMetaAsync(IdMark.MetaPrefix, default));
    }

    [Fact]
    [Trait("Firm ground", "16")]
    public async Task A_mark_of_another_node_counts_and_one_that_is_no_time_is_refused()
    {
        Write(new RowWrite.PutMeta($"{IdMark.MetaPrefix}node_7", [0, 0, 0, 0, 0, 9, 0, 0]));
        Assert.Equal(9UL << 16, (await IdMark.OpenAsync(engine, default)).Highest);
        foreach (var damaged in (byte[][])[[], [1], [255, 255, 255, 255, 255, 255, 255, 255], new byte[9]])
        {
            Write(new RowWrite.PutMeta($"{IdMark.MetaPrefix}node_7", damaged));
            Assert.True((await Assert.ThrowsAsync<ApiError>(() => IdMark.OpenAsync(engine, default))).IsFault);
        }
    }
}
