namespace Coffer.Hosting;

/// <summary>Has requests wait until the server can answer them.</summary>
internal sealed class WaitingDoor
{
    private readonly TaskCompletionSource<RequestDelegate> opened =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Open(RequestDelegate answers) => opened.SetResult(answers);

    public Task AnswerAsync(HttpContext context) =>
        opened.Task.IsCompletedSuccessfully ? opened.Task.Result(context) : WaitAsync(context);

    private async Task WaitAsync(HttpContext context) => await (await opened.Task)(context);
}
