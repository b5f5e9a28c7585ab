namespace Coffer.Hosting;

/// <summary>Has requests wait until the server can answer them.</summary>
internal sealed class WaitingDoor
{
    private readonly TaskCompletionSource<Doors> opened = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Open(Doors doors) => opened.SetResult(doors);

    public Task AnswerAsync(HttpContext context) =>
        opened.Task.IsCompletedSuccessfully ? opened.Task.Result.AnswerAsync(context) : WaitAsync(context);

    private async Task WaitAsync(HttpContext context) => await (await opened.Task).AnswerAsync(context);
}
