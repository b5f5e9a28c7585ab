using System.Security.Cryptography;
using System.Text;
using Coffer.Http;

namespace Coffer.Tests.Http;

/// <summary>The form grammar by itself; how the routes use it is tested with them.</summary>
public sealed class StripeFormTests
{
    [Theory]
    [InlineData("a=1", "1")]
    [InlineData("a=1&a=1", "1")]
    [InlineData("&&a=1&&", "1")]
    [InlineData("a=x%20y+z", "x y z")]
    [InlineData("a=%2B%26%3D%25", "+&=%")]
    [InlineData("a==b=", "=b=")]
    [InlineData("%61=1", "1")]
    [InlineData("a=%c3%A9", "é")]
    public void Values_are_decoded(string query, string expected)
    {
        using var form = new StripeForm(query, default);
        Assert.Equal(expected, Encoding.UTF8.GetString(form.Text("a", 100)!.Value.Span));
    }

    [Fact]
    public void Query_and_body_are_one_bag()
    {
        using var form = new StripeForm("a=1&c=3", "b=2&c=3"u8);
        Assert.Equal(["1", "2", "3"],
            new[] { "a", "b", "c" }.Select(name => Encoding.UTF8.GetString(form.RequiredText(name, 10).Span)));
        using var conflict = new StripeForm("a=1", "a=2"u8);
        Assert.Equal("a", Assert.Throws<ApiError>(() => conflict.Text("a", 10)).Param);
    }

    [Theory]
    [InlineData("x[]=a&x[]=b", "a b")]
    [InlineData("x[0]=a&x[1]=b", "a b")]
    [InlineData("x%5B%5D=a&x%5B1%5D=b", "a b")]
    [InlineData("x=a", "a")]
    [InlineData("x=&x[]=", "")]
    public void Arrays_may_be_written_in_three_ways(string query, string expected)
    {
        using var form = new StripeForm(query, default);
        Assert.Equal(expected, string.Join(' ', form.Strings("x")));
    }

    [Theory]
    [InlineData("[a]=1")]
    [InlineData("a[b=1")]
    [InlineData("a]b[=1")]
    [InlineData("a[b]c=1")]
    [InlineData("a]b[c]=1")]
    [InlineData("=1")]
    [InlineData("%ff=1")]
    [InlineData("%zz=1")]
    public void A_name_that_cannot_be_read_is_refused(string query) =>
        Assert.Equal(400, Assert.Throws<ApiError>(() => new StripeForm(query, default)).Status);

    [Fact]
    public void Forty_thousand_brackets_cost_memory_by_their_number_and_not_by_its_square()
    {
        var query = "a" + string.Concat(Enumerable.Repeat("[b]", 20_000)) + "=1";
        var before = GC.GetAllocatedBytesForCurrentThread();
        using var form = new StripeForm(query, default);
        Assert.Equal("parameter_unknown", Assert.Throws<ApiError>(() => form.Only("c")).Code);
        Assert.Equal(400, Assert.Throws<ApiError>(() => form.Text("a", 10)).Status);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, 100 * query.Length);
    }

    [Fact]
    public void More_than_200_fields_are_refused()
    {
        new StripeForm(string.Join('&', Enumerable.Range(0, 200).Select(i => $"a{i}=")), default).Dispose();
        Assert.Equal(
            400,
            Assert.Throws<ApiError>(
                () =>
                    new StripeForm(string.Join('&', Enumerable.Range(0, 201).Select(i => $"a{i}=")), default)).Status);
    }

    [Fact]
    public void Random_bytes_are_parsed_or_refused_and_never_break()
    {
        var choices = new Choices();
        var bytes = "ab[]=&%+0Ff\u00c3\u00a9."u8.ToArray();
        for (var i = 0; i < 20_000; i++)
        {
            var body = Enumerable.Range(0, choices.Next(60)).Select(_ => bytes[choices.Next(bytes.Length)]).ToArray();
            var refused = Record.Exception(() =>
            {
                using var form = new StripeForm("q=1", body);
                _ = form.Text("a", 5);
                _ = form.Strings("b");
                form.ObjectOf("a", "b");
                form.Only("a", "b", "q");
            });
            Assert.True(refused is null or ApiError { Status: 400 },
                $"{choices}, {Convert.ToHexString(body)}: {refused}");
        }
    }
}
