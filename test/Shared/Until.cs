using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Coffer.Shared;

namespace Coffer.Shared;

/// <summary>Waits for what comes by itself, and fails, naming it, once the wait is too long.</summary>
internal static class Until
{
    /// <summary>Far beyond what anything here needs on a busy machine.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    /// <param name="what">What is waited for, as a sentence.</param>
    /// <param name="isSo">Whether it is so; it is asked again and again.</param>
    /// <param name="within">How long it may take; null is two minutes.</param>
    /// <param name="instead">What there is instead, for the message.</param>
    public static Task SoAsync(
        string what, Func<bool> isSo, TimeSpan? within = null, Func<string?>? instead = null) =>
        SoAsync(what, () => Task.FromResult(isSo()), within, instead);

    /// <inheritdoc cref="SoAsync(string, Func{bool}, TimeSpan?, Func{string?}?)"/>
    public static async Task SoAsync(
        string what, Func<Task<bool>> isSo, TimeSpan? within = null, Func<string?>? instead = null)
    {
        var patience = within ?? Patience;
        for (var waited = Stopwatch.StartNew(); !await isSo();)
        {
            if (waited.Elapsed > patience)
                Assert.Fail($"Not so within {patience.TotalSeconds} seconds: {what}. {instead?.Invoke()}");
            await Task.Delay(Pause, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>Until a program accepts connections at a port of loopback.</summary>
    /// <param name="port">The port.</param>
    /// <param name="hasEnded">Whether the program has ended, after which the wait has no sense.</param>
    /// <param name="said">What it said, for the message.</param>
    public static Task ListensAsync(int port, Func<bool>? hasEnded = null, Func<string?>? said = null) =>
        SoAsync($"somebody listens at port {port}", async () =>
        {
            if (hasEnded?.Invoke() == true)
                Assert.Fail($"Who is to listen at port {port} has ended. {said?.Invoke()}");
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, port, TestContext.Current.CancellationToken);
                return true;
            }
            catch (SocketException)
            {
                return false;
            }
        }, TimeSpan.FromSeconds(20), said);

    /// <summary>Until a GET is answered well.</summary>
    /// <param name="url">What is asked for.</param>
    /// <param name="said">What the program there said, for the message.</param>
    public static async Task AnswersAsync(Uri url, Func<string?>? said = null)
    {
        using var client = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        await SoAsync($"{url} answers well", async () =>
        {
            try
            {
                using var answer = await client.GetAsync(url, TestContext.Current.CancellationToken);
                return answer.IsSuccessStatusCode;
            }
            catch (HttpRequestException)
            {
                return false;
            }
        }, TimeSpan.FromSeconds(20), said);
    }
}
