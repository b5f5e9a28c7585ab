using System.Globalization;
using Coffer.Transfer;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary>
/// Shows how far a long work has come, on standard error: bars with rates and the time that is left at a terminal,
/// nothing without one, or what a verb says else.
/// </summary>
internal static class Progress
{
    /// <param name="run">The work.</param>
    /// <param name="plain">What is told of it without a terminal; null is nothing.</param>
    public static Task<T> RunAsync<T>(Func<Action<Step>, Task<T>> run, Action<Step>? plain = null)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        if (Console.IsErrorRedirected || !console.Profile.Capabilities.Interactive)
            return run(plain ?? (static _ => { }));
        return console.Progress().Columns(new TaskDescriptionColumn { Alignment = Justify.Left },
            new ProgressBarColumn(), new PercentageColumn(), new RateColumn(), new RemainingTimeColumn())
            .StartAsync(progress =>
            {
                var bars = new Dictionary<string, ProgressTask>();
                return run(step =>
                {
                    var name = $"{step.Work} {step.Table}";
                    if (!bars.TryGetValue(name, out var bar))
                        bars.Add(name, bar = progress.AddTask(name));
                    bar.MaxValue = Math.Max(step.Total, 1);
                    bar.Value = step.Total == 0 ? 1 : step.Done;
                });
            });
    }

    private sealed class RateColumn : ProgressColumn
    {
        public override Spectre.Console.Rendering.IRenderable Render(
            Spectre.Console.Rendering.RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Text(task.Speed is { } rate ? string.Create(CultureInfo.InvariantCulture, $"{rate:N0}/s") : "");
    }
}
