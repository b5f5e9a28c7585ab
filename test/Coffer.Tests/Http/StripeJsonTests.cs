using System.Text;
using System.Text.Json;
using Coffer.Http;

namespace Coffer.Tests.Http;

public sealed class StripeJsonTests
{
    [Fact]
    public void What_was_half_written_is_not_in_the_next_answer()
    {
        using (var refused = StripeJson.Begin())
        {
            refused.Writer.WriteStartObject();
            refused.Writer.WriteString("payload"u8, "of another");
        }

        using var next = StripeJson.Begin();
        next.Writer.WriteStartObject();
        next.Writer.WriteEndObject();
        Assert.Equal("{}\n", Encoding.UTF8.GetString(next.Finish().Span));
    }

    [Fact]
    public void Two_answers_at_once_are_apart()
    {
        using var first = StripeJson.Begin();
        using var second = StripeJson.Begin();
        first.Writer.WriteStringValue("1");
        second.Writer.WriteStringValue("2");
        Assert.Equal("\"1\"\n", Encoding.UTF8.GetString(first.Finish().Span));
        Assert.Equal("\"2\"\n", Encoding.UTF8.GetString(second.Finish().Span));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1000)]
    [InlineData(1024)]
    [InlineData(5000)]
    [InlineData(8190)]
    [InlineData(60_000)]
    public void An_answer_of_any_length_is_whole_and_is_cleared_with_all_that_it_has_grown(int length)
    {
        var text = new string('p', length);
        var json = StripeJson.Begin();
        json.Writer.WriteStartArray();
        for (var i = 0; i < 3; i++)
            json.Writer.WriteStringValue(text);
        json.Writer.WriteEndArray();
        var body = json.Finish();
        Assert.Equal([text, text, text], JsonSerializer.Deserialize<string[]>(body.Span)!);
        json.Dispose();
        json.Dispose();
        Assert.Equal(-1, body.Span.IndexOfAnyExcept((byte)0));
    }
}
